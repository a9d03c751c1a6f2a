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
    notices: VecDeque<(Ready, u64)>,
    digests: VecDeque<(Ready, u64)>,
    in_hand: usize,
    /// Deliveries that were done with, ever.
    done: usize,
    is_closed: bool,
}

impl Queue {
    /// Adds notices or digests, with the number of their claim.
    pub(super) fn push(&self, ready: Vec<Ready>, ticket: u64) {
        {
            let mut inner = self.lock();
            for ready in ready {
                match ready.claimed.issue_id {
                    None => inner.notices.push_back((ready, ticket)),
                    Some(_) => inner.digests.push_back((ready, ticket)),
                }
            }
        }
        self.came.notify_waiters();
    }

    /// The next delivery, if there is one. It is in hand until it is dropped.
    pub(super) fn try_take(&self) -> Option<Taken<'_>> {
        self.try_take_if(|_, _| true)
    }

    /// The next delivery, if there is one and it fits.
    pub(super) fn try_take_if(&self, fits: impl FnOnce(&Ready, u64) -> bool) -> Option<Taken<'_>> {
        let mut inner = self.lock();
        if inner.is_closed {
            return None;
        }
        let waiting = if inner.notices.is_empty() {
            &mut inner.digests
        } else {
            &mut inner.notices
        };
        let (ready, ticket) = waiting.pop_front_if(|(ready, ticket)| fits(ready, *ticket))?;
        inner.in_hand += 1;
        Some(Taken {
            ready,
            ticket,
            queue: self,
        })
    }

    /// A waiting notice in place of a digest that has not been begun: after a wait, notices come first all the same.
    pub(super) fn notice_first(&self, taken: &mut Taken<'_>) {
        let mut inner = self.lock();
        if inner.is_closed || taken.ready.claimed.issue_id.is_none() {
            return;
        }
        if let Some(notice) = inner.notices.pop_front() {
            let digest = std::mem::replace(&mut taken.ready, notice.0);
            let ticket = std::mem::replace(&mut taken.ticket, notice.1);
            inner.digests.push_front((digest, ticket));
        }
    }

    /// Waits until nobody may take any more.
    pub(super) async fn until_closed(&self) {
        loop {
            let came = self.came.notified();
            if self.is_closed() {
                return;
            }
            came.await;
        }
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
                .map(|(ready, _)| ready)
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
    ticket: u64,
    queue: &'a Queue,
}

impl Taken<'_> {
    /// The number of its claim.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::deliveries::{Claimed, Kind};
    use crate::id::NewsletterId;

    fn ready(number: u128, kind: Kind) -> Ready {
        let is_digest = kind == Kind::Digest;
        let claimed = Claimed {
            id: Uuid::from_u128(number).into(),
            issue_id: is_digest.then(|| Uuid::from_u128(1).into()),
            subscription_id: None,
            variant_id: None,
            signup_id: None,
            newsletter_id: NewsletterId(Uuid::from_u128(2)),
            kind,
            recipient: "ada@example.org".to_owned(),
            payload: None,
            attempt: 1,
            tries: 0,
            doubt: 0,
            owner: Uuid::from_u128(3).into(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            relay_id: None,
        };
        Ready {
            claimed,
            suppression_keys: Vec::new(),
            decided_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_digest_that_gives_way_to_a_notice_is_the_next_one() {
        let queue = Queue::default();
        let digests = [4, 5].map(|number| ready(number, Kind::Digest));
        let notice = ready(6, Kind::Welcome);
        queue.push(digests.to_vec(), 1);
        let mut taken = queue.try_take().unwrap();
        queue.push(vec![notice.clone()], 2);
        queue.notice_first(&mut taken);
        assert_eq!((&taken.ready, taken.ticket()), (&notice, 2));
        drop(taken);
        for digest in &digests {
            let taken = queue.try_take().unwrap();
            assert_eq!((&taken.ready, taken.ticket()), (digest, 1));
        }
        assert_eq!((queue.load(), queue.done()), (0, 3));
    }

    #[test]
    fn all_that_waits_is_left_when_it_closes() {
        let queue = Queue::default();
        let all = [Kind::Digest, Kind::Welcome, Kind::Digest, Kind::Alert];
        let all: Vec<_> = (4..).zip(all).map(|(n, kind)| ready(n, kind)).collect();
        queue.push(all.clone(), 1);
        let mut left = queue.close();
        left.sort_by_key(|ready| ready.claimed.id);
        assert_eq!(left, all);
        assert!(queue.try_take().is_none());
    }

    #[test]
    fn a_notice_in_hand_gives_way_to_no_other() {
        let queue = Queue::default();
        let notices = [4, 5].map(|number| ready(number, Kind::Welcome));
        queue.push(vec![notices[0].clone()], 1);
        let mut taken = queue.try_take().unwrap();
        queue.push(vec![notices[1].clone()], 2);
        queue.notice_first(&mut taken);
        assert_eq!((&taken.ready, taken.ticket()), (&notices[0], 1));
    }

    #[test]
    fn digests_do_not_overtake_a_notice_that_does_not_fit() {
        let queue = Queue::default();
        queue.push(vec![ready(4, Kind::Welcome), ready(5, Kind::Digest)], 1);
        let taken = queue.try_take_if(|ready, _| ready.claimed.kind == Kind::Digest);
        assert!(taken.is_none());
        assert_eq!(queue.load(), 2);
    }
}
