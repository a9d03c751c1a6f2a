//! The ledger: the one way in which an attempt is marked and settled.
//!
//! Nothing is started that cannot be recorded: while a result cannot be stored it stays here, is tried again, and no new
//! envelope is begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::claim::Ready;
use super::settlement::Settlement;
use super::store::mark::{self, Times};
use super::store::settle;
use super::{Claimed, Kind, Leases, Reason, State};
use crate::clock::{Clock, Timestamp};
use crate::db::{Db, Tx};

/// How long a relay may wait between its 354 and the message, for the mark's commit.
pub const MARK_DEADLINE: Duration = Duration::from_secs(30);
/// The wait between two tries to store a result, at first and at most.
const STORE_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long a notice waits that may not be sent as what it was claimed.
const NOTICE_AGAIN: Duration = Duration::from_secs(5);

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is durable: the message may be written until then.
    Yes {
        /// The end of the transmission's lease.
        until: Timestamp,
    },
    /// It was not made. The row is skipped or waits again; close without the dot.
    No,
}

/// Marks and settles.
#[derive(Clone)]
pub struct Ledger {
    db: Db,
    clock: Arc<dyn Clock>,
    leases: Leases,
    unstored: Arc<AtomicUsize>,
}

impl Ledger {
    /// A ledger in `db`.
    pub fn new(db: Db, clock: Arc<dyn Clock>, leases: Leases) -> Self {
        Self {
            db,
            clock,
            leases,
            unstored: Arc::default(),
        }
    }

    /// Whether every result so far is stored.
    pub fn is_healthy(&self) -> bool {
        self.unstored.load(Ordering::SeqCst) == 0
    }

    /// Marks a claimed delivery: from this commit on it may be transmitted over `relay`.
    ///
    /// An error leaves open whether it was marked; [`Ledger::give_back`] ends that.
    pub async fn mark(&self, ready: &Ready, relay: &str) -> sqlx::Result<Marked> {
        let now = self.clock.now();
        let times = Times {
            now,
            lease_until: now + self.leases.transmission,
            alive_after: now - self.leases.own_worker_lease(),
        };
        let (ready, relay) = (ready.clone(), relay.to_owned());
        self.db
            .write(move |tx| Box::pin(async move { mark_or_skip(tx, &ready, &relay, times).await }))
            .await
    }

    /// Settles what was transmitted. Comes back when it is stored.
    pub async fn settle(&self, settlement: Settlement) {
        self.until_stored(
            move |tx, settlement| Box::pin(settle_in(tx, settlement)),
            settlement,
        )
        .await;
    }

    /// Settles what was refused before it was marked. Comes back when it is stored.
    pub async fn refuse(&self, settlement: Settlement) {
        self.until_stored(
            move |tx, settlement| Box::pin(refuse_in(tx, settlement)),
            settlement,
        )
        .await;
    }

    /// Puts back a delivery of which certainly nothing was transmitted. Comes back when it is stored.
    pub async fn give_back(&self, claimed: &Claimed, not_before: Timestamp) {
        let claimed = claimed.clone();
        self.until_stored(
            move |tx, (claimed, not_before)| {
                Box::pin(async move { settle::give_back(tx, &claimed, not_before).await.map(drop) })
            },
            (claimed, not_before),
        )
        .await;
    }

    async fn until_stored<T, F>(&self, write: F, what: T)
    where
        T: Clone + Send + 'static,
        F: for<'a, 'c> Fn(
                &'a mut Tx<'c>,
                T,
            ) -> futures_util::future::BoxFuture<'a, sqlx::Result<()>>
            + Clone
            + Send
            + 'static,
    {
        let mut wait = STORE_AGAIN.0;
        let mut counted = None;
        loop {
            let (write, what) = (write.clone(), what.clone());
            let stored = self.db.write(move |tx| write(tx, what)).await;
            let Err(error) = stored else { return };
            if counted.is_none() {
                counted = Some(Unstored::count(&self.unstored));
                tracing::error!(error = %error, "A result cannot be stored; nothing new is sent until it is");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_AGAIN.1);
        }
    }
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

/// Why a mark was not made.
enum WhyNot {
    /// The row ends.
    Skip(Reason),
    /// The row waits: what stands in the way may go.
    Wait,
}

async fn mark_or_skip(
    tx: &mut Tx<'_>,
    ready: &Ready,
    relay: &str,
    times: Times,
) -> sqlx::Result<Marked> {
    let claimed = &ready.claimed;
    let why_not = match forbids(tx, ready, times.now).await? {
        None if mark::mark(tx, claimed, relay, times).await? => {
            return Ok(Marked::Yes {
                until: times.lease_until,
            });
        }
        None => WhyNot::Wait,
        Some(why_not) => why_not,
    };
    match why_not {
        WhyNot::Wait => {
            // A notice is decided about anew at its next claim, which may come to the same: not at once.
            let wait = match claimed.issue_id {
                Some(_) => Duration::ZERO,
                None => NOTICE_AGAIN,
            };
            settle::give_back(tx, claimed, times.now + wait).await?;
        }
        WhyNot::Skip(reason) => {
            // What may have arrived before is for an operator, not for the next issue.
            let skipped = super::store::claim::skip(tx, claimed, reason, times.now).await?;
            if skipped && matches!(reason, Reason::Cancelled | Reason::ReaderPaused) {
                settle::put_back(tx, claimed.id).await?;
            }
        }
    }
    Ok(Marked::No)
}

/// Looks once more at all that may have changed since the claim. Locks in the order that everybody keeps: issue,
/// subscription, sign-up; the delivery comes last.
async fn forbids(tx: &mut Tx<'_>, ready: &Ready, now: Timestamp) -> sqlx::Result<Option<WhyNot>> {
    let claimed = &ready.claimed;
    if let Some(issue) = claimed.issue_id {
        match mark::issue(tx, issue).await? {
            Some((state, None)) if state == "sending" => {}
            Some((state, _)) if state == "cancelled" => {
                return Ok(Some(WhyNot::Skip(Reason::Cancelled)));
            }
            Some(_) | None => return Ok(Some(WhyNot::Wait)),
        }
    }
    let needs_subscription = match claimed.kind {
        Kind::Digest | Kind::Welcome | Kind::ManageLink => true,
        Kind::Confirmation | Kind::Alert | Kind::Test => false,
    };
    if needs_subscription {
        let found = match claimed.subscription_id {
            Some(id) => mark::subscription(tx, id).await?,
            None => None,
        };
        let pauses = |until: Option<Timestamp>| {
            claimed.kind == Kind::Digest && until.is_some_and(|until| until > now)
        };
        match found {
            Some((state, until)) if state == "active" && !pauses(until) => {}
            Some((state, _)) if state == "active" => {
                return Ok(Some(WhyNot::Skip(Reason::ReaderPaused)));
            }
            // A notice may become another one; the next claim decides.
            Some(_) | None if claimed.kind == Kind::ManageLink => return Ok(Some(WhyNot::Wait)),
            Some(_) | None => return Ok(Some(WhyNot::Skip(Reason::Unsubscribed))),
        }
    }
    if claimed.kind == Kind::Confirmation {
        let open = match claimed.signup_id {
            Some(id) => mark::signup_is_open(tx, id, now).await?,
            None => false,
        };
        if !open {
            return Ok(Some(WhyNot::Wait));
        }
    }
    for key in &ready.suppression_keys {
        if mark::is_suppressed_since(tx, key, claimed.newsletter_id, ready.decided_at).await? {
            return Ok(Some(WhyNot::Wait));
        }
    }
    Ok(None)
}

async fn settle_in(tx: &mut Tx<'_>, settlement: Settlement) -> sqlx::Result<()> {
    pause(tx, &settlement).await?;
    let settled = settle::settle(tx, &settlement).await?;
    put_back_expired(tx, &settlement, settled).await
}

async fn refuse_in(tx: &mut Tx<'_>, settlement: Settlement) -> sqlx::Result<()> {
    pause(tx, &settlement).await?;
    let settled = settle::refuse(tx, &settlement).await?;
    put_back_expired(tx, &settlement, settled).await
}

async fn pause(tx: &mut Tx<'_>, settlement: &Settlement) -> sqlx::Result<()> {
    let Some((issue, reason)) = &settlement.pause else {
        return Ok(());
    };
    if settle::pause_issue(tx, *issue, reason, settlement.at).await? {
        tracing::error!(issue.id = %issue, reason, "Issue {issue} is paused: the relay refuses its sender or content");
    }
    Ok(())
}

async fn put_back_expired(
    tx: &mut Tx<'_>,
    settlement: &Settlement,
    settled: bool,
) -> sqlx::Result<()> {
    let expired = (settlement.state, settlement.reason) == (State::Failed, Some(Reason::Expired));
    if settled && expired {
        settle::put_back(tx, settlement.id).await?;
    }
    Ok(())
}
