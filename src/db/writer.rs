//! SQLite's one writer: the jobs that wait run under one `COMMIT`, each in a savepoint.
//!
//! An fsync costs the same for one job and for two hundred. There is no timer: a group is what waited while the one
//! before it was committed, so nothing waits longer than the running commit and its own.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Acquire as _, ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::{get_default, with_default};

use super::shared_error::SharedError;
use super::{Ended, Job, Tx, Writer};

/// Jobs that may wait for the writer, and the most that share a commit; beyond it callers wait to hand theirs over.
const MOST: usize = 256;
/// A group that has run for so long takes no further job: those in it wait for its commit.
const LONG_ENOUGH: Duration = Duration::from_millis(20);
/// What SQLite answers where an fsync failed: `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`.
const FSYNC_FAILED: [&str; 2] = ["1034", "1290"];
/// `EX_IOERR` of sysexits.h.
const EXIT_IO: i32 = 74;

/// Starts the writer on `connection`. It ends when it is told to, or when no handle to it is left.
///
/// It has a thread of its own: between two statements of a transaction it waits for SQLite's thread alone, not for its turn
/// among everything that the service does.
pub(super) fn start(
    connection: SqliteConnection,
    options: SqliteConnectOptions,
) -> std::io::Result<Writer> {
    let (sender, jobs) = mpsc::channel(MOST);
    let writer = Writer {
        jobs: sender,
        stop: CancellationToken::new(),
        ended: CancellationToken::new(),
    };
    let (stop, ended) = (writer.stop.clone(), writer.ended.clone());
    // it logs where whoever opened the database does
    let logs = get_default(Clone::clone);
    // without drivers: what it waits for are other threads, and to be woken costs least so
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    std::thread::Builder::new()
        .name("db-writer".to_owned())
        .spawn(move || {
            let _ended = ended.drop_guard();
            with_default(&logs, || {
                runtime.block_on(run(connection, options, jobs, stop));
            });
        })?;
    Ok(writer)
}

async fn run(
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    mut jobs: mpsc::Receiver<Job>,
    stop: CancellationToken,
) {
    let mut connection = Some(connection);
    let mut waiting = Vec::with_capacity(MOST);
    loop {
        if waiting.is_empty() {
            let came = stop.run_until_cancelled(jobs.recv_many(&mut waiting, MOST));
            if came.await.is_none() {
                // what was handed over before is done all the same
                jobs.close();
                jobs.recv_many(&mut waiting, MOST).await;
            }
            if waiting.is_empty() {
                break;
            }
        }
        let is_whole = match &mut connection {
            Some(connection) => commit_group(connection, &mut waiting).await,
            None => false,
        };
        if !is_whole {
            connection = reopen(&options, &mut waiting).await;
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = %error, "The database file was not closed cleanly; its log is replayed at the next start");
    }
}

/// A new connection in place of one that broke. While there is none, what waits is answered with the reason.
async fn reopen(
    options: &SqliteConnectOptions,
    waiting: &mut Vec<Job>,
) -> Option<SqliteConnection> {
    match options.connect().await {
        Ok(connection) => Some(connection),
        Err(error) => {
            refuse(waiting, error).await;
            None
        }
    }
}

/// Runs what waits, or the first part of it, under one `COMMIT`, and answers it. `false` when the connection broke:
/// SQLite has undone the whole group by itself, and sqlx no longer knows where it stands.
async fn commit_group(connection: &mut SqliteConnection, waiting: &mut Vec<Job>) -> bool {
    // IMMEDIATE: a transaction that reads before it writes must not find out at its first write that it is too late
    let mut group = match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(group) => group,
        Err(error) => {
            refuse(waiting, error).await;
            return false;
        }
    };
    if let [_] = waiting.as_slice() {
        // alone it needs no savepoint: the end of its transaction is the commit
        let job = waiting.pop().expect("there is one");
        let ended = job(Ok(Tx::Sqlite(group))).await;
        (ended.reply)(Ok(()));
        return !ended.is_broken;
    }
    let began = Instant::now();
    let mut replies = Vec::with_capacity(waiting.len());
    let mut is_broken = false;
    let mut jobs = std::mem::take(waiting).into_iter();
    while !is_broken && (replies.is_empty() || began.elapsed() < LONG_ENOUGH) {
        let Some(job) = jobs.next() else { break };
        let ended: Ended = job(group.begin().await.map(Tx::Sqlite)).await;
        is_broken = ended.is_broken;
        replies.push(ended.reply);
    }
    waiting.extend(jobs);
    let committed = if is_broken {
        drop(group);
        Err(SharedError::undone())
    } else {
        commit(group).await.map_err(|error| SharedError::of(&error))
    };
    for reply in replies {
        reply(committed.clone().map_err(sqlx::Error::database));
    }
    committed.is_ok()
}

/// Commits. A failed fsync is the end of the process: the system may have dropped the pages that it could not write, so
/// a second try would succeed without them. The next start recovers from what is on the disk.
pub(super) async fn commit(tx: Transaction<'_, Sqlite>) -> sqlx::Result<()> {
    let committed = tx.commit().await;
    if let Err(sqlx::Error::Database(error)) = &committed
        && error
            .code()
            .is_some_and(|code| FSYNC_FAILED.contains(&&*code))
    {
        tracing::error!(error = %error, "The disk failed to keep what was written: the process ends, and recovers at its next start");
        std::process::exit(EXIT_IO);
    }
    committed
}

async fn refuse(waiting: &mut Vec<Job>, error: sqlx::Error) {
    let error = SharedError::of(&error);
    for job in std::mem::take(waiting) {
        let ended = job(Err(sqlx::Error::database(error.clone()))).await;
        (ended.reply)(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::config::DatabaseTarget;
    use crate::db::Db;

    async fn write(db: &Db) -> sqlx::Result<()> {
        db.write(|_| Box::pin(async { Ok(()) })).await
    }

    #[tokio::test]
    async fn what_was_handed_over_before_the_end_is_done_and_nothing_later() {
        let folder = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(folder.path().join("paperround.db"));
        let db = Db::open(&target, 1).await.unwrap();
        let (begun, has_begun) = oneshot::channel();
        let (end, ends) = oneshot::channel::<()>();
        let working = db.clone();
        let busy = tokio::spawn(async move {
            let work = working.write::<_, sqlx::Error, _>(|_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    let _ended = ends.await;
                    Ok(())
                })
            });
            work.await
        });
        has_begun.await.unwrap();
        let mut before = Box::pin(write(&db));
        assert!((&mut before).now_or_never().is_none());
        let mut closing = Box::pin(db.close());
        let early = timeout(Duration::from_millis(100), &mut closing).await;
        assert!(early.is_err(), "the writer is at work");
        end.send(()).unwrap();
        closing.await;
        busy.await.unwrap().unwrap();
        before.await.expect("it is done");
        assert!(write(&db).await.is_err());
    }
}
