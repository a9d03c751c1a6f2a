//! Good answers that are settled and not counted in the database yet: they pull no brake, so they need not cost each
//! commit two statements. A crash forgets them, and other workers see them a little later; both make the brakes stricter.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::tally::Answer;
use crate::clock::Timestamp;
use crate::deliveries::settlement::Settlement;
use crate::id::{IssueId, WorkerId};

/// So many are counted together, at most,
const ENOUGH: usize = 500;
/// and those that wait, when one of them is so old.
const OLD: Duration = Duration::from_secs(1);

/// An answer, who heard it, and when.
#[derive(Clone, Debug)]
pub(in crate::deliveries) struct Heard {
    pub(super) answer: Answer,
    pub(super) worker: WorkerId,
    pub(super) at: Timestamp,
}

impl Heard {
    /// What was heard at the end of an attempt.
    pub(in crate::deliveries) fn of(settlement: &Settlement) -> Option<Self> {
        Some(Self {
            answer: settlement.answer.clone()?,
            worker: settlement.owner,
            at: settlement.at,
        })
    }

    /// Of which issue, and who heard it.
    pub(in crate::deliveries) fn of_which(&self) -> (IssueId, WorkerId) {
        (self.answer.issue, self.worker)
    }

    /// Whether it can pull a brake, so that it must be counted at once.
    pub(in crate::deliveries) fn is_bad(&self) -> bool {
        self.answer.said.is_bad()
    }
}

/// A worker's uncounted answers, in their order.
#[derive(Default)]
pub struct Uncounted(Mutex<Vec<Heard>>);

impl Uncounted {
    /// Whether they are to be counted along with `more`.
    pub(in crate::deliveries) fn is_due_with(&self, more: &[Heard]) -> bool {
        let waiting = self.lock();
        let (oldest, newest) = (waiting.first(), more.last());
        let are_old = match (oldest, newest) {
            (Some(oldest), Some(newest)) => newest.at >= oldest.at + OLD,
            _ => false,
        };
        are_old || more.iter().any(Heard::is_bad) || waiting.len() + more.len() >= ENOUGH
    }

    pub(in crate::deliveries) fn add(&self, heard: Vec<Heard>) {
        self.lock().extend(heard);
    }

    /// All of them; whoever fails to count them adds them again.
    pub(in crate::deliveries) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::deliveries::brakes::tally::Said;

    fn heard(said: Said, times: usize) -> Vec<Heard> {
        let one = Heard {
            answer: Answer {
                issue: IssueId(Uuid::nil()),
                domain: "example.org".to_owned(),
                said,
            },
            worker: WorkerId(Uuid::nil()),
            at: Timestamp::UNIX_EPOCH,
        };
        vec![one; times]
    }

    #[test]
    fn good_answers_wait_for_a_bad_one_or_five_hundred_or_a_second() {
        let uncounted = Uncounted::default();
        assert!(uncounted.is_due_with(&heard(Said::Lost, 1)));
        assert!(!uncounted.is_due_with(&heard(Said::Accepted, 499)));
        uncounted.add(heard(Said::Accepted, 499));
        assert!(uncounted.is_due_with(&heard(Said::Accepted, 1)));
        assert_eq!(uncounted.take().len(), 499);
        uncounted.add(heard(Said::Accepted, 1));
        let mut later = heard(Said::Accepted, 1);
        for (millis, is_due) in [(0, false), (999, false), (1000, true)] {
            later[0].at = Timestamp::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(uncounted.is_due_with(&later), is_due, "{millis} ms");
        }
        assert_eq!(uncounted.take().len(), 1);
        assert!(uncounted.take().is_empty());
    }
}
