//! Issues that were found paused: what was claimed of them before is given back instead of being begun.
//!
//! The mark would find out too, but by then an envelope has been written: a relay that refuses every recipient would be
//! asked about all that was claimed ahead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::id::IssueId;

/// Claims and stops of one process, numbered in their order.
#[derive(Default)]
pub(super) struct Stops {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    now: u64,
    stopped: HashMap<IssueId, u64>,
}

impl Stops {
    /// A number for a claim that is about to begin.
    pub(super) fn ticket(&self) -> u64 {
        self.lock().now
    }

    /// The issue is paused: that is committed.
    pub(super) fn stop(&self, issue: IssueId) {
        let mut inner = self.lock();
        inner.now += 1;
        let now = inner.now;
        inner.stopped.insert(issue, now);
    }

    /// Whether the issue was stopped after that claim began.
    pub(super) fn is_stopped(&self, issue: IssueId, ticket: u64) -> bool {
        let stopped = self.lock().stopped.get(&issue).copied();
        stopped.is_some_and(|at| ticket < at)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_stop_holds_for_what_was_claimed_before_it() {
        let stops = Stops::default();
        let (one, other) = (IssueId(Uuid::from_u128(1)), IssueId(Uuid::from_u128(2)));
        let before = stops.ticket();
        assert!(!stops.is_stopped(one, before));
        stops.stop(one);
        assert!(stops.is_stopped(one, before));
        assert!(!stops.is_stopped(other, before));
        let after = stops.ticket();
        assert!(
            !stops.is_stopped(one, after),
            "it was claimed again: somebody resumed it"
        );
        stops.stop(other);
        assert!(!stops.is_stopped(one, after));
        stops.stop(one);
        assert!(stops.is_stopped(one, after), "it was paused once more");
    }
}
