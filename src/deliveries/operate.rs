//! What an operator does about sending: pause, resume, cancel. And what a reader's leaving does.

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::store::{brakes, operate, read};
use super::{Reason, State, recover};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{DeliveryId, IssueId, SubscriptionId};

/// Mails that are given more time by one write.
const CHUNK: i64 = 1000;

/// How many deliveries of an issue are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Waiting.
    pub pending: i64,
    /// With a worker.
    pub claimed: i64,
    /// On the wire.
    pub transmitting: i64,
    /// Perhaps accepted.
    pub in_doubt: i64,
    /// Acknowledged.
    pub sent: i64,
    /// Refused or given up.
    pub failed: i64,
    /// Not sent on purpose.
    pub skipped: i64,
    /// Waiting for an operator.
    pub held: i64,
    /// Of all these: those that were in doubt at least once, so that a reader may have more than one copy.
    pub doubted: i64,
}

impl Counts {
    /// All deliveries.
    pub fn total(&self) -> i64 {
        self.open() + self.sent + self.failed + self.skipped + self.held
    }

    /// Those that something will still happen to by itself.
    pub fn open(&self) -> i64 {
        self.pending + self.claimed + self.transmitting + self.in_doubt
    }

    pub(super) fn of(&mut self, state: State) -> &mut i64 {
        match state {
            State::Pending => &mut self.pending,
            State::Claimed => &mut self.claimed,
            State::Transmitting => &mut self.transmitting,
            State::InDoubt => &mut self.in_doubt,
            State::Sent => &mut self.sent,
            State::Failed => &mut self.failed,
            State::Skipped => &mut self.skipped,
            State::Held => &mut self.held,
        }
    }
}

/// Pauses an issue: it acts at each connection's next mark. `false` when it is paused already, or over.
pub async fn pause(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    brakes::pause_issue(tx, issue, reason, now).await
}

/// Gives what is open of an issue until `expires_at`, or longer, while the issue, or all sending, is paused, or the issue
/// is not released yet.
///
/// In chunks, with as long a rest after each: a million rows in one write would hold up all other writes for seconds, and
/// on SQLite another process waits for the file by looking now and then whether it is free.
pub async fn renew(db: &Db, issue: IssueId, expires_at: Timestamp) -> sqlx::Result<()> {
    // first, because nothing of it is claimed: what comes back from its way has its time then, and the walk passes it once
    db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move { operate::renew_underway(tx, issue, expires_at).await })
    })
    .await?;
    let mut after = (Timestamp::UNIX_EPOCH, DeliveryId(Uuid::nil()));
    loop {
        let began = Instant::now();
        let renewed = db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    operate::renew_waiting(tx, issue, expires_at, after, CHUNK).await
                })
            })
            .await?;
        let Some(last) = renewed.into_iter().max() else {
            return Ok(());
        };
        after = last;
        sleep(began.elapsed()).await;
    }
}

/// Lets a paused issue go on where it was, and writes down why. `false` when it is not paused, or over.
///
/// An operator's word counts as a new beginning: what waits has until `expires_at`, so that no pause, however long,
/// lets it grow old; and the brakes count anew, so that what they have seen does not pause it again.
pub async fn resume(
    db: &Db,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<bool> {
    renew(db, issue, expires_at).await?;
    let reason = reason.to_owned();
    db.write(move |tx| Box::pin(async move { resume_in(tx, issue, &reason, now).await }))
        .await
}

/// The same for a transaction that does more, of an issue whose mails have their time.
pub(super) async fn resume_in(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    brakes::remember_pause(tx, issue, reason, now).await?;
    let resumed = operate::resume(tx, issue).await?;
    if resumed {
        brakes::clear(tx, issue).await?;
    }
    Ok(resumed)
}

/// Cancels an issue, for good: from this commit on nothing of it is marked. `false` when it is over already.
///
/// Follow with [`skip_cancelled`]; the sweeper does it too.
pub async fn cancel(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    operate::cancel(tx, issue, reason, now).await
}

/// Skips what waits of cancelled issues and puts its interests back, in chunks, with as long a rest after each, as
/// [`renew`] does. Gives the number of rows.
pub async fn skip_cancelled(db: &Db, now: Timestamp) -> sqlx::Result<u64> {
    let mut all = 0;
    loop {
        let began = Instant::now();
        let cancelled = recover::cancel_rows(db, now).await?;
        if cancelled == 0 {
            return Ok(all);
        }
        all += cancelled;
        sleep(began.elapsed()).await;
    }
}

/// Pauses all sending, notices too. `false` when it is paused already.
pub async fn pause_sending(tx: &mut Tx<'_>, reason: &str, now: Timestamp) -> sqlx::Result<bool> {
    let value = serde_json::json!({ "at": now, "reason": reason });
    operate::pause_sending(tx, &value).await
}

/// Lets sending go on. `false` when it was not paused.
///
/// As for one issue, digests and welcomes that wait have until `expires_at`. Confirmations do not: they end with the
/// link that they carry.
pub async fn resume_sending(db: &Db, expires_at: Timestamp) -> sqlx::Result<bool> {
    for issue in operate::unfinished(db).await? {
        renew(db, issue, expires_at).await?;
    }
    db.write(move |tx| {
        Box::pin(async move {
            operate::renew_welcomes(tx, expires_at).await?;
            operate::resume_sending(tx).await
        })
    })
    .await
}

/// Whether all sending is paused.
pub async fn sending_is_paused(db: &Db) -> sqlx::Result<bool> {
    read::sending_is_paused(db).await
}

/// Skips everything of a subscription that has not been marked. For the transaction that ends the subscription, after
/// the subscription's own row was updated: a mark on its way then either came before, or finds the row skipped.
pub async fn skip_of_subscription(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
    now: Timestamp,
) -> sqlx::Result<Vec<DeliveryId>> {
    operate::skip_of_subscription(tx, subscription, Reason::Unsubscribed, now).await
}

/// How many deliveries of an issue are in which state.
pub async fn counts(db: &Db, issue: IssueId) -> sqlx::Result<Counts> {
    read::counts(db, issue).await
}
