//! The mark, with the locks that make it exact: issue, subscription, sign-up, delivery, in this order.

use std::sync::Arc;
use std::time::Duration;

use sqlx::types::Json;

use super::micros;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::Claimed;
use crate::id::{DeliveryId, IssueId, NewsletterId, SignupId, SubscriptionId, WorkerId};
use crate::write_db;

const ISSUE_SQLITE: &str = "SELECT state, paused_at FROM issues WHERE id = $1";
const ISSUE_POSTGRES: &str = "SELECT state, paused_at FROM issues WHERE id = $1 FOR SHARE";

const SUBSCRIPTION_SQLITE: &str = "SELECT state, paused_until FROM subscriptions WHERE id = $1";
// SHARE, not KEY SHARE: leaving updates the row, and either it or this waits for the other
const SUBSCRIPTION_POSTGRES: &str =
    "SELECT state, paused_until FROM subscriptions WHERE id = $1 FOR SHARE";

const SIGNUP_SQLITE: &str =
    "SELECT id FROM signups WHERE id = $1 AND confirmed_at IS NULL AND expires_at > $2";
const SIGNUP_POSTGRES: &str =
    "SELECT id FROM signups WHERE id = $1 AND confirmed_at IS NULL AND expires_at > $2 FOR SHARE";

const SUPPRESSED: &str = "SELECT EXISTS (SELECT 1 FROM suppressions
     WHERE key = $1 AND (scope = 'all' OR scope = $2) AND at > $3)";

// A row that this attempt has marked already is one whose COMMIT succeeded and whose answer was lost: it is marked.
const MARK_SQLITE: &str =
    "UPDATE deliveries SET state = 'transmitting', marked_at = $4, lease_until = $5 + $6, relay_id = $8
     WHERE id = $1 AND attempt = $2 AND owner = $3 AND state IN ('claimed', 'transmitting')
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = $3 AND w.heartbeat_at > $5 - $7)";
const MARK_POSTGRES: &str = "UPDATE deliveries SET state = 'transmitting', marked_at = $4,
         lease_until = COALESCE($5, now()) + $6 * INTERVAL '1 microsecond', relay_id = $8
     WHERE id = $1 AND attempt = $2 AND owner = $3 AND state IN ('claimed', 'transmitting')
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = $3
           AND w.heartbeat_at > COALESCE($5, now()) - $7 * INTERVAL '1 microsecond')";

// SHARE as above, by ascending id: the order that everybody keeps.
const LOCK_ISSUES_POSTGRES: &str =
    "SELECT id FROM issues WHERE id IN (SELECT r.issue FROM jsonb_to_recordset($1) AS r (issue UUID))
     ORDER BY id FOR SHARE";
const LOCK_SUBSCRIPTIONS_POSTGRES: &str = "SELECT id FROM subscriptions
     WHERE id IN (SELECT r.subscription FROM jsonb_to_recordset($1) AS r (subscription UUID))
     ORDER BY id FOR SHARE";

const MARK_ALL_SQLITE: &str =
    "UPDATE deliveries SET state = 'transmitting', marked_at = $2, lease_until = $3 + $4, relay_id = r.relay
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'relay' AS relay
         FROM json_each($1)) AS r
     WHERE id = r.delivery AND attempt = r.attempt_made AND owner = r.worker AND state = 'claimed'
       AND EXISTS (SELECT 1 FROM issues AS i
           WHERE i.id = issue_id AND i.state = 'sending' AND i.paused_at IS NULL)
       AND EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.id = subscription_id AND s.state = 'active'
           AND (s.paused_until IS NULL OR s.paused_until <= $2))
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = r.worker AND w.heartbeat_at > $3 - $5)";
const MARK_ALL_POSTGRES: &str = "UPDATE deliveries SET state = 'transmitting', marked_at = $2,
         lease_until = COALESCE($3, now()) + $4 * INTERVAL '1 microsecond', relay_id = r.relay
     FROM jsonb_to_recordset($1) AS r (id UUID, attempt BIGINT, owner UUID, relay TEXT)
     WHERE deliveries.id = r.id AND deliveries.attempt = r.attempt AND deliveries.owner = r.owner
       AND deliveries.state = 'claimed'
       -- issues and subscriptions have been locked: what is seen here stands until the commit
       AND EXISTS (SELECT 1 FROM issues AS i
           WHERE i.id = issue_id AND i.state = 'sending' AND i.paused_at IS NULL)
       AND EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.id = subscription_id AND s.state = 'active'
           AND (s.paused_until IS NULL OR s.paused_until <= $2))
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM workers AS w WHERE w.id = r.owner
           AND w.heartbeat_at > COALESCE($3, now()) - $5 * INTERVAL '1 microsecond')";

/// A digest to be marked, as the statements read it.
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

/// Locks the issues and subscriptions of `rows` against change until the transaction ends. SQLite has one writer.
pub(in crate::deliveries) async fn lock(tx: &mut Tx<'_>, rows: &[MarkRow]) -> sqlx::Result<()> {
    if rows.is_empty() || matches!(tx, Tx::Sqlite(_)) {
        return Ok(());
    }
    for sql in [LOCK_ISSUES_POSTGRES, LOCK_SUBSCRIPTIONS_POSTGRES] {
        write_db!(tx, |conn| sqlx::query(sql)
            .bind(Json(rows))
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Marks digests; gives how many. The others are not their claim's any more, or something stands in the way of their
/// issue, their reader, their worker or all sending.
pub(in crate::deliveries) async fn mark_all(
    tx: &mut Tx<'_>,
    rows: &[MarkRow],
    times: Times,
) -> sqlx::Result<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    let sql = tx.pick(MARK_ALL_SQLITE, MARK_ALL_POSTGRES);
    let marked = write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
        .bind(times.now)
        .bind(times.by_lease)
        .bind(micros(times.transmission))
        .bind(micros(times.sign_of_life))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(usize::try_from(marked).unwrap_or(usize::MAX))
}

/// An issue's state, and whether it is paused; locked against change until the transaction ends.
pub(in crate::deliveries) async fn issue(
    tx: &mut Tx<'_>,
    id: IssueId,
) -> sqlx::Result<Option<(String, Option<Timestamp>)>> {
    let sql = tx.pick(ISSUE_SQLITE, ISSUE_POSTGRES);
    write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// A subscription's state and pause, locked.
pub(in crate::deliveries) async fn subscription(
    tx: &mut Tx<'_>,
    id: SubscriptionId,
) -> sqlx::Result<Option<(String, Option<Timestamp>)>> {
    let sql = tx.pick(SUBSCRIPTION_SQLITE, SUBSCRIPTION_POSTGRES);
    write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// Whether a sign-up still waits for its confirmation; locked.
pub(in crate::deliveries) async fn signup_is_open(
    tx: &mut Tx<'_>,
    id: SignupId,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let sql = tx.pick(SIGNUP_SQLITE, SIGNUP_POSTGRES);
    let found: Option<SignupId> = write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(id)
        .bind(now)
        .fetch_optional(conn)
        .await)?;
    Ok(found.is_some())
}

/// Whether the address was suppressed after `since`.
pub(in crate::deliveries) async fn is_suppressed_since(
    tx: &mut Tx<'_>,
    key: &[u8],
    newsletter: NewsletterId,
    since: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query_scalar(SUPPRESSED)
        .bind(key)
        .bind(newsletter.to_string())
        .bind(since)
        .fetch_one(conn)
        .await)
}

/// Times of a mark.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliveries) struct Times {
    /// The time.
    pub(in crate::deliveries) now: Timestamp,
    /// The time by which leases go; `None` for the server's.
    pub(in crate::deliveries) by_lease: Option<Timestamp>,
    /// How long the transmission may take.
    pub(in crate::deliveries) transmission: Duration,
    /// How old the worker's last sign of life may be.
    pub(in crate::deliveries) sign_of_life: Duration,
}

/// Marks; `false` when the row is not this claim's any more, the worker is taken for dead, or sending is paused.
pub(in crate::deliveries) async fn mark(
    tx: &mut Tx<'_>,
    claimed: &Claimed,
    relay: &str,
    times: Times,
) -> sqlx::Result<bool> {
    let sql = tx.pick(MARK_SQLITE, MARK_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(claimed.owner)
        .bind(times.now)
        .bind(times.by_lease)
        .bind(micros(times.transmission))
        .bind(micros(times.sign_of_life))
        .bind(relay)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}
