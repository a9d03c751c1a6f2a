//! SQLite files beside the one at work: a copy of it, and a copy that is about to take its place.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::types::Json;
use sqlx::{ConnectOptions as _, Connection as _};

use super::migrate::{self, MigrateError};
use super::{Db, sqlite};

const COPY_SQLITE: &str = "VACUUM INTO $1";
const CHECK_SQLITE: &str = "PRAGMA quick_check(10)";
const CHECKPOINT_SQLITE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
const PAUSE_SQLITE: &str = "INSERT INTO settings (key, value) VALUES ('sending_paused', $1)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

impl Db {
    /// Copies a SQLite database as it stands at this moment into the file at `path`, which is empty or not there.
    /// Readers and the writer go on meanwhile.
    pub async fn copy_into(&self, path: &Path) -> sqlx::Result<()> {
        let Self::Sqlite { reader, .. } = self else {
            return Err(sqlx::Error::Configuration(
                "only a SQLite database is copied as a file".into(),
            ));
        };
        // the readers cannot write, and the writer's queue is for transactions
        let from = reader.connect_options().get_filename().to_owned();
        let mut connection = sqlite::options(&from).connect().await?;
        sqlx::query(COPY_SQLITE)
            .bind(path.to_string_lossy())
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

/// What is wrong with the SQLite file at `path`; empty when nothing was found.
pub async fn faults_of_file(path: &Path) -> sqlx::Result<Vec<String>> {
    // not read-only: SQLite reads no CHECK of a file that it may not write, and would find every row good
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await?;
    let mut faults: Vec<String> = sqlx::query_scalar(CHECK_SQLITE)
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    faults.retain(|fault| fault != "ok");
    Ok(faults)
}

/// Brings the file at `path` up to date and pauses its sending, so that it cannot be put in place without. No service
/// has it open.
pub async fn pause_file(path: &Path, pause: &serde_json::Value) -> Result<(), MigrateError> {
    // one file: no log beside it that would have to be moved with it
    let options = sqlite::options(path).journal_mode(SqliteJournalMode::Delete);
    let mut connection = options.connect().await?;
    migrate::run_on_file(&mut connection).await?;
    sqlx::query(PAUSE_SQLITE)
        .bind(Json(pause))
        .execute(&mut connection)
        .await?;
    Ok(connection.close().await?)
}

/// Puts everything into the file itself, so that it is whole without its log. No service has it open.
pub async fn settle_file(path: &Path) -> sqlx::Result<()> {
    let mut connection = sqlite::options(path)
        .create_if_missing(false)
        .connect()
        .await?;
    sqlx::query(CHECKPOINT_SQLITE)
        .execute(&mut connection)
        .await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;
    const PAUSE: &str = "SELECT value FROM settings WHERE key = 'sending_paused'";
    #[tokio::test]
    async fn a_whole_file_has_no_faults_and_a_faulty_one_has_them_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paperround.db");
        std::fs::write(&path, "").unwrap();
        let pause = serde_json::json!({ "reason": "restored" });
        pause_file(&path, &pause).await.unwrap();
        assert!(faults_of_file(&path).await.unwrap().is_empty());
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        // of the last page, where a table or an index stands
        bytes[end - PAGE..end - PAGE + 100].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        let faults = faults_of_file(&path).await.unwrap();
        assert!(faults[0].contains("page"), "{faults:?}");
    }

    #[tokio::test]
    async fn a_file_whose_sending_was_paused_before_is_paused_for_the_new_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paperround.db");
        // an empty file is an empty database
        std::fs::write(&path, "").unwrap();
        for reason in ["by hand", "restored"] {
            let pause = serde_json::json!({ "reason": reason });
            pause_file(&path, &pause).await.unwrap();
        }
        let mut connection = sqlite::options(&path).connect().await.unwrap();
        let found: Json<serde_json::Value> = sqlx::query_scalar(PAUSE)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(found.0["reason"], "restored");
        connection.close().await.unwrap();
    }
}
