//! The mark, with the locks that make it exact: issue, subscription, sign-up, delivery, in this order.

use std::time::Duration;

use super::micros;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::Claimed;
use crate::id::{IssueId, NewsletterId, SignupId, SubscriptionId};
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
