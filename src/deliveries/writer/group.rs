//! The writer: groups of operations, each group one transaction.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::one_mark::{One, mark_or_skip};
use super::stops::Stops;
use super::{MOST, Mark, Marked, Operation, Record};
use crate::clock::{Clock, Deadline};
use crate::db::{Db, Tx, lost_a_race};
use crate::deliveries::brakes;
use crate::deliveries::brakes::uncounted::{Heard, Uncounted};
use crate::deliveries::settlement::Settlement;
use crate::deliveries::store::group::{self, End, MarkRow};
use crate::deliveries::store::mark::Times;
use crate::deliveries::store::revert::{self, GivenBack};
use crate::deliveries::{Leases, Reason, State, store};
use crate::id::IssueId;
use crate::telemetry::mask_emails;

/// The wait between two tries to store a result, at first and at most.
const STORE_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often a transaction is repeated that lost a race against others. It may lose again; not for ever.
const RACES: u32 = 5;

#[derive(Clone)]
pub(super) struct Writer {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leases: Leases,
    /// Results that could not be stored yet.
    pub(super) unstored: Arc<AtomicUsize>,
    pub(super) stops: Arc<Stops>,
    pub(super) uncounted: Arc<Uncounted>,
}

/// What one transaction writes.
#[derive(Default)]
struct Group {
    ends: Vec<End>,
    given_back: Vec<GivenBack>,
    /// Of digests. Those of notices are decided one by one.
    marks: Vec<MarkRow>,
    /// For the brakes.
    counted: Vec<Heard>,
}

/// Why nothing of a group was written.
#[derive(Debug, thiserror::Error)]
enum Undone {
    /// Something stands in the way of one of its rows, which is a matter of that one alone. Asking for each row's answer
    /// would cost all groups more than this costs the few.
    #[error("one of the group is not what it was")]
    NotAll,
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

impl Mark {
    /// `None` for a notice, which is marked alone.
    fn row(&self) -> Option<MarkRow> {
        MarkRow::of(&self.ready.claimed, &self.relay)
    }
}

impl Writer {
    pub(super) async fn run(self, mut operations: mpsc::Receiver<Operation>) {
        let mut waiting = Vec::with_capacity(MOST);
        while !waiting.is_empty() || operations.recv_many(&mut waiting, MOST).await > 0 {
            let mut seen = HashSet::new();
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut waiting)
                .into_iter()
                // a statement takes each row once: what is said of it again comes in the next group
                .partition(|operation| operation.ids().all(|id| seen.insert(id)));
            waiting = later;
            self.write(now).await;
        }
    }

    async fn write(&self, operations: Vec<Operation>) {
        let mut group = Group::default();
        for operation in &operations {
            group.add(operation.record.as_ref(), operation.mark.as_ref());
        }
        let (times, fence) = self.times();
        match self.commit(group, times).await {
            Ok(()) => {
                for operation in operations {
                    self.answer(operation, fence);
                }
            }
            // One of them, or all, or only the answer of the COMMIT was lost: each by itself finds out.
            Err(_) => {
                for operation in operations {
                    tokio::spawn(self.clone().write_alone(operation));
                }
            }
        }
    }

    /// Answers an operation whose group is stored.
    fn answer(&self, operation: Operation, fence: Deadline) {
        match operation.mark {
            None => send(operation.answer, Ok(Marked::No)),
            Some(mark) if mark.row().is_some() => {
                send(operation.answer, Ok(Marked::Yes { fence }));
            }
            Some(mark) => {
                tokio::spawn(self.clone().mark_alone(mark, operation.answer));
            }
        }
    }

    async fn mark_alone(self, mark: Mark, answer: oneshot::Sender<sqlx::Result<Marked>>) {
        let issue = mark.ready.claimed.issue_id;
        let mut races = 0;
        let marked = loop {
            let (times, fence) = self.times();
            let mark = mark.clone();
            let marked = self
                .db
                .write(move |tx| {
                    Box::pin(async move { mark_or_skip(tx, &mark.ready, &mark.relay, times).await })
                })
                .await;
            match marked {
                Err(error) if races < RACES && lost_a_race(&error) => races += 1,
                Ok(One::Marked) => break Ok(Marked::Yes { fence }),
                Ok(One::NotMarked) => break Ok(Marked::No),
                Ok(One::IssueWaits) => {
                    if let Some(issue) = issue {
                        self.stops.stop(issue);
                    }
                    break Ok(Marked::No);
                }
                Err(error) => break Err(error),
            }
        };
        send(answer, marked);
    }

    async fn write_alone(self, operation: Operation) {
        let Operation {
            record,
            mark,
            answer,
        } = operation;
        if let Some(record) = record {
            self.until_stored(record).await;
        }
        match mark {
            Some(mark) => self.mark_alone(mark, answer).await,
            None => send(answer, Ok(Marked::No)),
        }
    }

    async fn until_stored(&self, record: Record) {
        let mut wait = STORE_AGAIN.0;
        let mut counted = None;
        loop {
            let mut group = Group::default();
            group.add(Some(&record), None);
            let (times, _fence) = self.times();
            let Err(error) = self.commit(group, times).await else {
                return;
            };
            if counted.is_none() {
                counted = Some(Unstored::count(&self.unstored));
                tracing::error!(error = %error, "A result cannot be stored; nothing new is sent until it is");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_AGAIN.1);
        }
    }

    /// Writes a group, then looks at the brakes.
    async fn commit(&self, mut group: Group, times: Times) -> Result<(), Undone> {
        let (paused, heard) = (group.paused(), group.heard());
        // issues whose answers may pull a brake, and who heard them
        let bad = heard.iter().filter(|heard| heard.is_bad());
        let suspects: BTreeSet<_> = bad.map(Heard::of_which).collect();
        let mut earlier = Vec::new();
        let is_counted = self.uncounted.is_due_with(&heard);
        if is_counted {
            earlier = self.uncounted.take();
            group.counted = [earlier.as_slice(), &heard].concat();
        }
        let ended = self.written(group, times).await;
        match ended {
            Ok(true) if is_counted => {}
            Ok(true) => self.uncounted.add(heard),
            Ok(false) | Err(_) => self.uncounted.add(earlier),
        }
        ended?;
        for issue in paused {
            self.stops.stop(issue);
        }
        // before anything else is marked: what leaves after a brake's commit is what is on the wire already
        for (issue, worker) in suspects {
            match brakes::check(&self.db, issue, worker, times.now).await {
                Ok(true) => self.stops.stop(issue),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "The brakes cannot be looked at; the sweeper does it");
                }
            }
        }
        Ok(())
    }

    /// A group that lost a race against other transactions is written again.
    async fn written(&self, group: Group, times: Times) -> Result<bool, Undone> {
        let group = Arc::new(group);
        let mut races = 0;
        loop {
            let group = group.clone();
            let committed = self
                .db
                .write(move |tx| Box::pin(async move { group.write(tx, times).await }))
                .await;
            match committed {
                Err(Undone::Db(error)) if races < RACES && lost_a_race(&error) => races += 1,
                committed => return committed,
            }
        }
    }

    /// The times of a transaction that is about to begin, and the end of the leases that it gives.
    fn times(&self) -> (Times, Deadline) {
        let lease = self.leases.own_transmission_lease();
        let fence = Deadline::after(&*self.clock, lease);
        let now = self.clock.now();
        let times = Times {
            now,
            by_lease: self.leases.now(now),
            transmission: self.leases.transmission,
            sign_of_life: self.leases.own_worker_lease(),
        };
        (times, fence)
    }
}

impl Group {
    fn add(&mut self, record: Option<&Record>, mark: Option<&Mark>) {
        let mut end = |settlement: &Settlement, was_marked| {
            self.ends.push(End {
                settlement: settlement.clone(),
                was_marked,
            });
        };
        match record {
            Some(Record::Settle(settlement)) => end(settlement, true),
            Some(Record::Refuse(settlement)) => end(settlement, false),
            Some(Record::GiveBack(back)) => self.given_back.push(back.clone()),
            None => {}
        }
        if let Some(row) = mark.and_then(Mark::row) {
            self.marks.push(row);
        }
    }

    /// Locks in the order that everybody keeps: issues, subscriptions, deliveries. Whether all ends took effect.
    async fn write(&self, tx: &mut Tx<'_>, times: Times) -> Result<bool, Undone> {
        for settlement in self.settlements() {
            pause(tx, settlement).await?;
        }
        group::lock(tx, &self.marks).await?;
        revert::give_back(tx, &self.given_back).await?;
        let all = self.ends.len() + self.marks.len();
        if group::write(tx, &self.ends, &self.marks, times).await? < all {
            return if self.is_one() {
                Ok(false)
            } else {
                Err(Undone::NotAll)
            };
        }
        self.put_back_expired(tx).await?;
        brakes::record(tx, &self.counted).await?;
        Ok(true)
    }

    /// Whether it is one operation's record and nothing else. That a row knows better is an answer then.
    fn is_one(&self) -> bool {
        self.ends.len() + self.given_back.len() == 1 && self.marks.is_empty()
    }

    fn settlements(&self) -> impl Iterator<Item = &Settlement> {
        self.ends.iter().map(|end| &end.settlement)
    }

    /// What the brakes count.
    fn heard(&self) -> Vec<Heard> {
        self.settlements().filter_map(Heard::of).collect()
    }

    /// Issues that it pauses.
    fn paused(&self) -> BTreeSet<IssueId> {
        self.settlements()
            .filter_map(|settlement| settlement.pause.as_ref().map(|(issue, _)| *issue))
            .collect()
    }

    async fn put_back_expired(&self, tx: &mut Tx<'_>) -> sqlx::Result<()> {
        let expired = |settlement: &&Settlement| {
            settlement.state == State::Failed && settlement.reason == Some(Reason::Expired)
        };
        for settlement in self.settlements().filter(expired) {
            revert::put_back(tx, settlement.id).await?;
        }
        Ok(())
    }
}

async fn pause(tx: &mut Tx<'_>, settlement: &Settlement) -> sqlx::Result<()> {
    let Some((issue, reason)) = &settlement.pause else {
        return Ok(());
    };
    let reason = mask_emails(reason);
    if store::brakes::pause_issue(tx, *issue, &reason, settlement.at).await? {
        tracing::error!(issue.id = %issue, reason, "Issue {issue} is paused: the relay refuses its sender or content");
    }
    Ok(())
}

/// The caller may be gone; what was written stands all the same.
fn send(answer: oneshot::Sender<sqlx::Result<Marked>>, marked: sqlx::Result<Marked>) {
    let _gone = answer.send(marked);
}

/// Counts a result that waits to be stored, for as long as it lives.
struct Unstored(Arc<AtomicUsize>);

impl Unstored {
    fn count(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::SeqCst);
        Self(all.clone())
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
