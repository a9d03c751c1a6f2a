//! The database: two engines behind one pair of types.
//!
//! # Rules
//!
//! - Reads take `&Db`; writes, and reads that decide a write, take `&mut Tx` inside [`Db::write`]. No network, no file
//!   and no second `write` while one is open: on SQLite there is one writer, and it would wait for itself for ever.
//! - SQL stands in constants in `store.rs` files, `store/` folders and here: one text for both engines (`$1` binds, no casts by `::`), or
//!   two full texts side by side, chosen by [`Tx::pick`] or [`Db::pick`].
//! - State changes are compare-and-set: the old state stands in the `WHERE`, then the row count is looked at.
//! - Time is bound, not asked for.
//! - `Ok` from `write` says that the `COMMIT` succeeded. An `Err` or a panic undoes this work alone. A caller that is
//!   dropped does not stop its work. After a database error the `Tx` is over: return the error.
//! - On SQLite the writes that wait share one `COMMIT`, each in a savepoint. Callers cannot tell the difference.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseTarget;

mod lock;
mod migrate;
mod offline;
mod postgres;
mod shared_error;
mod sqlite;
mod timestamp;
mod writer;

pub use lock::{LockError, WorkerLock};
pub use migrate::{MigrateError, Step};
pub use offline::{faults_of_file, pause_file, settle_file};
pub use postgres::{Server, Session};

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be made or opened.
    #[error(
        "cannot open the database file {path}: check that its folder exists and belongs to this user"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The engine answered an error.
    #[error("cannot open the database")]
    Engine(#[from] sqlx::Error),
    /// The SQLite that was compiled in has a known bug.
    #[error("SQLite {0} can lose commits (WAL reset bug): at least 3.51.3 is needed")]
    OldSqlite(String),
}

/// The database. Cheap to clone; all clones share one pool and, on SQLite, one writer.
#[derive(Clone, Debug)]
pub enum Db {
    /// An embedded file: many readers, one writer.
    Sqlite {
        /// Connections that cannot write.
        reader: SqlitePool,
        /// Hands work to the one writer.
        writer: Writer,
    },
    /// A server: each write is a transaction of its own.
    Postgres(Server),
}

/// The way to SQLite's one writer.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    /// Cancelled to end it.
    stop: CancellationToken,
    /// Cancelled when its connection is closed.
    ended: CancellationToken,
}

/// An open write transaction. On SQLite, the one writer's.
#[derive(Debug)]
pub enum Tx<'c> {
    /// Within SQLite's writer.
    Sqlite(Transaction<'c, Sqlite>),
    /// On a connection of the pool.
    Postgres(Transaction<'c, Postgres>),
}

/// Work for SQLite's writer: it is given a transaction and ends it. Its caller is answered by what it leaves behind.
type Job = Box<dyn for<'c> FnOnce(sqlx::Result<Tx<'c>>) -> BoxFuture<'c, Ended> + Send>;

/// A job that has run.
struct Ended {
    /// Answers the caller. Called after the `COMMIT` that the job shared with others, with that `COMMIT`'s error.
    reply: Box<dyn FnOnce(sqlx::Result<()>) + Send>,
    /// Its transaction could not be ended: nothing is known of what stood around it.
    is_broken: bool,
}

/// What became of a piece of work.
enum Done<T, E> {
    Returned(Result<T, E>),
    Panicked(Box<dyn std::any::Any + Send>),
}

impl<T, E: From<sqlx::Error>> Done<T, E> {
    /// The same, if the `COMMIT` that came after it succeeded. What had failed by itself stays what it was.
    fn when(self, committed: sqlx::Result<()>) -> Self {
        match (self, committed) {
            (Self::Returned(Ok(_)), Err(error)) => Self::Returned(Err(error.into())),
            (done, _) => done,
        }
    }
}

impl Db {
    /// Opens the database; on SQLite the file is made if it is not there. The schema is not touched: see [`Db::migrate`].
    ///
    /// `connections` is how many may be open at once: readers on SQLite, all on PostgreSQL.
    pub async fn open(target: &DatabaseTarget, connections: u32) -> Result<Self, OpenError> {
        match target {
            DatabaseTarget::Sqlite(path) => sqlite::open(path, connections).await,
            DatabaseTarget::Postgres(url) => postgres::open(url.expose_secret(), connections).await,
        }
    }

    /// Runs `work` in a transaction and answers after it is durable.
    ///
    /// An `Err` or a panic undoes this work alone; `Ok` says that its `COMMIT` succeeded. A dropped caller does not
    /// stop it: the work runs in SQLite's writer, or in a task of its own.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<sqlx::Error> + Send + 'static,
        F: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        match self {
            Self::Sqlite { writer, .. } => {
                let job: Job = Box::new(move |tx| {
                    Box::pin(async move {
                        let (done, is_broken) = carry_out(tx, work).await;
                        let reply = Box::new(move |committed| {
                            // the caller may be gone; the work is done all the same
                            let _gone = answer.send(done.when(committed));
                        });
                        Ended { reply, is_broken }
                    })
                });
                if writer.jobs.send(job).await.is_err() {
                    return Err(sqlx::Error::WorkerCrashed.into());
                }
            }
            Self::Postgres(server) => {
                let server = server.clone();
                tokio::spawn(async move {
                    let done = server.write(work).await;
                    let _gone = answer.send(done);
                });
            }
        }
        match answered.await {
            Ok(Done::Returned(result)) => result,
            Ok(Done::Panicked(panic)) => resume_unwind(panic),
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }

    /// The text for this database's engine.
    pub fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite { .. } => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// Closes the connections after what was begun has ended. What is asked for later is an error.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { reader, writer } => {
                reader.close().await;
                // the last to go writes the log into the file
                writer.stop.cancel();
                writer.ended.cancelled().await;
            }
            Self::Postgres(server) => server.pool.close().await,
        }
    }
}

impl Tx<'_> {
    /// The text for this transaction's engine.
    pub fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx) => writer::commit(tx).await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    async fn rollback(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}

/// Whether PostgreSQL undid a transaction because it met another one: repeating it may succeed.
pub fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    // serialization_failure, deadlock_detected
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// Whether the stored data are damaged: asking again helps nobody.
pub fn is_damaged(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        // data_corrupted, index_corrupted
        return matches!(&*code, "XX001" | "XX002");
    }
    // SQLITE_CORRUPT, SQLITE_NOTADB: the low byte of their extended codes
    code.parse()
        .is_ok_and(|code: u32| matches!(code & 0xFF, 11 | 26))
}

/// Runs `work` and ends its transaction. Says too whether that could not be ended.
async fn carry_out<'c, T, E, F>(tx: sqlx::Result<Tx<'c>>, work: F) -> (Done<T, E>, bool)
where
    E: From<sqlx::Error>,
    F: for<'a> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>>,
{
    let mut tx = match tx {
        Ok(tx) => tx,
        Err(error) => return (Done::Returned(Err(error.into())), false),
    };
    // the name of the closure says which operation it is
    let name = type_name::<F>();
    let began = tokio::time::Instant::now();
    let result = AssertUnwindSafe(async { work(&mut tx).await })
        .catch_unwind()
        .await;
    let (done, ended) = match result {
        Ok(Ok(value)) => match tx.commit().await {
            Ok(()) => (Done::Returned(Ok(value)), true),
            Err(error) => (Done::Returned(Err(error.into())), false),
        },
        Ok(Err(error)) => (Done::Returned(Err(error)), undo(tx, name).await),
        Err(panic) => (Done::Panicked(panic), undo(tx, name).await),
    };
    let took = began.elapsed();
    if took.as_millis() > 100 {
        tracing::warn!(
            work = name,
            took_ms = took.as_millis(),
            "A write took {} ms",
            took.as_millis()
        );
    }
    (done, !ended)
}

/// Whether the work is undone. SQLite undoes a whole transaction by itself where its disk is full or fails.
async fn undo(tx: Tx<'_>, name: &'static str) -> bool {
    let undone = tx.rollback().await;
    if let Err(error) = &undone {
        tracing::warn!(work = name, error = %error, "A failed write could not be rolled back by hand");
    }
    undone.is_ok()
}

/// Runs a read on whichever engine `$db` is; `$conn` is its pool, or a session of it.
#[macro_export]
macro_rules! read_db {
    ($db:expr, |$conn:ident| $query:expr) => {
        match $db {
            $crate::db::Db::Sqlite { reader: $conn, .. } => $query,
            $crate::db::Db::Postgres(server) => match server.session().await {
                Ok(mut session) => {
                    let answer = {
                        let $conn = session.connection();
                        server.in_time(async { $query }).await
                    };
                    session.end(answer)
                }
                Err(error) => Err(error),
            },
        }
    };
}

/// Runs a statement inside the open transaction `$tx`; `$conn` is its connection.
#[macro_export]
macro_rules! write_db {
    ($tx:expr, |$conn:ident| $query:expr) => {
        match $tx {
            $crate::db::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $query
            }
            $crate::db::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $query
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::is_damaged;
    use super::shared_error::SharedError;

    #[test]
    fn each_kind_of_corruption_is_damage_and_nothing_else_is() {
        // SQLITE_CORRUPT, its VTAB, SEQUENCE and INDEX, and SQLITE_NOTADB
        for (code, expected) in [
            ("11", true),
            ("267", true),
            ("523", true),
            ("779", true),
            ("26", true),
            // SQLITE_BUSY, SQLITE_FULL, SQLITE_IOERR_READ, SQLITE_CONSTRAINT_UNIQUE
            ("5", false),
            ("13", false),
            ("266", false),
            ("2067", false),
        ] {
            let error = sqlx::Error::database(SharedError::with_code(code));
            assert_eq!(is_damaged(&error), expected, "{code}");
        }
    }

    #[test]
    fn damage_is_known_by_each_write_that_shared_the_commit() {
        let error = sqlx::Error::database(SharedError::with_code("11"));
        let shared = sqlx::Error::database(SharedError::of(&error));
        assert!(is_damaged(&shared));
    }
}
