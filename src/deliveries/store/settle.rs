//! Writing down what became of an attempt.

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::enqueue::GivenFrom;
use crate::deliveries::settlement::Settlement;
use crate::deliveries::{Claimed, State};
use crate::id::{DeliveryId, IssueId, SubscriptionId};
use crate::write_db;

// What the relay acknowledged is sent, however late this comes and whatever the row became meanwhile: but for a newer
// attempt that is on the wire.
const SETTLE: &str =
    "UPDATE deliveries SET state = $3, reason = $4, owner = NULL, lease_until = NULL, not_before = $5,
         settled_at = $6, tries = tries + $7, doubt = doubt + $8, reply_code = $9, enhanced_code = $10,
         reply_text = $11
     WHERE id = $1 AND ((attempt = $2 AND state IN ('transmitting', 'in_doubt'))
        OR ($3 = 'sent' AND attempt >= $2
            AND state IN ('pending', 'claimed', 'in_doubt', 'held', 'skipped', 'failed')))";

// The sweeper may have counted this doubt already.
const SETTLE_DOUBT: &str =
    "UPDATE deliveries SET state = 'in_doubt', reason = NULL, owner = NULL, lease_until = NULL, not_before = $3,
         settled_at = $4, doubt = doubt + 1, reply_code = $5, enhanced_code = $6, reply_text = $7
     WHERE id = $1 AND attempt = $2 AND state = 'transmitting'";

const REFUSE: &str =
    "UPDATE deliveries SET state = $3, reason = $4, owner = NULL, not_before = $5, settled_at = $6,
         tries = tries + $7, doubt = doubt + $8, reply_code = $9, enhanced_code = $10, reply_text = $11
     WHERE id = $1 AND attempt = $2 AND owner = $12 AND state = 'claimed'";

const GIVE_BACK: &str =
    "UPDATE deliveries SET state = 'pending', owner = NULL, lease_until = NULL, not_before = $4
     WHERE id = $1 AND attempt = $2 AND owner = $3 AND state IN ('claimed', 'transmitting')";

const PAUSE_ISSUE: &str = "UPDATE issues SET paused_at = $2, pause_reason = $3
     WHERE id = $1 AND paused_at IS NULL AND state IN ('scheduled', 'preparing', 'sending')";

const MOVED: &str = "SELECT d.subscription_id, d.given_from, i.cutoff_seq
     FROM deliveries AS d JOIN issues AS i ON i.id = d.issue_id
     WHERE d.id = $1 AND d.doubt = 0 AND d.given_from IS NOT NULL AND i.cutoff_seq IS NOT NULL";
const STANDS: &str = "SELECT EXISTS (SELECT 1 FROM interests
     WHERE subscription_id = $1 AND topic_id = $2 AND start_seq = $3 AND given_seq = $4)";
const MOVE: &str = "UPDATE interests SET given_seq = $5
     WHERE subscription_id = $1 AND topic_id = $2 AND start_seq = $3 AND given_seq = $4";

/// Settles what was transmitted; `false` when the row knows better.
pub(in crate::deliveries) async fn settle(
    tx: &mut Tx<'_>,
    settled: &Settlement,
) -> sqlx::Result<bool> {
    if settled.state == State::InDoubt {
        return write_db!(tx, |conn| sqlx::query(SETTLE_DOUBT)
            .bind(settled.id)
            .bind(settled.attempt)
            .bind(settled.not_before)
            .bind(settled.at)
            .bind(settled.reply_code)
            .bind(&settled.enhanced_code)
            .bind(&settled.reply_text)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() == 1));
    }
    write_db!(tx, |conn| sqlx::query(SETTLE)
        .bind(settled.id)
        .bind(settled.attempt)
        .bind(settled.state)
        .bind(settled.reason)
        .bind(settled.not_before)
        .bind(settled.at)
        .bind(i64::from(settled.is_counted))
        .bind(i64::from(settled.is_doubt))
        .bind(settled.reply_code)
        .bind(&settled.enhanced_code)
        .bind(&settled.reply_text)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Settles what was never marked; `false` when the row is not this claim's any more.
pub(in crate::deliveries) async fn refuse(
    tx: &mut Tx<'_>,
    settled: &Settlement,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(REFUSE)
        .bind(settled.id)
        .bind(settled.attempt)
        .bind(settled.state)
        .bind(settled.reason)
        .bind(settled.not_before)
        .bind(settled.at)
        .bind(i64::from(settled.is_counted))
        .bind(i64::from(settled.is_doubt))
        .bind(settled.reply_code)
        .bind(&settled.enhanced_code)
        .bind(&settled.reply_text)
        .bind(settled.owner)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Puts back a row of which certainly nothing was transmitted in this attempt, marked or not.
pub(in crate::deliveries) async fn give_back(
    tx: &mut Tx<'_>,
    claimed: &Claimed,
    not_before: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(GIVE_BACK)
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(claimed.owner)
        .bind(not_before)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Pauses an issue; `false` when it is paused already, or over.
pub(in crate::deliveries) async fn pause_issue(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(PAUSE_ISSUE)
        .bind(issue)
        .bind(now)
        .bind(reason)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

#[derive(sqlx::FromRow)]
struct Moved {
    subscription_id: SubscriptionId,
    given_from: Json<Vec<GivenFrom>>,
    cutoff_seq: i64,
}

/// The interests that a delivery moved, and where from and to. `None` where doubt remains: it may have arrived.
async fn moved(tx: &mut Tx<'_>, delivery: DeliveryId) -> sqlx::Result<Option<Moved>> {
    write_db!(tx, |conn| sqlx::query_as(MOVED)
        .bind(delivery)
        .fetch_optional(conn)
        .await)
}

/// Gives back the articles of a delivery that was not sent through our doing: its interests return to where they were,
/// unless a later issue has moved them.
pub(in crate::deliveries) async fn put_back(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
) -> sqlx::Result<()> {
    let Some(moved) = moved(tx, delivery).await? else {
        return Ok(());
    };
    for from in &moved.given_from.0 {
        move_interest(
            tx,
            moved.subscription_id,
            from,
            moved.cutoff_seq,
            from.given_seq,
        )
        .await?;
    }
    Ok(())
}

/// The opposite of [`put_back`]. `false`, and nothing moved, when a later issue gave the articles.
pub(in crate::deliveries) async fn move_again(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
) -> sqlx::Result<bool> {
    let Some(moved) = moved(tx, delivery).await? else {
        return Ok(true);
    };
    for from in &moved.given_from.0 {
        let stands: bool = write_db!(tx, |conn| sqlx::query_scalar(STANDS)
            .bind(moved.subscription_id)
            .bind(from.topic_id)
            .bind(from.start_seq)
            .bind(from.given_seq)
            .fetch_one(conn)
            .await)?;
        if !stands {
            return Ok(false);
        }
    }
    for from in &moved.given_from.0 {
        let (subscription, cutoff) = (moved.subscription_id, moved.cutoff_seq);
        move_interest(tx, subscription, from, from.given_seq, cutoff).await?;
    }
    Ok(true)
}

async fn move_interest(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
    interest: &GivenFrom,
    expected: i64,
    new: i64,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(MOVE)
        .bind(subscription)
        .bind(interest.topic_id)
        .bind(interest.start_seq)
        .bind(expected)
        .bind(new)
        .execute(conn)
        .await
        .map(drop))
}
