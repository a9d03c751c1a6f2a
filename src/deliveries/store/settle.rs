//! Writing down what became of an attempt.

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::enqueue::GivenFrom;
use crate::deliveries::settlement::Settlement;
use crate::deliveries::{Claimed, Reason, State};
use crate::id::{DeliveryId, IssueId, SubscriptionId, WorkerId};
use crate::write_db;

// What the relay acknowledged is sent, however late this comes and whatever the row became meanwhile: but for a newer
// attempt that is on the wire. The sweeper may have counted a doubt already.
const SETTLE_SQLITE: &str =
    "UPDATE deliveries SET state = r.state, reason = r.reason, owner = NULL, lease_until = NULL,
         not_before = r.not_before, settled_at = r.at, tries = tries + r.counted, doubt = doubt + r.doubted,
         reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made, value ->> 'state' AS state,
             value ->> 'reason' AS reason, value ->> 'not_before' AS not_before, value ->> 'at' AS at,
             value ->> 'counted' AS counted, value ->> 'doubted' AS doubted, value ->> 'code' AS code,
             value ->> 'enhanced' AS enhanced, value ->> 'said' AS said
         FROM json_each($1)) AS r
     WHERE id = r.delivery AND (
         (attempt = r.attempt_made AND (deliveries.state = 'transmitting'
             OR (deliveries.state = 'in_doubt' AND r.state <> 'in_doubt')))
         OR (r.state = 'sent' AND attempt >= r.attempt_made
             AND deliveries.state IN ('pending', 'claimed', 'in_doubt', 'held', 'skipped', 'failed')))";
const SETTLE_POSTGRES: &str =
    "UPDATE deliveries SET state = r.state, reason = r.reason, owner = NULL, lease_until = NULL,
         not_before = TIMESTAMPTZ 'epoch' + r.not_before * INTERVAL '1 microsecond',
         settled_at = TIMESTAMPTZ 'epoch' + r.at * INTERVAL '1 microsecond',
         tries = tries + r.counted, doubt = doubt + r.doubted,
         reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
     FROM jsonb_to_recordset($1) AS r (id UUID, attempt BIGINT, state TEXT, reason TEXT, not_before BIGINT, at BIGINT,
         counted BIGINT, doubted BIGINT, code BIGINT, enhanced TEXT, said TEXT)
     WHERE deliveries.id = r.id AND (
         (deliveries.attempt = r.attempt AND (deliveries.state = 'transmitting'
             OR (deliveries.state = 'in_doubt' AND r.state <> 'in_doubt')))
         OR (r.state = 'sent' AND deliveries.attempt >= r.attempt
             AND deliveries.state IN ('pending', 'claimed', 'in_doubt', 'held', 'skipped', 'failed')))";

const REFUSE_SQLITE: &str =
    "UPDATE deliveries SET state = r.state, reason = r.reason, owner = NULL, not_before = r.not_before,
         settled_at = r.at, tries = tries + r.counted, doubt = doubt + r.doubted,
         reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'state' AS state, value ->> 'reason' AS reason,
             value ->> 'not_before' AS not_before, value ->> 'at' AS at, value ->> 'counted' AS counted,
             value ->> 'doubted' AS doubted, value ->> 'code' AS code, value ->> 'enhanced' AS enhanced,
             value ->> 'said' AS said
         FROM json_each($1)) AS r
     WHERE id = r.delivery AND attempt = r.attempt_made AND owner = r.worker AND deliveries.state = 'claimed'";
const REFUSE_POSTGRES: &str =
    "UPDATE deliveries SET state = r.state, reason = r.reason, owner = NULL,
         not_before = TIMESTAMPTZ 'epoch' + r.not_before * INTERVAL '1 microsecond',
         settled_at = TIMESTAMPTZ 'epoch' + r.at * INTERVAL '1 microsecond',
         tries = tries + r.counted, doubt = doubt + r.doubted,
         reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
     FROM jsonb_to_recordset($1) AS r (id UUID, attempt BIGINT, owner UUID, state TEXT, reason TEXT,
         not_before BIGINT, at BIGINT, counted BIGINT, doubted BIGINT, code BIGINT, enhanced TEXT, said TEXT)
     WHERE deliveries.id = r.id AND deliveries.attempt = r.attempt AND deliveries.owner = r.owner
       AND deliveries.state = 'claimed'";

const GIVE_BACK_SQLITE: &str =
    "UPDATE deliveries SET state = 'pending', owner = NULL, lease_until = NULL, not_before = r.not_before
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'not_before' AS not_before
         FROM json_each($1)) AS r
     WHERE id = r.delivery AND attempt = r.attempt_made AND owner = r.worker
       AND state IN ('claimed', 'transmitting')";
const GIVE_BACK_POSTGRES: &str =
    "UPDATE deliveries SET state = 'pending', owner = NULL, lease_until = NULL,
         not_before = TIMESTAMPTZ 'epoch' + r.not_before * INTERVAL '1 microsecond'
     FROM jsonb_to_recordset($1) AS r (id UUID, attempt BIGINT, owner UUID, not_before BIGINT)
     WHERE deliveries.id = r.id AND deliveries.attempt = r.attempt AND deliveries.owner = r.owner
       AND deliveries.state IN ('claimed', 'transmitting')";

const PAUSE_ISSUE: &str = "UPDATE issues SET paused_at = $2, pause_reason = $3
     WHERE id = $1 AND paused_at IS NULL AND state IN ('scheduled', 'preparing', 'sending')";

const MOVED: &str = "SELECT d.subscription_id, d.given_from, i.cutoff_seq
     FROM deliveries AS d JOIN issues AS i ON i.id = d.issue_id
     WHERE d.id = $1 AND d.doubt = 0 AND d.given_from IS NOT NULL AND i.cutoff_seq IS NOT NULL";
const STANDS: &str = "SELECT EXISTS (SELECT 1 FROM interests
     WHERE subscription_id = $1 AND topic_id = $2 AND start_seq = $3 AND given_seq = $4)";
const MOVE: &str = "UPDATE interests SET given_seq = $5
     WHERE subscription_id = $1 AND topic_id = $2 AND start_seq = $3 AND given_seq = $4";

/// The end of an attempt, as the statements read it: times in microseconds since 1970.
#[derive(serde::Serialize)]
struct EndRow<'a> {
    id: DeliveryId,
    attempt: i64,
    owner: WorkerId,
    state: State,
    reason: Option<Reason>,
    not_before: i64,
    at: i64,
    counted: i64,
    doubted: i64,
    code: Option<i64>,
    enhanced: Option<&'a str>,
    said: Option<&'a str>,
}

impl<'a> EndRow<'a> {
    fn of(settled: &'a Settlement) -> Self {
        Self {
            id: settled.id,
            attempt: settled.attempt,
            owner: settled.owner,
            state: settled.state,
            reason: settled.reason,
            not_before: settled.not_before.as_micros(),
            at: settled.at.as_micros(),
            counted: i64::from(settled.is_counted),
            doubted: i64::from(settled.is_doubt),
            code: settled.reply_code,
            enhanced: settled.enhanced_code.as_deref(),
            said: settled.reply_text.as_deref(),
        }
    }
}

/// A claimed delivery that waits again: certainly nothing of it was transmitted in this attempt, marked or not.
#[derive(Clone, Debug, serde::Serialize)]
pub(in crate::deliveries) struct GivenBack {
    pub(in crate::deliveries) id: DeliveryId,
    attempt: i64,
    owner: WorkerId,
    not_before: i64,
}

impl GivenBack {
    pub(in crate::deliveries) fn of(claimed: &Claimed, not_before: Timestamp) -> Self {
        Self {
            id: claimed.id,
            attempt: claimed.attempt,
            owner: claimed.owner,
            not_before: not_before.as_micros(),
        }
    }
}

/// Settles what was transmitted. Gives how many rows: one may know better.
pub(in crate::deliveries) async fn settle(
    tx: &mut Tx<'_>,
    settled: &[Settlement],
) -> sqlx::Result<usize> {
    end(tx, (SETTLE_SQLITE, SETTLE_POSTGRES), settled).await
}

/// Settles what was never marked. Gives how many rows: one may not be its claim's any more.
pub(in crate::deliveries) async fn refuse(
    tx: &mut Tx<'_>,
    settled: &[Settlement],
) -> sqlx::Result<usize> {
    end(tx, (REFUSE_SQLITE, REFUSE_POSTGRES), settled).await
}

async fn end(
    tx: &mut Tx<'_>,
    (sqlite, postgres): (&'static str, &'static str),
    settled: &[Settlement],
) -> sqlx::Result<usize> {
    if settled.is_empty() {
        return Ok(0);
    }
    let rows: Vec<_> = settled.iter().map(EndRow::of).collect();
    let sql = tx.pick(sqlite, postgres);
    let ended = write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(&rows))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(usize::try_from(ended).unwrap_or(usize::MAX))
}

/// Puts back rows of which certainly nothing was transmitted in this attempt, marked or not.
pub(in crate::deliveries) async fn give_back(
    tx: &mut Tx<'_>,
    rows: &[GivenBack],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.pick(GIVE_BACK_SQLITE, GIVE_BACK_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
        .execute(conn)
        .await
        .map(drop))
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
