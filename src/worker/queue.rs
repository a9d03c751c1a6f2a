//! Claimed deliveries on their way to a line: notices first.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::deliveries::claim::Ready;

/// A queue within the process. Everything in it is claimed; what is left at the end must be given back.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Something came, or the queue was closed.
    came: Notify,
    /// Something went, or was done.
    went: Notify,
}

#[derive(Default)]
struct Inner {
    notices: VecDeque<Ready>,
    digests: VecDeque<Ready>,
    in_hand: usize,
    /// Deliveries that were done with, ever.
    done: usize,
    is_closed: bool,
}

impl Queue {
    /// Adds notices or digests.
    pub(super) fn push(&self, ready: Vec<Ready>) {
        {
            let mut inner = self.lock();
            for ready in ready {
                match ready.claimed.issue_id {
                    None => inner.notices.push_back(ready),
                    Some(_) => inner.digests.push_back(ready),
                }
            }
        }
        self.came.notify_waiters();
    }

    /// The next delivery, if there is one. It is in hand until it is dropped.
    pub(super) fn try_take(&self) -> Option<Taken<'_>> {
        let mut inner = self.lock();
        if inner.is_closed {
            return None;
        }
        let next = inner.notices.pop_front();
        let ready = next.or_else(|| inner.digests.pop_front())?;
        inner.in_hand += 1;
        Some(Taken { ready, queue: self })
    }

    /// Waits for the next delivery; `None` when the queue is closed.
    pub(super) async fn take(&self) -> Option<Taken<'_>> {
        loop {
            let came = self.came.notified();
            if let Some(taken) = self.try_take() {
                return Some(taken);
            }
            if self.lock().is_closed {
                return None;
            }
            came.await;
        }
    }

    /// Deliveries that wait or are in hand.
    pub(super) fn load(&self) -> usize {
        let inner = self.lock();
        inner.notices.len() + inner.digests.len() + inner.in_hand
    }

    /// Deliveries that were done with, ever.
    pub(super) fn done(&self) -> usize {
        self.lock().done
    }

    /// Waits until the load is at most `load`.
    pub(super) async fn until_at_most(&self, load: usize) {
        loop {
            let went = self.went.notified();
            if self.load() <= load {
                return;
            }
            went.await;
        }
    }

    /// Whether nobody may take any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Lets nobody take any more, and gives what was waiting.
    pub(super) fn close(&self) -> Vec<Ready> {
        let left = {
            let mut inner = self.lock();
            inner.is_closed = true;
            let notices = std::mem::take(&mut inner.notices);
            notices
                .into_iter()
                .chain(std::mem::take(&mut inner.digests))
                .collect()
        };
        self.came.notify_waiters();
        self.went.notify_waiters();
        left
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock can panic")
    }
}

/// A delivery that somebody has in hand.
pub(super) struct Taken<'a> {
    ready: Ready,
    queue: &'a Queue,
}

impl Borrow<Ready> for Taken<'_> {
    fn borrow(&self) -> &Ready {
        &self.ready
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        {
            let mut inner = self.queue.lock();
            inner.in_hand -= 1;
            inner.done += 1;
        }
        self.queue.went.notify_waiters();
    }
}
