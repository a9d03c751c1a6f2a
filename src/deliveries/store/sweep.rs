//! What is done about rows whose worker died, whose time is over, or whose issue was cancelled.

use std::time::Duration;

use super::micros;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{DeliveryId, IssueId};
use crate::write_db;

// `owner IS NOT NULL` repeats the index's predicate; without it SQLite reads the whole table.
const TAKE_BACK_CLAIMED_SQLITE: &str = "UPDATE deliveries SET owner = NULL, crashes = crashes + 1,
         state = CASE WHEN crashes >= 3 THEN 'held' ELSE 'pending' END, is_open = crashes < 3,
         reason = CASE WHEN crashes >= 3 THEN 'crashed' ELSE reason END
     WHERE owner IS NOT NULL AND state = 'claimed'
       AND NOT EXISTS (SELECT 1 FROM workers AS w WHERE w.id = deliveries.owner AND w.heartbeat_at > $1 - $2)";
// What another sweeper has in hand, or a transaction whose process stands still, is left for the next sweep.
const TAKE_BACK_CLAIMED_POSTGRES: &str =
    "UPDATE deliveries SET owner = NULL, crashes = crashes + 1,
         state = CASE WHEN crashes >= 3 THEN 'held' ELSE 'pending' END, is_open = crashes < 3,
         reason = CASE WHEN crashes >= 3 THEN 'crashed' ELSE reason END
     WHERE id IN (SELECT d.id FROM deliveries AS d
         WHERE d.owner IS NOT NULL AND d.state = 'claimed'
           AND NOT EXISTS (SELECT 1 FROM workers AS w WHERE w.id = d.owner
               AND w.heartbeat_at > COALESCE($1, now()) - $2 * INTERVAL '1 microsecond')
         FOR UPDATE OF d SKIP LOCKED)";

const DOUBT_TRANSMITTING_SQLITE: &str =
    "UPDATE deliveries SET state = 'in_doubt', doubt = doubt + 1, owner = NULL, lease_until = NULL,
         settled_at = $1, not_before = $1 + CASE WHEN issue_id IS NULL THEN $3 ELSE $2 END
     WHERE owner IS NOT NULL AND state = 'transmitting' AND lease_until < $1";
const DOUBT_TRANSMITTING_POSTGRES: &str =
    "UPDATE deliveries SET state = 'in_doubt', doubt = doubt + 1, owner = NULL, lease_until = NULL,
         settled_at = COALESCE($1, now()), not_before = COALESCE($1, now())
             + CASE WHEN issue_id IS NULL THEN $3 ELSE $2 END * INTERVAL '1 microsecond'
     WHERE id IN (SELECT d.id FROM deliveries AS d
         WHERE d.owner IS NOT NULL AND d.state = 'transmitting'
           AND d.lease_until < COALESCE($1, now())
         FOR UPDATE OF d SKIP LOCKED)";

const DECIDE_DOUBT: &str = "UPDATE deliveries SET reason = 'doubt', settled_at = $1,
         (state, is_open) = (SELECT CASE WHEN may THEN 'pending' ELSE 'held' END, may
             FROM (SELECT doubt <= 1 AND expires_at > $1 AND CASE WHEN issue_id IS NULL THEN $2 ELSE
                 EXISTS (SELECT 1 FROM issues AS i
                     WHERE i.id = deliveries.issue_id AND i.state = 'sending' AND i.in_doubt_policy = 'resend')
                 AND EXISTS (SELECT 1 FROM subscriptions AS s
                     WHERE s.id = deliveries.subscription_id AND s.state = 'active') END AS may) AS again)
     WHERE state = 'in_doubt' AND not_before <= $1
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND NOT EXISTS (SELECT 1 FROM issues AS i
           WHERE i.id = deliveries.issue_id AND i.state = 'sending' AND i.paused_at IS NOT NULL)";

// What is paused or waits for its release is not given up, however long that takes: resuming and releasing give it the
// whole time again. The limit is looked at once, not for each row.
const EXPIRE: &str = "UPDATE deliveries SET settled_at = $1, is_open = FALSE,
         state = CASE WHEN doubt = 0 THEN 'failed' ELSE 'held' END,
         reason = CASE WHEN doubt = 0 THEN 'expired' ELSE 'doubt' END
     WHERE state = 'pending' AND id IN (SELECT d.id FROM deliveries AS d
         WHERE d.state = 'pending' AND d.expires_at <= $1
           AND NOT EXISTS (SELECT 1 FROM issues AS i
               WHERE i.id = d.issue_id AND (i.paused_at IS NOT NULL OR i.state = 'preparing'))
         LIMIT CASE WHEN EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused') THEN 0 ELSE $2 END)
     RETURNING id";

const CANCELLED_ISSUES: &str = "SELECT i.id FROM issues AS i
     WHERE i.state IN ('cancelled', 'failed') AND EXISTS (SELECT 1 FROM deliveries AS d
         WHERE d.issue_id = i.id AND d.is_open AND d.state IN ('pending', 'claimed'))";
const CANCEL_ROWS: &str = "UPDATE deliveries SET owner = NULL, settled_at = $2, is_open = FALSE,
         state = CASE WHEN doubt = 0 THEN 'skipped' ELSE 'held' END,
         reason = CASE WHEN doubt = 0 THEN 'cancelled' ELSE 'doubt' END
     WHERE state IN ('pending', 'claimed') AND id IN (SELECT d.id FROM deliveries AS d
         WHERE d.issue_id = $1 AND d.is_open AND d.state IN ('pending', 'claimed') LIMIT $3)
     RETURNING id";

const FINISH: &str = "UPDATE issues SET state = 'finished', finished_at = $1
     WHERE state = 'sending' AND NOT EXISTS (SELECT 1 FROM deliveries AS d
         WHERE d.issue_id = issues.id AND d.is_open)
     RETURNING id";

/// Claimed rows whose worker has given no sign of life for `lease` wait again; at the fourth time they are held.
pub(in crate::deliveries) async fn take_back_claimed(
    tx: &mut Tx<'_>,
    now: Option<Timestamp>,
    lease: Duration,
) -> sqlx::Result<u64> {
    let sql = tx.pick(TAKE_BACK_CLAIMED_SQLITE, TAKE_BACK_CLAIMED_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(now)
        .bind(micros(lease))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}

/// Transmissions whose lease is over are in doubt: digests for one grace, notices for another.
pub(in crate::deliveries) async fn doubt_transmitting(
    tx: &mut Tx<'_>,
    now: Option<Timestamp>,
    digests: Duration,
    notices: Duration,
) -> sqlx::Result<u64> {
    let sql = tx.pick(DOUBT_TRANSMITTING_SQLITE, DOUBT_TRANSMITTING_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(now)
        .bind(micros(digests))
        .bind(micros(notices))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}

/// Doubt whose grace is over is sent once more, or held.
pub(in crate::deliveries) async fn decide_doubt(
    tx: &mut Tx<'_>,
    now: Timestamp,
    resend_notices: bool,
) -> sqlx::Result<u64> {
    write_db!(tx, |conn| sqlx::query(DECIDE_DOUBT)
        .bind(now)
        .bind(resend_notices)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}

/// Gives up waiting rows whose time is over and that are neither paused nor unreleased, at most `limit`. Those in doubt
/// are held.
pub(in crate::deliveries) async fn expire(
    tx: &mut Tx<'_>,
    now: Timestamp,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryId>> {
    write_db!(tx, |conn| sqlx::query_scalar(EXPIRE)
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Issues that were cancelled, or failed while they were prepared, with rows that still wait.
pub(in crate::deliveries) async fn cancelled_issues(tx: &mut Tx<'_>) -> sqlx::Result<Vec<IssueId>> {
    write_db!(tx, |conn| sqlx::query_scalar(CANCELLED_ISSUES)
        .fetch_all(conn)
        .await)
}

/// Skips waiting rows of a cancelled issue, at most `limit`. Those in doubt are held.
pub(in crate::deliveries) async fn cancel_rows(
    tx: &mut Tx<'_>,
    issue: IssueId,
    now: Timestamp,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryId>> {
    write_db!(tx, |conn| sqlx::query_scalar(CANCEL_ROWS)
        .bind(issue)
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Ends the issues of which nothing is left to send.
pub(in crate::deliveries) async fn finish(
    tx: &mut Tx<'_>,
    now: Timestamp,
) -> sqlx::Result<Vec<IssueId>> {
    write_db!(tx, |conn| sqlx::query_scalar(FINISH)
        .bind(now)
        .fetch_all(conn)
        .await)
}
