//! What a backup says of itself.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::text_enum;

/// The form of backups that this release writes and reads.
pub(super) const FORMAT: u32 = 1;

text_enum! {
    /// What the database was.
    pub enum Engine {
        /// A file.
        Sqlite = "SQLite",
        /// A server's.
        Postgres = "PostgreSQL",
    }
}

/// The first member of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the archive.
    pub format: u32,
    /// The release that wrote it.
    pub version: String,
    /// When.
    pub created_at: Timestamp,
    /// What the database was.
    pub engine: Engine,
    /// Whose it is.
    pub instance: InstanceId,
    /// How far the instance had come.
    pub epoch: i64,
    /// Where its links lead.
    pub base_url: String,
    /// The other members.
    pub files: Vec<Member>,
}

/// A member and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
}
