//! What the writer gathered, in one statement for all of it: attempts that end, and digests that are marked.

use std::sync::Arc;

use sqlx::types::Json;

use super::mark::Times;
use super::micros;
use crate::db::Tx;
use crate::deliveries::settlement::Settlement;
use crate::deliveries::{Claimed, Reason, State};
use crate::id::{DeliveryId, IssueId, SubscriptionId, WorkerId};

// SHARE, not KEY SHARE, as where one is marked alone; by ascending id, the order that everybody keeps. An array, not
// IN (SELECT ...): the planner would join, and read the whole table where it knows little of it.
const LOCK_ISSUES_POSTGRES: &str = "SELECT id FROM issues
     WHERE id = ANY (ARRAY(SELECT r.issue FROM jsonb_to_recordset($1) AS r (issue UUID)))
     ORDER BY id FOR SHARE";
const LOCK_SUBSCRIPTIONS_POSTGRES: &str = "SELECT id FROM subscriptions
     WHERE id = ANY (ARRAY(SELECT r.subscription FROM jsonb_to_recordset($1) AS r (subscription UUID)))
     ORDER BY id FOR SHARE";

// Two statements in one text, because each call is a change of threads, and its costs are most of a small commit's.
// Of the ends: what the relay acknowledged is sent, however late this comes and whatever the row became meanwhile, but for
// a newer attempt that is on the wire. The sweeper may have counted a doubt already. What was never marked must still be
// its claim's.
const WRITE_SQLITE: &str =
    "UPDATE deliveries SET state = r.state, is_open = r.is_open, reason = r.reason, owner = NULL, lease_until = NULL,
         not_before = r.not_before, settled_at = r.at, tries = tries + r.counted, doubt = doubt + r.doubted,
         reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'was_marked' AS was_marked,
             value ->> 'state' AS state, value ->> 'is_open' AS is_open, value ->> 'reason' AS reason, value ->> 'not_before' AS not_before,
             value ->> 'at' AS at, value ->> 'counted' AS counted, value ->> 'doubted' AS doubted,
             value ->> 'code' AS code, value ->> 'enhanced' AS enhanced, value ->> 'said' AS said
         FROM jsonb_each($1, '$.ends')) AS r
     WHERE id = r.delivery AND CASE WHEN r.was_marked THEN
         (attempt = r.attempt_made AND (deliveries.state = 'transmitting'
             OR (deliveries.state = 'in_doubt' AND r.state <> 'in_doubt')))
         OR (r.state = 'sent' AND attempt >= r.attempt_made
             AND deliveries.state IN ('pending', 'claimed', 'in_doubt', 'held', 'skipped', 'failed'))
         ELSE attempt = r.attempt_made AND owner = r.worker AND deliveries.state = 'claimed' END;
     UPDATE deliveries SET state = 'transmitting', marked_at = $2, lease_until = $3 + $4, relay_id = r.relay
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'relay' AS relay
         FROM jsonb_each($1, '$.marks')) AS r
     WHERE id = r.delivery AND attempt = r.attempt_made AND owner = r.worker AND state = 'claimed'
       AND EXISTS (SELECT 1 FROM issues AS i
           WHERE i.id = issue_id AND i.state = 'sending' AND i.paused_at IS NULL)
       AND EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.id = subscription_id AND s.state = 'active'
           AND (s.paused_until IS NULL OR s.paused_until <= $2))
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = r.worker AND w.heartbeat_at > $3 - $5)";
// Issues and subscriptions have been locked: what is seen here stands until the commit. OFFSET 0 keeps the planner from
// joining them first, which reads every open mail of the issue for each group.
const WRITE_POSTGRES: &str = "WITH ended AS (
         UPDATE deliveries SET state = r.state, is_open = r.is_open, reason = r.reason, owner = NULL, lease_until = NULL,
             not_before = TIMESTAMPTZ 'epoch' + r.not_before * INTERVAL '1 microsecond',
             settled_at = TIMESTAMPTZ 'epoch' + r.at * INTERVAL '1 microsecond',
             tries = tries + r.counted, doubt = doubt + r.doubted,
             reply_code = r.code, enhanced_code = r.enhanced, reply_text = r.said
         FROM jsonb_to_recordset($1 -> 'ends') AS r (id UUID, attempt BIGINT, owner UUID, was_marked BOOLEAN,
             state TEXT, is_open BOOLEAN, reason TEXT, not_before BIGINT, at BIGINT, counted BIGINT, doubted BIGINT,
             code BIGINT, enhanced TEXT, said TEXT)
         WHERE deliveries.id = r.id AND CASE WHEN r.was_marked THEN
             (deliveries.attempt = r.attempt AND (deliveries.state = 'transmitting'
                 OR (deliveries.state = 'in_doubt' AND r.state <> 'in_doubt')))
             OR (r.state = 'sent' AND deliveries.attempt >= r.attempt
                 AND deliveries.state IN ('pending', 'claimed', 'in_doubt', 'held', 'skipped', 'failed'))
             ELSE deliveries.attempt = r.attempt AND deliveries.owner = r.owner
                 AND deliveries.state = 'claimed' END
         RETURNING 1),
     marked AS (
         UPDATE deliveries SET state = 'transmitting', marked_at = $2,
             lease_until = COALESCE($3, now()) + $4 * INTERVAL '1 microsecond', relay_id = r.relay
         FROM jsonb_to_recordset($1 -> 'marks') AS r (id UUID, attempt BIGINT, owner UUID, relay TEXT)
         WHERE deliveries.id = r.id AND deliveries.attempt = r.attempt AND deliveries.owner = r.owner
           AND deliveries.state = 'claimed'
           AND EXISTS (SELECT 1 FROM issues AS i
               WHERE i.id = issue_id AND i.state = 'sending' AND i.paused_at IS NULL OFFSET 0)
           AND EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.id = subscription_id AND s.state = 'active'
               AND (s.paused_until IS NULL OR s.paused_until <= $2) OFFSET 0)
           AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
           AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = r.owner
               AND w.heartbeat_at > COALESCE($3, now()) - $5 * INTERVAL '1 microsecond' OFFSET 0)
         RETURNING 1)
     SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM marked)";

/// An attempt that ends.
#[derive(Clone, Debug)]
pub(in crate::deliveries) struct End {
    /// What is written about it.
    pub(in crate::deliveries) settlement: Settlement,
    /// Whether it had been marked; else it was refused before.
    pub(in crate::deliveries) was_marked: bool,
}

/// A digest to be marked, as the statement reads it.
#[derive(Clone, Debug, serde::Serialize)]
pub(in crate::deliveries) struct MarkRow {
    id: DeliveryId,
    attempt: i64,
    owner: WorkerId,
    relay: Arc<str>,
    issue: IssueId,
    subscription: SubscriptionId,
}

impl MarkRow {
    /// `None` for what is no digest.
    pub(in crate::deliveries) fn of(claimed: &Claimed, relay: &Arc<str>) -> Option<Self> {
        Some(Self {
            id: claimed.id,
            attempt: claimed.attempt,
            owner: claimed.owner,
            relay: relay.clone(),
            issue: claimed.issue_id?,
            subscription: claimed.subscription_id?,
        })
    }
}

/// The statement's document.
#[derive(serde::Serialize)]
struct Rows<'a> {
    ends: Vec<EndRow<'a>>,
    marks: &'a [MarkRow],
}

/// The end of an attempt, as the statement reads it: times in microseconds since 1970.
#[derive(serde::Serialize)]
struct EndRow<'a> {
    id: DeliveryId,
    attempt: i64,
    owner: WorkerId,
    was_marked: bool,
    state: State,
    is_open: bool,
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
    fn of(end: &'a End) -> Self {
        let settled = &end.settlement;
        Self {
            id: settled.id,
            attempt: settled.attempt,
            owner: settled.owner,
            was_marked: end.was_marked,
            state: settled.state,
            is_open: settled.state.is_open(),
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

/// Locks the issues and subscriptions of `marks` against change until the transaction ends. SQLite has one writer.
pub(in crate::deliveries) async fn lock(tx: &mut Tx<'_>, marks: &[MarkRow]) -> sqlx::Result<()> {
    let Tx::Postgres(tx) = tx else { return Ok(()) };
    if marks.is_empty() {
        return Ok(());
    }
    for sql in [LOCK_ISSUES_POSTGRES, LOCK_SUBSCRIPTIONS_POSTGRES] {
        let locked = sqlx::query(sql).bind(Json(marks));
        locked.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Ends attempts and marks digests; each row stands in `ends` and `marks` once. Gives how many rows: one that ends may
/// know better, and of those to be marked one may not be its claim's any more, or something stands in the way of its
/// issue, its reader, its worker or all sending.
pub(in crate::deliveries) async fn write(
    tx: &mut Tx<'_>,
    ends: &[End],
    marks: &[MarkRow],
    times: Times,
) -> sqlx::Result<usize> {
    if ends.is_empty() && marks.is_empty() {
        return Ok(0);
    }
    let rows = Json(Rows {
        ends: ends.iter().map(EndRow::of).collect(),
        marks,
    });
    let sql = tx.pick(WRITE_SQLITE, WRITE_POSTGRES);
    macro_rules! bound {
        ($query:expr) => {
            $query
                .bind(&rows)
                .bind(times.now)
                .bind(times.by_lease)
                .bind(micros(times.transmission))
                .bind(micros(times.sign_of_life))
        };
    }
    match tx {
        Tx::Sqlite(tx) => {
            let done = bound!(sqlx::query(sql)).execute(&mut **tx).await?;
            Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
        }
        Tx::Postgres(tx) => {
            let count: i64 = bound!(sqlx::query_scalar(sql)).fetch_one(&mut **tx).await?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX))
        }
    }
}
