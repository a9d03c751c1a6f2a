//! Which instance this is, and whether its database was put back or copied without anybody saying so.
//!
//! A database that was restored, or copied to a second machine, would send again what was sent. So the database and a
//! file beside it (SQLite) hold the instance's id and a number, the epoch, which rises at each start of the worker, at
//! each release of an issue and after each backup: first in the database, then in the file. A database that is behind
//! its file, has none, or has one of another instance or another place was restored or copied: all sending is paused
//! until an operator says `resume`. PostgreSQL has no file of its own; there the id and the base URL are compared with
//! the settings of the process.
//!
//! The id comes from the key ring ([`crate::token::KeyRing::instance_id`]).

mod begin;
mod epoch_file;
mod judge;
mod raise;
mod resume;
mod store;

pub use begin::{InstanceError, begin};
pub use epoch_file::EpochFile;
pub use raise::{publish, raise, raise_in};
pub use resume::{Restored, overview, pause_restored, restored_pause};
pub use store::mark;

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;

/// What the database knows about its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The instance.
    pub id: InstanceId,
    /// Rises, never falls. It stays 0 on PostgreSQL.
    pub epoch: i64,
    /// Where its links lead.
    pub base_url: String,
}
