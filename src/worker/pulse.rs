//! Whether the worker of this process lives, for those who ask from outside.

use tokio_util::sync::CancellationToken;

use crate::deliveries::worker::Worker;

/// Follows one worker. Asking costs nothing: the database is not asked.
#[derive(Clone)]
pub struct Pulse {
    worker: Worker,
    ended: CancellationToken,
}

impl Pulse {
    pub(super) fn new(worker: Worker, ended: CancellationToken) -> Self {
        Self { worker, ended }
    }

    /// What is wrong with the worker; `None` while it is at work.
    pub fn trouble(&self) -> Option<&'static str> {
        if self.ended.is_cancelled() {
            return Some("The worker has ended, or has lost its lock.");
        }
        (!self.worker.is_alive())
            .then_some("The worker's last sign of life in the database is older than its lease.")
    }
}
