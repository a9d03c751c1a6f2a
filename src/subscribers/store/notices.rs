//! What stands against a mail about a sign-up.

use super::super::SubscriptionState;
use super::super::email_address::EmailKey;
use super::super::notice::SuppressionReason;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{NewsletterId, SubscriptionId};
use crate::write_db;

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
