//! Which open connections wait for a request, oldest first, so that a full server can make room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

/// The connections that are open and have no request in work.
///
/// A connection is idle from its start, or from the end of an answer, to the moment a whole request head has
/// arrived. Only idle connections are ever closed to make room.
#[derive(Clone, Default)]
pub(super) struct IdleConnections(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    idle: BTreeMap<u64, CancellationToken>,
    next_turn: u64,
}

impl IdleConnections {
    /// Registers a new connection, which is idle.
    pub(super) fn open(&self) -> IdleConnection {
        let connection = IdleConnection {
            all: self.clone(),
            turn: Arc::new(Mutex::new(None)),
            closed: CancellationToken::new(),
        };
        connection.wait();
        connection
    }

    /// Tells the connection that has been idle longest to close. `false` when every connection is at work.
    pub(super) fn close_oldest(&self) -> bool {
        match self.lock().idle.pop_first() {
            Some((_, closed)) => {
                closed.cancel();
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

/// One connection's place among the idle ones; leaves it when dropped.
#[derive(Clone)]
pub(super) struct IdleConnection {
    all: IdleConnections,
    turn: Arc<Mutex<Option<u64>>>,
    closed: CancellationToken,
}

impl IdleConnection {
    /// The connection waits for a request again, as the youngest of the idle.
    pub(super) fn wait(&self) {
        let mut turn = self.turn.lock().expect("no holder of this lock can panic");
        let mut all = self.all.lock();
        if let Some(old) = turn.take() {
            all.idle.remove(&old);
        }
        let new = all.next_turn;
        all.next_turn += 1;
        all.idle.insert(new, self.closed.clone());
        *turn = Some(new);
    }

    /// A request has arrived; until [`wait`](Self::wait) the connection is not closed to make room.
    pub(super) fn work(&self) {
        let mut turn = self.turn.lock().expect("no holder of this lock can panic");
        if let Some(old) = turn.take() {
            self.all.lock().idle.remove(&old);
        }
    }

    /// Whether no request is in work.
    pub(super) fn is_waiting(&self) -> bool {
        let turn = self.turn.lock().expect("no holder of this lock can panic");
        turn.is_some()
    }

    /// Resolves when the connection has to make room for another.
    pub(super) async fn must_close(&self) {
        self.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_connection_makes_room_and_a_busy_one_never_does() {
        let all = IdleConnections::default();
        let (first, second) = (all.open(), all.open());
        first.work();
        assert!(all.close_oldest());
        assert!(second.closed.is_cancelled());
        assert!(!first.closed.is_cancelled());
        assert!(!all.close_oldest(), "the only one left is at work");

        let third = all.open();
        first.wait();
        assert!(all.close_oldest());
        assert!(third.closed.is_cancelled(), "the third has waited longer");
    }
}
