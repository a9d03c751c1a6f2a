//! SQLite: a pool of readers and one writer.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use super::{Db, OpenError, writer};

/// The first version without the WAL reset bug.
const OLDEST: (u32, u32, u32) = (3, 51, 3);

/// Rows of the largest statement that writes and gives rows.
const CLAIM_ROWS: usize = 512;

/// What the writer keeps in memory, in KiB by its sign: where a busy issue writes, not the whole database.
const CACHE: &str = "-16000";

/// Pages in the log (4 KiB each) after which what it holds is copied into the database file. A message changes its row
/// three times within seconds: the longer the log, the fewer pages are copied more than once.
const CHECKPOINT: &str = "4000";

const VERSION: &str = "SELECT sqlite_version()";

pub(super) async fn open(path: &Path, readers: u32) -> Result<Db, OpenError> {
    create(path).map_err(|source| OpenError::File {
        path: path.to_owned(),
        source,
    })?;
    let writer_options = options(path)
        .thread_name(|_| "sqlite-writer".to_owned())
        .pragma("cache_size", CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT)
        // its thread does not wait for the reader of a claim's rows
        .row_buffer_size(CLAIM_ROWS);
    let mut connection = writer_options.connect().await?;
    refuse_old(&mut connection).await?;
    let reader = SqlitePoolOptions::new()
        .max_connections(readers)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .connect_with(options(path).pragma("query_only", "ON"))
        .await?;
    let writer = writer::start(connection, writer_options).map_err(sqlx::Error::Io)?;
    Ok(Db::Sqlite { reader, writer })
}

/// What every connection to a file has; `migrate` uses it too.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // an acknowledged commit survives a loss of power
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Makes the file, readable by its owner alone: SQLite's side files take over its mode.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
}

async fn refuse_old(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let version: String = sqlx::query_scalar(VERSION).fetch_one(connection).await?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST {
        return Err(OpenError::OldSqlite(version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_db, write_db};

    /// What readers and the writer answer.
    const PRAGMAS: [(&str, i64, i64); 6] = [
        ("PRAGMA query_only", 1, 0),
        ("PRAGMA foreign_keys", 1, 1),
        // FULL
        ("PRAGMA synchronous", 2, 2),
        ("PRAGMA busy_timeout", 5000, 5000),
        ("PRAGMA trusted_schema", 0, 0),
        // readers write nothing
        ("PRAGMA wal_autocheckpoint", 1000, 4000),
    ];

    // A CHECK: such a statement may fail half-way, so it keeps what it would need to undo itself.
    const MANY: &str =
        "CREATE TABLE many (n INTEGER NOT NULL CHECK (n > 0), filling BLOB NOT NULL) STRICT";
    const FILL: &str = "INSERT INTO many
         WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 20000)
         SELECT n, zeroblob(500) FROM count";
    const CHANGE_ALL: &str = "UPDATE many SET n = n + 1";

    #[tokio::test]
    async fn one_statement_may_change_megabytes() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder.path().join("paperround.db"), 1).await.unwrap();
        for statement in [MANY, FILL, CHANGE_ALL] {
            let done = db.write::<(), sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(statement)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            });
            assert_eq!(
                done.await.map_err(|error| error.to_string()),
                Ok(()),
                "{statement}"
            );
        }
        db.close().await;
    }

    #[tokio::test]
    async fn every_connection_syncs_and_keeps_references_and_readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(&folder.path().join("paperround.db"), 1).await.unwrap();
        for (pragma, reader, writer) in PRAGMAS {
            let read: i64 =
                read_db!(&db, |conn| sqlx::query_scalar(pragma).fetch_one(conn).await).unwrap();
            let asked = db.write::<i64, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query_scalar(pragma).fetch_one(conn).await)
                })
            });
            let found = (read, asked.await.unwrap());
            assert_eq!(found, (reader, writer), "{pragma}");
        }
        db.close().await;
    }
}
