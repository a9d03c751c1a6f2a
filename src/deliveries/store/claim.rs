//! Claiming, and what a claim finds out.

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries::{Claimed, Kind, Reason};
use crate::id::{DeliveryId, IssueId, NewsletterId, SubscriptionId, WorkerId};
use crate::{read_db, write_db};

const OPEN_ISSUES: &str = "SELECT i.id, i.newsletter_id FROM issues AS i
     WHERE i.state = 'sending' AND i.paused_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
       AND EXISTS (SELECT 1 FROM deliveries AS d
           WHERE d.issue_id = i.id AND d.state = 'pending' AND d.not_before <= $1 AND d.expires_at > $1)
     ORDER BY i.due_at, i.id";

const NOTICES_WAIT: &str = "SELECT EXISTS (SELECT 1 FROM deliveries
     WHERE state = 'pending' AND issue_id IS NULL AND not_before <= $1 AND expires_at > $1)
     AND NOT EXISTS (SELECT 1 FROM settings WHERE key = 'sending_paused')";

// Whether anything may be claimed stands in the limit: in the WHERE, SQLite asks it of each row, and where all sending is
// paused it would walk through millions for nothing.
const CLAIM_DIGESTS_SQLITE: &str =
    "UPDATE deliveries SET state = 'claimed', owner = $4, attempt = attempt + 1
     WHERE id IN (SELECT d.id FROM deliveries AS d
         WHERE d.issue_id = $1 AND d.state = 'pending' AND d.not_before <= $2 AND d.expires_at > $2
           -- a row that was being worked on when the process died comes alone
           AND (d.crashes >= 2) = $5
         ORDER BY d.not_before, d.id LIMIT CASE
           WHEN EXISTS (SELECT 1 FROM issues AS i WHERE i.id = $1 AND i.state = 'sending' AND i.paused_at IS NULL)
             AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
           THEN $3 ELSE 0 END)
     RETURNING id, issue_id, subscription_id, variant_id, signup_id, newsletter_id, kind, recipient, payload,
         attempt, tries, doubt, owner, created_at, expires_at, relay_id";
// MATERIALIZED: the rows are picked once, whatever the planner thinks of it
const CLAIM_DIGESTS_POSTGRES: &str = "WITH pick AS MATERIALIZED (SELECT d.id FROM deliveries AS d
         WHERE d.issue_id = $1 AND d.state = 'pending' AND d.not_before <= $2 AND d.expires_at > $2
           -- a row that was being worked on when the process died comes alone
           AND (d.crashes >= 2) = $5
           AND EXISTS (SELECT 1 FROM issues AS i WHERE i.id = $1 AND i.state = 'sending' AND i.paused_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
         ORDER BY d.not_before, d.id LIMIT $3 FOR UPDATE OF d SKIP LOCKED)
     UPDATE deliveries SET state = 'claimed', owner = $4, attempt = attempt + 1
     FROM pick WHERE deliveries.id = pick.id
     RETURNING deliveries.id, issue_id, subscription_id, variant_id, signup_id, newsletter_id, kind, recipient, payload,
         attempt, tries, doubt, owner, created_at, expires_at, relay_id";

const CLAIM_NOTICES_SQLITE: &str =
    "UPDATE deliveries SET state = 'claimed', owner = $3, attempt = attempt + 1
     WHERE id IN (SELECT d.id FROM deliveries AS d
         WHERE d.state = 'pending' AND d.issue_id IS NULL AND d.not_before <= $1 AND d.expires_at > $1
           AND (d.crashes >= 2) = $4
         ORDER BY d.not_before, d.id
         LIMIT CASE WHEN EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused') THEN 0 ELSE $2 END)
     RETURNING id, issue_id, subscription_id, variant_id, signup_id, newsletter_id, kind, recipient, payload,
         attempt, tries, doubt, owner, created_at, expires_at, relay_id";
const CLAIM_NOTICES_POSTGRES: &str = "WITH pick AS MATERIALIZED (SELECT d.id FROM deliveries AS d
         WHERE d.state = 'pending' AND d.issue_id IS NULL AND d.not_before <= $1 AND d.expires_at > $1
           AND (d.crashes >= 2) = $4
           AND NOT EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
         ORDER BY d.not_before, d.id LIMIT $2 FOR UPDATE OF d SKIP LOCKED)
     UPDATE deliveries SET state = 'claimed', owner = $3, attempt = attempt + 1
     FROM pick WHERE deliveries.id = pick.id
     RETURNING deliveries.id, issue_id, subscription_id, variant_id, signup_id, newsletter_id, kind, recipient, payload,
         attempt, tries, doubt, owner, created_at, expires_at, relay_id";

// The mark would find out too, but by then an envelope has been written for nothing.
const SKIP_LEFT: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = 'unsubscribed', owner = NULL, settled_at = $3
     WHERE owner = $1 AND state = 'claimed' AND issue_id = $2
       AND NOT EXISTS (SELECT 1 FROM subscriptions AS s
           WHERE s.id = deliveries.subscription_id AND s.state = 'active')
     RETURNING id";

const BECOME: &str = "UPDATE deliveries SET kind = $4, subscription_id = $5
     WHERE id = $1 AND attempt = $2 AND owner = $3 AND state = 'claimed'";
const SKIP: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = $4, owner = NULL, settled_at = $5
     WHERE id = $1 AND attempt = $2 AND owner = $3 AND state = 'claimed'";

/// Issues that have something to claim, the one due first in front.
pub(in crate::deliveries) async fn open_issues(
    db: &Db,
    now: Timestamp,
) -> sqlx::Result<Vec<(IssueId, NewsletterId)>> {
    read_db!(db, |conn| sqlx::query_as(OPEN_ISSUES)
        .bind(now)
        .fetch_all(conn)
        .await)
}

/// Whether a notice waits to be claimed.
pub(in crate::deliveries) async fn notices_wait(db: &Db, now: Timestamp) -> sqlx::Result<bool> {
    read_db!(db, |conn| sqlx::query_scalar(NOTICES_WAIT)
        .bind(now)
        .fetch_one(conn)
        .await)
}

/// What is claimed.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliveries) struct Pick {
    /// At most so many.
    pub(in crate::deliveries) limit: i64,
    /// Rows that crashed the process before, instead of all others.
    pub(in crate::deliveries) suspects: bool,
    /// For whom.
    pub(in crate::deliveries) owner: WorkerId,
    /// When.
    pub(in crate::deliveries) now: Timestamp,
}

/// Claims rows of one issue. Those whose reader has left are skipped and not given.
pub(in crate::deliveries) async fn digests(
    tx: &mut Tx<'_>,
    issue: IssueId,
    pick: Pick,
) -> sqlx::Result<Vec<Claimed>> {
    let sql = tx.pick(CLAIM_DIGESTS_SQLITE, CLAIM_DIGESTS_POSTGRES);
    let mut claimed: Vec<Claimed> = write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(issue)
        .bind(pick.now)
        .bind(pick.limit)
        .bind(pick.owner)
        .bind(pick.suspects)
        .fetch_all(conn)
        .await)?;
    let left: Vec<DeliveryId> = write_db!(tx, |conn| sqlx::query_scalar(SKIP_LEFT)
        .bind(pick.owner)
        .bind(issue)
        .bind(pick.now)
        .fetch_all(conn)
        .await)?;
    claimed.retain(|row| !left.contains(&row.id));
    claimed.sort_by_key(|row| row.id);
    Ok(claimed)
}

/// Claims the notices that are due first. The oldest stands in front.
pub(in crate::deliveries) async fn notices(
    tx: &mut Tx<'_>,
    pick: Pick,
) -> sqlx::Result<Vec<Claimed>> {
    let sql = tx.pick(CLAIM_NOTICES_SQLITE, CLAIM_NOTICES_POSTGRES);
    let mut claimed: Vec<Claimed> = write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(pick.now)
        .bind(pick.limit)
        .bind(pick.owner)
        .bind(pick.suspects)
        .fetch_all(conn)
        .await)?;
    claimed.sort_by_key(|row| row.id);
    Ok(claimed)
}

/// Writes down what a notice became.
pub(in crate::deliveries) async fn become_kind(
    tx: &mut Tx<'_>,
    claimed: &Claimed,
    kind: Kind,
    subscription: Option<SubscriptionId>,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(BECOME)
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(claimed.owner)
        .bind(kind)
        .bind(subscription)
        .execute(conn)
        .await
        .map(drop))
}

/// Skips a claimed row; `false` when it is not this claim's any more.
pub(in crate::deliveries) async fn skip(
    tx: &mut Tx<'_>,
    claimed: &Claimed,
    reason: Reason,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(SKIP)
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(claimed.owner)
        .bind(reason)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}
