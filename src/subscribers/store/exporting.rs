//! Reading all readers of a newsletter, page by page.

use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::{NewsletterId, SubscriptionId};
use crate::newsletters::Cadence;
use crate::read_db;
use crate::subscribers::SubscriptionState;

/// One reader without their interests.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::subscribers) struct ExportRow {
    pub(in crate::subscribers) id: SubscriptionId,
    pub(in crate::subscribers) email: String,
    pub(in crate::subscribers) state: SubscriptionState,
    pub(in crate::subscribers) started_at: Timestamp,
    pub(in crate::subscribers) ended_at: Option<Timestamp>,
}

const FIRST_PAGE: &str =
    "SELECT subscriptions.id, subscribers.email, subscriptions.state, subscriptions.started_at,
         subscriptions.ended_at
     FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
     WHERE subscriptions.newsletter_id = $1 AND subscribers.erased_at IS NULL
     ORDER BY subscriptions.id LIMIT $2";
const NEXT_PAGE: &str = "SELECT subscriptions.id, subscribers.email, subscriptions.state, subscriptions.started_at,
         subscriptions.ended_at
     FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
     WHERE subscriptions.newsletter_id = $1 AND subscribers.erased_at IS NULL AND subscriptions.id > $3
     ORDER BY subscriptions.id LIMIT $2";

/// At most `limit` readers after `after`, in the order of their subscriptions.
pub(in crate::subscribers) async fn export_page(
    db: &Db,
    newsletter: NewsletterId,
    after: Option<SubscriptionId>,
    limit: i64,
) -> sqlx::Result<Vec<ExportRow>> {
    match after {
        None => read_db!(db, |conn| sqlx::query_as(FIRST_PAGE)
            .bind(newsletter)
            .bind(limit)
            .fetch_all(conn)
            .await),
        Some(after) => read_db!(db, |conn| sqlx::query_as(NEXT_PAGE)
            .bind(newsletter)
            .bind(limit)
            .bind(after)
            .fetch_all(conn)
            .await),
    }
}

const TOPICS: &str = "SELECT interests.subscription_id, topics.slug, interests.cadence
     FROM interests
     JOIN topics ON topics.id = interests.topic_id
     JOIN subscriptions ON subscriptions.id = interests.subscription_id
     WHERE subscriptions.newsletter_id = $1 AND interests.subscription_id >= $2 AND interests.subscription_id <= $3
         AND interests.cadence <> 'off'
     ORDER BY interests.subscription_id, topics.position, topics.slug";

/// The interests in force of the readers from `first` to `last`.
pub(in crate::subscribers) async fn topics_of(
    db: &Db,
    newsletter: NewsletterId,
    first: SubscriptionId,
    last: SubscriptionId,
) -> sqlx::Result<Vec<(SubscriptionId, String, Cadence)>> {
    read_db!(db, |conn| sqlx::query_as(TOPICS)
        .bind(newsletter)
        .bind(first)
        .bind(last)
        .fetch_all(conn)
        .await)
}
