//! Subscribers, subscriptions and interests.

use sqlx::QueryBuilder;

use super::super::Subscription;
use super::super::email_address::{EmailAddress, EmailKey};
use super::super::evidence::Channel;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{NewsletterId, SubscriberId, SubscriptionId, TopicId};
use crate::newsletters::Cadence;
use crate::write_db;

const INSERT_SUBSCRIBER: &str = "
    INSERT INTO subscribers (id, email, email_key, locale, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (email_key) DO NOTHING";

/// Does nothing where the address is known.
pub(in crate::subscribers) async fn insert_subscriber(
    tx: &mut Tx<'_>,
    id: SubscriberId,
    email: &EmailAddress,
    locale: Option<&str>,
    now: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(INSERT_SUBSCRIBER)
        .bind(id)
        .bind(email.as_str())
        .bind(email.key().as_str())
        .bind(locale)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
}

const SUBSCRIBER_BY_KEY: &str = "SELECT id FROM subscribers WHERE email_key = $1";

pub(in crate::subscribers) async fn subscriber_by_key(
    tx: &mut Tx<'_>,
    key: &EmailKey,
) -> sqlx::Result<SubscriberId> {
    write_db!(tx, |conn| sqlx::query_scalar(SUBSCRIBER_BY_KEY)
        .bind(key.as_str())
        .fetch_one(conn)
        .await)
}

const KEY_OF_SUBSCRIBER: &str = "SELECT email_key FROM subscribers WHERE id = $1";

pub(in crate::subscribers) async fn key_of_subscriber(
    tx: &mut Tx<'_>,
    id: SubscriberId,
) -> sqlx::Result<EmailKey> {
    let key: String = write_db!(tx, |conn| sqlx::query_scalar(KEY_OF_SUBSCRIBER)
        .bind(id)
        .fetch_one(conn)
        .await)?;
    Ok(EmailKey::from_stored(key))
}

/// A subscription to store.
pub(in crate::subscribers) struct NewSubscription {
    pub(in crate::subscribers) id: SubscriptionId,
    pub(in crate::subscribers) subscriber_id: SubscriberId,
    pub(in crate::subscribers) newsletter_id: NewsletterId,
    pub(in crate::subscribers) started_at: Timestamp,
}

const INSERT_SUBSCRIPTION: &str = "
    INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at)
    VALUES ($1, $2, $3, 'active', $4)
    ON CONFLICT (subscriber_id, newsletter_id) DO NOTHING";

/// `false` where there is one already, in whatever state.
pub(in crate::subscribers) async fn insert_subscription(
    tx: &mut Tx<'_>,
    new: &NewSubscription,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(INSERT_SUBSCRIPTION)
        .bind(new.id)
        .bind(new.subscriber_id)
        .bind(new.newsletter_id)
        .bind(new.started_at)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

const LOCK_SQLITE: &str = "
    SELECT id, subscriber_id, newsletter_id, state, paused_until, started_at, ended_at
    FROM subscriptions WHERE subscriber_id = $1 AND newsletter_id = $2";
const LOCK_POSTGRES: &str = "
    SELECT id, subscriber_id, newsletter_id, state, paused_until, started_at, ended_at
    FROM subscriptions WHERE subscriber_id = $1 AND newsletter_id = $2 FOR UPDATE";

pub(in crate::subscribers) async fn lock_subscription(
    tx: &mut Tx<'_>,
    subscriber: SubscriberId,
    newsletter: NewsletterId,
) -> sqlx::Result<Subscription> {
    let sql = tx.pick(LOCK_SQLITE, LOCK_POSTGRES);
    write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(subscriber)
        .bind(newsletter)
        .fetch_one(conn)
        .await)
}

const REVIVE: &str = "
    UPDATE subscriptions
    SET state = 'active', started_at = $2, ended_at = NULL, end_channel = NULL, paused_until = NULL
    WHERE id = $1 AND state IN ('unsubscribed', 'bounced')";

pub(in crate::subscribers) async fn revive_subscription(
    tx: &mut Tx<'_>,
    id: SubscriptionId,
    now: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(REVIVE)
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
}

const END: &str = "
    UPDATE subscriptions SET state = 'unsubscribed', ended_at = $2, end_channel = $3, paused_until = NULL
    WHERE id = $1 AND state = 'active'
    RETURNING subscriber_id, newsletter_id";

/// Whose it was and to what; `None` when nothing was active.
pub(in crate::subscribers) async fn end_subscription(
    tx: &mut Tx<'_>,
    id: SubscriptionId,
    now: Timestamp,
    channel: Channel,
) -> sqlx::Result<Option<(SubscriberId, NewsletterId)>> {
    write_db!(tx, |conn| sqlx::query_as(END)
        .bind(id)
        .bind(now)
        .bind(channel)
        .fetch_optional(conn)
        .await)
}

const NEWSLETTER_OF: &str = "SELECT newsletter_id FROM subscriptions WHERE id = $1";

pub(in crate::subscribers) async fn newsletter_of_subscription(
    tx: &mut Tx<'_>,
    id: SubscriptionId,
) -> sqlx::Result<Option<NewsletterId>> {
    write_db!(tx, |conn| sqlx::query_scalar(NEWSLETTER_OF)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

const END_INTERESTS: &str = "UPDATE interests SET cadence = 'off' WHERE subscription_id = $1";

/// Turns all interests off; they stay as the memory of what was given.
pub(in crate::subscribers) async fn end_interests(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(END_INTERESTS)
        .bind(subscription)
        .execute(conn)
        .await
        .map(drop))
}

/// An interest that begins after the article `newest_seq`.
pub(in crate::subscribers) struct NewInterest {
    pub(in crate::subscribers) subscription: SubscriptionId,
    pub(in crate::subscribers) topic: TopicId,
    pub(in crate::subscribers) newest_seq: i64,
    pub(in crate::subscribers) cadence: Cadence,
}

const START_INTERESTS: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq) ";
// nothing was released since it ended: the same row goes on
const OR_GO_ON: &str =
    " ON CONFLICT (subscription_id, topic_id, start_seq) DO UPDATE SET cadence = excluded.cadence";
/// Rows of one statement: 5 binds each, of the 32,766 that SQLite takes.
const MOST_INTERESTS: usize = 5000;

pub(in crate::subscribers) async fn start_interests(
    tx: &mut Tx<'_>,
    interests: &[NewInterest],
) -> sqlx::Result<()> {
    for interests in interests.chunks(MOST_INTERESTS) {
        write_db!(&mut *tx, |conn| {
            let mut insert = QueryBuilder::new(START_INTERESTS);
            insert.push_values(interests, |mut row, interest| {
                row.push_bind(interest.subscription)
                    .push_bind(interest.topic)
                    .push_bind(interest.newest_seq)
                    .push_bind(interest.cadence)
                    .push_bind(interest.newest_seq);
            });
            insert.push(OR_GO_ON);
            insert.build().execute(conn).await.map(drop)
        })?;
    }
    Ok(())
}
