//! Who is at work: a lock on a file beside a SQLite database, which one worker has; an advisory lock on PostgreSQL,
//! which workers share and a restore has for itself.
//!
//! The lock keeps others from starting. It is not what keeps mails safe: that is the mark's compare-and-set.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::Db;

/// How long the session that holds the lock may take to say so.
const ANSWER: Duration = Duration::from_secs(10);

/// "paperrou" as a number: other programs in the same cluster use other numbers.
const ADVISORY_KEY: i64 = 0x7061_7065_7272_6f75;

const SHARE_POSTGRES: &str = "SELECT pg_try_advisory_lock_shared($1)";
const LOCK_POSTGRES: &str = "SELECT pg_try_advisory_lock($1)";
const HELD_POSTGRES: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks
     WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
       -- a key of 64 bits is shown as two halves
       AND ((classid::bigint << 32) | objid::bigint) = $1)";

/// Held by a worker; given back when it is dropped, or when its process dies.
#[derive(Debug)]
pub struct WorkerLock(Held);

#[derive(Debug)]
enum Held {
    File { _file: File },
    Session(Box<PgConnection>),
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another worker has it.
    #[error(
        "another worker is at work on this database ({holder}): stop it first, or run only the web role here"
    )]
    Taken {
        /// Who, as far as it is known.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("cannot lock {path}")]
    File {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// PostgreSQL answered an error.
    #[error("the database cannot be reached")]
    Engine(#[from] sqlx::Error),
}

impl Db {
    /// Takes a worker's lock, or says who is in the way: on SQLite another worker, on PostgreSQL a restore.
    pub async fn lock_worker(&self) -> Result<WorkerLock, LockError> {
        self.lock(SHARE_POSTGRES, "a restore, or a worker of an older release")
            .await
    }

    /// Takes the lock for itself: no worker is at work, and none can begin.
    pub async fn lock_alone(&self) -> Result<WorkerLock, LockError> {
        self.lock(LOCK_POSTGRES, "its lock in PostgreSQL is held")
            .await
    }

    async fn lock(&self, postgres: &'static str, holder: &str) -> Result<WorkerLock, LockError> {
        match self {
            Self::Sqlite { reader, .. } => {
                WorkerLock::beside(reader.connect_options().get_filename())
            }
            Self::Postgres(server) => {
                // a session of its own: the lock ends with it
                let mut session = server.pool.acquire().await?.detach();
                let had: bool = sqlx::query_scalar(postgres)
                    .bind(ADVISORY_KEY)
                    .fetch_one(&mut session)
                    .await?;
                if !had {
                    session.close().await?;
                    let holder = holder.to_owned();
                    return Err(LockError::Taken { holder });
                }
                Ok(WorkerLock(Held::Session(Box::new(session))))
            }
        }
    }
}

impl WorkerLock {
    /// The lock of the SQLite file at `path`, which itself is not touched.
    pub fn beside(path: &Path) -> Result<Self, LockError> {
        let mut path: OsString = path.as_os_str().to_owned();
        path.push(".lock");
        lock_file(path.into())
    }

    /// Whether the lock is still held: a PostgreSQL session may have been ended from outside.
    pub async fn is_held(&mut self) -> bool {
        match &mut self.0 {
            Held::File { .. } => true,
            Held::Session(session) => {
                let held = sqlx::query_scalar(HELD_POSTGRES)
                    .bind(ADVISORY_KEY)
                    .fetch_one(&mut **session);
                matches!(timeout(ANSWER, held).await, Ok(Ok(true)))
            }
        }
    }
}

fn lock_file(path: PathBuf) -> Result<WorkerLock, LockError> {
    let open = || -> std::io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let mut file = open().map_err(|source| LockError::File {
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // only for the message
            let _unread = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() {
                "unknown process".to_owned()
            } else {
                holder
            };
            return Err(LockError::Taken { holder });
        }
        Err(TryLockError::Error(source)) => return Err(LockError::File { path, source }),
    }
    let sign = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "process {}", std::process::id())
    };
    sign(&mut file).map_err(|source| LockError::File { path, source })?;
    Ok(WorkerLock(Held::File { _file: file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worker_is_told_which_process_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paperround.db");
        // what an earlier holder left behind is longer
        let left = "process 18446744073709551615";
        std::fs::write(folder.path().join("paperround.db.lock"), left).unwrap();
        let lock = WorkerLock::beside(&file).unwrap();
        let refused = WorkerLock::beside(&file).unwrap_err().to_string();
        let holder = format!("(process {})", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        drop(lock);
    }

    #[test]
    fn the_lock_is_that_of_the_file_beside_the_database_whoever_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let other = File::create(folder.path().join("paperround.db.lock")).unwrap();
        other.try_lock().unwrap();
        let refused = WorkerLock::beside(&folder.path().join("paperround.db"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("(unknown process)"), "{refused}");
        drop(other);
    }
}
