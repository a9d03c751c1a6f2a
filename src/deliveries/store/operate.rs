//! What operators and readers change about waiting rows.

use serde_json::Value;
use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries::{Reason, State};
use crate::id::{DeliveryId, IssueId, SubscriptionId};
use crate::{read_db, write_db};

const RESUME: &str = "UPDATE issues SET paused_at = NULL, pause_reason = NULL
     WHERE id = $1 AND paused_at IS NOT NULL AND state IN ('draft', 'scheduled', 'preparing', 'sending')";
const UNFINISHED: &str =
    "SELECT id FROM issues WHERE state IN ('preparing', 'sending') ORDER BY id";
// By the index of what may be claimed, which has this order. Whether anything may be renewed is asked once, not of each row.
const RENEW_WAITING: &str = "UPDATE deliveries SET expires_at = $2
     WHERE state = 'pending' AND expires_at < $2 AND id IN (SELECT d.id FROM deliveries AS d
         WHERE d.issue_id = $1 AND d.state = 'pending' AND d.expires_at < $2 AND (d.not_before, d.id) > ($3, $4)
         ORDER BY d.not_before, d.id LIMIT CASE
           WHEN EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
             OR EXISTS (SELECT 1 FROM issues AS i
                 WHERE i.id = $1 AND (i.paused_at IS NOT NULL OR i.state = 'preparing'))
           THEN $5 ELSE 0 END)
     RETURNING not_before, id";
// IS TRUE keeps both engines from the index of the issue, which leads to all that wait: few are on their way.
const RENEW_UNDERWAY: &str = "UPDATE deliveries SET expires_at = $2
     WHERE id IN (SELECT d.id FROM deliveries AS d WHERE d.owner IS NOT NULL
             UNION ALL SELECT d.id FROM deliveries AS d WHERE d.state = 'in_doubt')
       AND (issue_id = $1) IS TRUE AND expires_at < $2
       AND (EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')
           OR EXISTS (SELECT 1 FROM issues AS i WHERE i.id = $1 AND i.paused_at IS NOT NULL))";
const RENEW_WELCOMES: &str = "UPDATE deliveries SET expires_at = $1
     WHERE issue_id IS NULL AND is_open AND expires_at < $1 AND kind = 'welcome'
       AND EXISTS (SELECT 1 FROM settings AS s WHERE s.key = 'sending_paused')";
const CANCEL: &str = "UPDATE issues SET state = 'cancelled', state_reason = $3, finished_at = $2
     WHERE id = $1 AND state IN ('draft', 'scheduled', 'preparing', 'sending')";
const SEND_AGAIN: &str = "UPDATE issues SET state = 'sending', finished_at = NULL
     WHERE id = $1 AND state IN ('sending', 'finished')";
const ISSUE_STATE_SQLITE: &str = "SELECT state FROM issues WHERE id = $1";
const ISSUE_STATE_POSTGRES: &str = "SELECT state FROM issues WHERE id = $1 FOR UPDATE";

const SKIP_OF_SUBSCRIPTION: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = $2, owner = NULL, settled_at = $3
     WHERE subscription_id = $1 AND state IN ('pending', 'claimed') RETURNING id";

const IN_STATE: &str =
    "SELECT id FROM deliveries WHERE issue_id = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4";
const EXPIRED_AMONG: &str =
    "SELECT EXISTS (SELECT 1 FROM deliveries WHERE id = $1 AND reason = 'expired')";
const RETRY: &str = "UPDATE deliveries SET state = 'pending', is_open = TRUE, reason = NULL, tries = 0, crashes = 0, not_before = $2,
         expires_at = $3
     WHERE id = $1 AND state = 'failed'";

const DECIDE: &str =
    "UPDATE deliveries SET state = $2, reason = $3, settled_at = $4, not_before = $4, crashes = 0
     WHERE id = $1 AND issue_id = $5 AND state = 'held'";
const DECIDE_AGAIN: &str =
    "UPDATE deliveries SET state = 'pending', is_open = TRUE, reason = NULL, not_before = $2, crashes = 0,
         expires_at = CASE WHEN expires_at > $3 THEN expires_at ELSE $3 END
     WHERE id = $1 AND issue_id = $4 AND state = 'held'";
const CLEAR_DOUBT: &str = "UPDATE deliveries SET doubt = 0 WHERE id = $1 AND state = 'skipped'";
const STATE_OF: &str = "SELECT state FROM deliveries WHERE id = $1 AND issue_id = $2";

const PAUSE_SENDING: &str =
    "INSERT INTO settings (key, value) VALUES ('sending_paused', $1) ON CONFLICT (key) DO NOTHING";
const RESUME_SENDING: &str = "DELETE FROM settings WHERE key = 'sending_paused'";

pub(in crate::deliveries) async fn resume(tx: &mut Tx<'_>, issue: IssueId) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(RESUME)
        .bind(issue)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Issues that have mails to come.
pub(in crate::deliveries) async fn unfinished(db: &Db) -> sqlx::Result<Vec<IssueId>> {
    read_db!(db, |conn| sqlx::query_scalar(UNFINISHED)
        .fetch_all(conn)
        .await)
}

/// The next `limit` that wait of an issue, after `after` in the order of their turn, have until `expires_at`, or longer:
/// nothing of an issue that is being sent. Gives their turns.
pub(in crate::deliveries) async fn renew_waiting(
    tx: &mut Tx<'_>,
    issue: IssueId,
    expires_at: Timestamp,
    after: (Timestamp, DeliveryId),
    limit: i64,
) -> sqlx::Result<Vec<(Timestamp, DeliveryId)>> {
    write_db!(tx, |conn| sqlx::query_as(RENEW_WAITING)
        .bind(issue)
        .bind(expires_at)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// What is on its way of an issue that is paused, or in doubt, has until `expires_at`, or longer.
pub(in crate::deliveries) async fn renew_underway(
    tx: &mut Tx<'_>,
    issue: IssueId,
    expires_at: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(RENEW_UNDERWAY)
        .bind(issue)
        .bind(expires_at)
        .execute(conn)
        .await
        .map(drop))
}

/// While all sending is paused: welcomes have until `expires_at`, or longer.
pub(in crate::deliveries) async fn renew_welcomes(
    tx: &mut Tx<'_>,
    expires_at: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(RENEW_WELCOMES)
        .bind(expires_at)
        .execute(conn)
        .await
        .map(drop))
}

pub(in crate::deliveries) async fn cancel(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(CANCEL)
        .bind(issue)
        .bind(now)
        .bind(reason)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// A finished issue sends again; `false` for one that is neither finished nor being sent.
pub(in crate::deliveries) async fn send_again(
    tx: &mut Tx<'_>,
    issue: IssueId,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(SEND_AGAIN)
        .bind(issue)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// How an issue stands; it stands so until the transaction ends.
pub(in crate::deliveries) async fn issue_state(
    tx: &mut Tx<'_>,
    issue: IssueId,
) -> sqlx::Result<String> {
    let sql = tx.pick(ISSUE_STATE_SQLITE, ISSUE_STATE_POSTGRES);
    write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(issue)
        .fetch_one(conn)
        .await)
}

pub(in crate::deliveries) async fn skip_of_subscription(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
    reason: Reason,
    now: Timestamp,
) -> sqlx::Result<Vec<DeliveryId>> {
    write_db!(tx, |conn| sqlx::query_scalar(SKIP_OF_SUBSCRIPTION)
        .bind(subscription)
        .bind(reason)
        .bind(now)
        .fetch_all(conn)
        .await)
}

/// Rows of an issue that stand so, behind `after`, in order.
pub(in crate::deliveries) async fn in_state(
    tx: &mut Tx<'_>,
    issue: IssueId,
    state: State,
    after: DeliveryId,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryId>> {
    write_db!(tx, |conn| sqlx::query_scalar(IN_STATE)
        .bind(issue)
        .bind(state)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Whether a row failed because its time was over, so that its interests were put back.
pub(in crate::deliveries) async fn was_put_back(
    tx: &mut Tx<'_>,
    id: DeliveryId,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query_scalar(EXPIRED_AMONG)
        .bind(id)
        .fetch_one(conn)
        .await)
}

pub(in crate::deliveries) async fn retry(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(RETRY)
        .bind(id)
        .bind(now)
        .bind(expires_at)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Decides a held row; `false` when it is not a held one of `issue`.
pub(in crate::deliveries) async fn decide(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: DeliveryId,
    state: State,
    reason: Option<Reason>,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(DECIDE)
        .bind(id)
        .bind(state)
        .bind(reason)
        .bind(now)
        .bind(issue)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Lets a held row wait for its turn again; `false` when it is not a held one of `issue`.
pub(in crate::deliveries) async fn decide_again(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: DeliveryId,
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(DECIDE_AGAIN)
        .bind(id)
        .bind(now)
        .bind(expires_at)
        .bind(issue)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// An operator knows that a skipped row was not sent: there is no doubt.
pub(in crate::deliveries) async fn clear_doubt(
    tx: &mut Tx<'_>,
    id: DeliveryId,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(CLEAR_DOUBT)
        .bind(id)
        .execute(conn)
        .await
        .map(drop))
}

/// How a delivery of `issue` stands; `None` where the issue has no such one.
pub(in crate::deliveries) async fn state_of(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: DeliveryId,
) -> sqlx::Result<Option<State>> {
    write_db!(tx, |conn| sqlx::query_scalar(STATE_OF)
        .bind(id)
        .bind(issue)
        .fetch_optional(conn)
        .await)
}

pub(in crate::deliveries) async fn pause_sending(
    tx: &mut Tx<'_>,
    value: &Value,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(PAUSE_SENDING)
        .bind(Json(value))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(in crate::deliveries) async fn resume_sending(tx: &mut Tx<'_>) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(RESUME_SENDING)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}
