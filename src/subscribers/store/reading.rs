//! Reading about one person, for pages and for the operator.

use super::super::consent::ConsentEvent;
use super::super::explain::{DeliveryLine, InterestLine, Person};
use super::super::unsubscribe::Membership;
use crate::db::Db;
use crate::id::{SubscriberId, SubscriptionId};
use crate::read_db;

const MEMBERSHIP: &str = "
    SELECT subscriptions.id, subscriptions.subscriber_id, subscriptions.newsletter_id, subscriptions.state,
        subscriptions.paused_until, subscriptions.started_at, subscriptions.ended_at, subscribers.email,
        subscribers.locale
    FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
    WHERE subscriptions.id = $1";

pub(in crate::subscribers) async fn membership(
    db: &Db,
    id: SubscriptionId,
) -> sqlx::Result<Option<Membership>> {
    read_db!(db, |conn| sqlx::query_as(MEMBERSHIP)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

const PEOPLE_BY_KEY: &str = "
    SELECT subscriptions.id AS subscription_id, subscriptions.subscriber_id, subscribers.email,
        subscribers.locale, newsletters.slug AS newsletter, subscriptions.state, subscriptions.paused_until,
        subscriptions.started_at, subscriptions.ended_at, subscriptions.end_channel
    FROM subscribers
    JOIN subscriptions ON subscriptions.subscriber_id = subscribers.id
    JOIN newsletters ON newsletters.id = subscriptions.newsletter_id
    WHERE subscribers.email_key = $1
    ORDER BY newsletters.slug";

/// One row for each newsletter the address ever joined.
pub(in crate::subscribers) async fn people_by_key(
    db: &Db,
    email_key: &str,
) -> sqlx::Result<Vec<Person>> {
    read_db!(db, |conn| sqlx::query_as(PEOPLE_BY_KEY)
        .bind(email_key)
        .fetch_all(conn)
        .await)
}

const INTERESTS: &str = "
    SELECT topics.slug AS topic, interests.cadence, interests.start_seq, interests.given_seq
    FROM interests JOIN topics ON topics.id = interests.topic_id
    WHERE interests.subscription_id = $1
    ORDER BY topics.position, topics.slug, interests.start_seq";

pub(in crate::subscribers) async fn interests_of(
    db: &Db,
    subscription: SubscriptionId,
) -> sqlx::Result<Vec<InterestLine>> {
    read_db!(db, |conn| sqlx::query_as(INTERESTS)
        .bind(subscription)
        .fetch_all(conn)
        .await)
}

const CONSENT: &str = "
    SELECT id, email_hash, newsletter_id, kind, at, channel, wording_id, page_url, ip, user_agent, detail, salt,
        commitment, previous_hash, hash
    FROM consent_events WHERE subscriber_id = $1
    ORDER BY at, id";

/// Oldest first by the clock of their time.
pub(in crate::subscribers) async fn consent_of(
    db: &Db,
    subscriber: SubscriberId,
) -> sqlx::Result<Vec<ConsentEvent>> {
    read_db!(db, |conn| sqlx::query_as(CONSENT)
        .bind(subscriber)
        .fetch_all(conn)
        .await)
}

const DELIVERIES: &str = "
    SELECT deliveries.id, deliveries.kind, deliveries.state, issues.number AS issue, variants.subject,
        deliveries.created_at, deliveries.not_before, deliveries.settled_at, deliveries.tries, deliveries.doubt,
        deliveries.reply_code, deliveries.reply_text, deliveries.reason
    FROM deliveries
    LEFT JOIN issues ON issues.id = deliveries.issue_id
    LEFT JOIN variants ON variants.id = deliveries.variant_id
    WHERE deliveries.subscription_id = $1
    ORDER BY deliveries.created_at DESC, deliveries.id DESC
    LIMIT $2";

/// The newest first.
pub(in crate::subscribers) async fn deliveries_of(
    db: &Db,
    subscription: SubscriptionId,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryLine>> {
    read_db!(db, |conn| sqlx::query_as(DELIVERIES)
        .bind(subscription)
        .bind(limit)
        .fetch_all(conn)
        .await)
}
