//! The ledger: the one way in which an attempt is marked and settled.
//!
//! All connections hand their operations to one writer, which applies what has gathered by one statement per commit and
//! answers after it. There is no timer: a group is what came while the one before it was committed.
//!
//! Nothing is started that cannot be recorded: while a result cannot be stored it stays here, is tried again, and no new
//! envelope is begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::stops::Stops;
use super::Leases;
use super::brakes::uncounted::Uncounted;
use super::claim::Ready;
use super::settlement::Settlement;
use super::store::revert::GivenBack;
use crate::clock::{Clock, Deadline, Timestamp};
use crate::db::Db;
use crate::id::{DeliveryId, IssueId};

mod group;
mod one_mark;
mod stops;

/// How long a relay may wait between its 354 and the message, for the mark's commit.
pub const MARK_DEADLINE: Duration = Duration::from_secs(30);

/// Operations that share a commit, at most; beyond it connections wait to hand theirs over.
const MOST: usize = 256;

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is durable: the message may be written until then.
    Yes {
        /// The end of the transmission's lease, a little early.
        fence: Deadline,
    },
    /// It was not made. The row is skipped or waits again; close without the dot.
    No,
}

/// Marks and settles. Cheap to clone; all clones share one writer, which ends with the last of them.
#[derive(Clone)]
pub struct Ledger {
    operations: mpsc::Sender<Operation>,
    unstored: Arc<AtomicUsize>,
    stops: Arc<Stops>,
    uncounted: Arc<Uncounted>,
}

/// What one connection wants written at one time.
struct Operation {
    record: Option<Record>,
    mark: Option<Mark>,
    /// `No` where no mark was asked for.
    answer: oneshot::Sender<sqlx::Result<Marked>>,
}

/// The end of an attempt.
#[derive(Clone)]
enum Record {
    /// Of one that was transmitted.
    Settle(Settlement),
    /// Of one that was refused before it was marked.
    Refuse(Settlement),
    /// Of one of which certainly nothing was transmitted.
    GiveBack(GivenBack),
}

/// A transmission that is about to begin.
#[derive(Clone)]
struct Mark {
    ready: Ready,
    relay: Arc<str>,
}

impl Operation {
    fn ids(&self) -> impl Iterator<Item = DeliveryId> {
        let recorded = self.record.as_ref().map(|record| match record {
            Record::Settle(settlement) | Record::Refuse(settlement) => settlement.id,
            Record::GiveBack(back) => back.id,
        });
        let marked = self.mark.as_ref().map(|mark| mark.ready.claimed.id);
        recorded.into_iter().chain(marked)
    }
}

impl Ledger {
    /// A ledger in `db`, with its writer.
    pub fn new(db: Db, clock: Arc<dyn Clock>, leases: Leases) -> Self {
        let unstored = Arc::<AtomicUsize>::default();
        let stops = Arc::<Stops>::default();
        let uncounted = Arc::<Uncounted>::default();
        let (operations, gathered) = mpsc::channel(MOST);
        let writer = group::Writer {
            db,
            clock,
            leases,
            unstored: unstored.clone(),
            stops: stops.clone(),
            uncounted: uncounted.clone(),
        };
        tokio::spawn(writer.run(gathered));
        Self {
            operations,
            unstored,
            stops,
            uncounted,
        }
    }

    /// Whether every result so far is stored.
    pub fn is_healthy(&self) -> bool {
        self.unstored.load(Ordering::SeqCst) == 0
    }

    /// Answers that are settled and wait to be counted.
    pub fn uncounted(&self) -> &Uncounted {
        &self.uncounted
    }

    /// A number for a claim that is about to begin, for [`Ledger::is_stopped`].
    pub fn ticket(&self) -> u64 {
        self.stops.ticket()
    }

    /// Whether the issue was found paused after that claim began: then what was claimed is given back.
    pub fn is_stopped(&self, issue: IssueId, ticket: u64) -> bool {
        self.stops.is_stopped(issue, ticket)
    }

    /// Settles one delivery and marks the next, under one commit: from it on the next may be transmitted over `relay`.
    ///
    /// An error leaves open whether it was marked; [`Ledger::give_back`] ends that. The settlement is stored in any case.
    pub async fn advance(
        &self,
        settlement: Option<Settlement>,
        ready: &Ready,
        relay: &Arc<str>,
    ) -> sqlx::Result<Marked> {
        let mark = Mark {
            ready: ready.clone(),
            relay: relay.clone(),
        };
        self.hand_over(settlement.map(Record::Settle), Some(mark))
            .await
    }

    /// Marks a claimed delivery: [`Ledger::advance`] without a settlement.
    pub async fn mark(&self, ready: &Ready, relay: &str) -> sqlx::Result<Marked> {
        self.advance(None, ready, &Arc::from(relay)).await
    }

    /// Settles what was transmitted. Comes back when it is stored.
    pub async fn settle(&self, settlement: Settlement) {
        self.record(Record::Settle(settlement)).await;
    }

    /// Settles what was refused before it was marked. Comes back when it is stored.
    pub async fn refuse(&self, settlement: Settlement) {
        self.record(Record::Refuse(settlement)).await;
    }

    /// Puts back a delivery of which certainly nothing was transmitted. Comes back when it is stored.
    pub async fn give_back(&self, claimed: &super::Claimed, not_before: Timestamp) {
        let back = GivenBack::of(claimed, not_before);
        self.record(Record::GiveBack(back)).await;
    }

    async fn record(&self, record: Record) {
        // a record without a mark is answered when it is stored, whatever that takes
        let _stored = self.hand_over(Some(record), None).await;
    }

    async fn hand_over(&self, record: Option<Record>, mark: Option<Mark>) -> sqlx::Result<Marked> {
        let (answer, answered) = oneshot::channel();
        let operation = Operation {
            record,
            mark,
            answer,
        };
        if self.operations.send(operation).await.is_err() {
            return Err(sqlx::Error::WorkerCrashed);
        }
        answered.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}
