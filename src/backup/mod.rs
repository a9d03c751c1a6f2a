//! Backup and restore: one file with the database, the key ring and the suppression journal.
//!
//! The file is a tar archive, which any machine can look into: first `manifest.json` with version, instance, epoch and
//! checksums, then the members that it names. Keys and database belong together: without its keys every mailed link of
//! a restored database is dead.

mod archive;
mod make;
mod manifest;
mod postgres;
mod restore;
mod scratch;

pub use make::{Made, make};
pub use manifest::{Engine, Manifest};
pub use restore::{Restored, inspect, restore};

use std::path::PathBuf;

use crate::db::{LockError, MigrateError, OpenError};
use crate::token::SecretsError;

/// The members of a backup.
mod member {
    pub(super) const MANIFEST: &str = "manifest.json";
    pub(super) const SQLITE: &str = "paperround.db";
    pub(super) const POSTGRES: &str = "database.dump";
    pub(super) const SECRETS: &str = "secrets.toml";
    pub(super) const JOURNAL: &str = "suppressions.journal";
    /// All but the manifest.
    pub(super) const ALL: &[&str] = &[SQLITE, POSTGRES, SECRETS, JOURNAL];
}

/// Why a backup cannot be made or restored. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{0} is there already: name another file")]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot use {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database is damaged.
    #[error("the database is damaged ({0}): keep this file, and restore an earlier backup")]
    DamagedDatabase(String),
    /// The archive is not as it was written.
    #[error("{path} is no whole backup of paperround: {why}")]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is of the other engine.
    #[error("the backup is of {backup}, and database.url names {settings}")]
    OtherEngine {
        /// What the backup holds.
        backup: Engine,
        /// What the settings name.
        settings: Engine,
    },
    /// A tool of PostgreSQL is needed.
    #[error("{0} is not there: install PostgreSQL's client programs (Debian: postgresql-client)")]
    NoTool(&'static str),
    /// A tool of PostgreSQL failed.
    #[error("{tool} failed: {words}")]
    Tool {
        /// Which.
        tool: &'static str,
        /// What it said.
        words: String,
    },
    /// A worker is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup is of a newer release.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The keys cannot be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database did not answer.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Names the file at which the file system refused.
fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File {
        path: path.clone(),
        source,
    }
}

/// Runs file work where it may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
