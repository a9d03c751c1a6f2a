//! How often and how long a connection is used.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// When a connection is too old to be used again.
#[derive(Clone, Debug)]
pub struct Reuse {
    /// Longest time without a message.
    pub idle: Duration,
    /// Longest life.
    pub age: Duration,
    /// Most messages.
    pub messages: u32,
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            age: Duration::from_hours(1),
            messages: 1000,
        }
    }
}

/// An open connection and what it has been used for.
pub(super) struct Open {
    pub(super) connection: Connection,
    opened_at: Instant,
    pub(super) used_at: Instant,
    pub(super) messages: u32,
}

impl Open {
    /// Opened just now.
    pub(super) fn new(connection: Connection) -> Self {
        let now = Instant::now();
        Self {
            connection,
            opened_at: now,
            used_at: now,
            messages: 0,
        }
    }

    /// Whether so many more messages may go over it.
    pub(super) fn takes(&self, more: u32, reuse: &Reuse) -> bool {
        self.messages + more <= reuse.messages && self.opened_at.elapsed() < reuse.age
    }
}
