//! Mails about a sign-up, and what stands against them.

use super::super::SubscriptionState;
use super::super::email_address::EmailKey;
use super::super::notice::{NoticeKind, SuppressionReason};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{DeliveryId, NewsletterId, SignupId, SubscriptionId};
use crate::write_db;

/// A notice to queue.
pub(in crate::subscribers) struct NewNotice<'a> {
    pub(in crate::subscribers) id: DeliveryId,
    pub(in crate::subscribers) kind: NoticeKind,
    pub(in crate::subscribers) newsletter_id: NewsletterId,
    pub(in crate::subscribers) signup_id: Option<SignupId>,
    pub(in crate::subscribers) subscription_id: Option<SubscriptionId>,
    pub(in crate::subscribers) recipient: &'a str,
    pub(in crate::subscribers) domain: &'a str,
    pub(in crate::subscribers) locale: &'a str,
    pub(in crate::subscribers) created_at: Timestamp,
    pub(in crate::subscribers) expires_at: Timestamp,
}

const QUEUE: &str = "
    INSERT INTO deliveries (id, kind, newsletter_id, signup_id, subscription_id, recipient, domain_key, payload,
        state, attempt, tries, doubt, crashes, not_before, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', 0, 0, 0, 0, $9, $9, $10)";

pub(in crate::subscribers) async fn queue_notice(
    tx: &mut Tx<'_>,
    new: &NewNotice<'_>,
) -> sqlx::Result<()> {
    let payload = sqlx::types::Json(serde_json::json!({ "locale": new.locale }));
    write_db!(tx, |conn| sqlx::query(QUEUE)
        .bind(new.id)
        .bind(new.kind)
        .bind(new.newsletter_id)
        .bind(new.signup_id)
        .bind(new.subscription_id)
        .bind(new.recipient)
        .bind(new.domain)
        .bind(payload)
        .bind(new.created_at)
        .bind(new.expires_at)
        .execute(conn)
        .await
        .map(drop))
}

const SKIP: &str = "
    UPDATE deliveries SET state = 'skipped', reason = $2, settled_at = $3, owner = NULL, lease_until = NULL
    WHERE subscription_id = $1 AND state IN ('pending', 'claimed')";

/// Skips what waits for a subscription that has just ended; how many.
pub(in crate::subscribers) async fn skip_waiting(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<u64> {
    write_db!(tx, |conn| sqlx::query(SKIP)
        .bind(subscription)
        .bind(reason)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}

const SUPPRESSIONS: &str = "
    SELECT reason, at FROM suppressions WHERE key = $1 AND scope IN ('all', $2)";

pub(in crate::subscribers) async fn suppressions(
    tx: &mut Tx<'_>,
    key: &[u8; 32],
    newsletter: NewsletterId,
) -> sqlx::Result<Vec<(SuppressionReason, Timestamp)>> {
    write_db!(tx, |conn| sqlx::query_as(SUPPRESSIONS)
        .bind(&key[..])
        .bind(newsletter.to_string())
        .fetch_all(conn)
        .await)
}

const LIFT: &str =
    "DELETE FROM suppressions WHERE key = $1 AND reason IN ('hard_bounce', 'erased')";

/// Only what a new confirmed sign-up lifts.
pub(in crate::subscribers) async fn lift_suppression(
    tx: &mut Tx<'_>,
    key: &[u8; 32],
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(LIFT)
        .bind(&key[..])
        .execute(conn)
        .await
        .map(drop))
}

const MEMBERSHIP: &str = "
    SELECT subscriptions.id, subscriptions.state, subscriptions.ended_at
    FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
    WHERE subscribers.email_key = $1 AND subscriptions.newsletter_id = $2";

/// How it stands between an address and a newsletter.
pub(in crate::subscribers) async fn membership_state(
    tx: &mut Tx<'_>,
    key: &EmailKey,
    newsletter: NewsletterId,
) -> sqlx::Result<Option<(SubscriptionId, SubscriptionState, Option<Timestamp>)>> {
    write_db!(tx, |conn| sqlx::query_as(MEMBERSHIP)
        .bind(key.as_str())
        .bind(newsletter)
        .fetch_optional(conn)
        .await)
}
