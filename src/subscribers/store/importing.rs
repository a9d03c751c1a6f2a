//! Many readers at a time: one statement for all of a batch.

use sqlx::QueryBuilder;

use super::super::SubscriptionState;
use super::super::email_address::{EmailAddress, EmailKey};
use super::NewSubscription;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{NewsletterId, SubscriberId, SubscriptionId};
use crate::write_db;

const SUPPRESSED: &str = "SELECT DISTINCT key FROM suppressions WHERE scope IN ('all', ";
const KEY_AMONG: &str = ") AND key IN (";

/// Those of the keyed hashes that are suppressed for the newsletter, for whatever reason.
pub(in crate::subscribers) async fn suppressed(
    tx: &mut Tx<'_>,
    hashes: &[[u8; 32]],
    newsletter: NewsletterId,
) -> sqlx::Result<Vec<Vec<u8>>> {
    write_db!(tx, |conn| {
        let mut query = QueryBuilder::new(SUPPRESSED);
        query.push_bind(newsletter.to_string()).push(KEY_AMONG);
        let mut list = query.separated(", ");
        for hash in hashes {
            list.push_bind(hash.as_slice());
        }
        query.push(")");
        query.build_query_scalar().fetch_all(conn).await
    })
}

// CROSS: SQLite would read all subscriptions of the newsletter for a few addresses.
const MEMBERS: &str = "
    SELECT subscribers.email_key, subscriptions.state
    FROM subscribers CROSS JOIN subscriptions
    WHERE subscriptions.subscriber_id = subscribers.id AND subscriptions.newsletter_id = ";
const EMAIL_KEY_AMONG: &str = " AND subscribers.email_key IN (";

/// How it stands between those of the addresses that the newsletter knows, and the newsletter.
pub(in crate::subscribers) async fn members(
    tx: &mut Tx<'_>,
    keys: &[&EmailKey],
    newsletter: NewsletterId,
) -> sqlx::Result<Vec<(EmailKey, SubscriptionState)>> {
    write_db!(tx, |conn| {
        let mut query = QueryBuilder::new(MEMBERS);
        query.push_bind(newsletter).push(EMAIL_KEY_AMONG);
        let mut list = query.separated(", ");
        for key in keys {
            list.push_bind(key.as_str());
        }
        query.push(")");
        query.build_query_as().fetch_all(conn).await
    })
}

const INSERT_SUBSCRIBERS: &str = "INSERT INTO subscribers (id, email, email_key, created_at) ";
const UNLESS_KNOWN: &str = " ON CONFLICT (email_key) DO NOTHING";
const SUBSCRIBERS: &str = "SELECT email_key, id FROM subscribers WHERE email_key IN (";

/// The subscriber of each address, new where it was not known.
pub(in crate::subscribers) async fn subscribers(
    tx: &mut Tx<'_>,
    people: &[(SubscriberId, &EmailAddress)],
    now: Timestamp,
) -> sqlx::Result<Vec<(EmailKey, SubscriberId)>> {
    write_db!(&mut *tx, |conn| {
        let mut insert = QueryBuilder::new(INSERT_SUBSCRIBERS);
        insert.push_values(people, |mut row, (id, email)| {
            row.push_bind(*id)
                .push_bind(email.as_str())
                .push_bind(email.key().as_str())
                .push_bind(now);
        });
        insert.push(UNLESS_KNOWN);
        insert.build().execute(conn).await.map(drop)
    })?;
    write_db!(tx, |conn| {
        let mut query = QueryBuilder::new(SUBSCRIBERS);
        let mut list = query.separated(", ");
        for (_, email) in people {
            list.push_bind(email.key().as_str());
        }
        query.push(")");
        query.build_query_as().fetch_all(conn).await
    })
}

const INSERT_SUBSCRIPTIONS: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at) ";
const UNLESS_THERE: &str = " ON CONFLICT (subscriber_id, newsletter_id) DO NOTHING RETURNING id";

/// Those that were not there yet, in whatever state.
pub(in crate::subscribers) async fn insert_subscriptions(
    tx: &mut Tx<'_>,
    new: &[NewSubscription],
) -> sqlx::Result<Vec<SubscriptionId>> {
    write_db!(tx, |conn| {
        let mut insert = QueryBuilder::new(INSERT_SUBSCRIPTIONS);
        insert.push_values(new, |mut row, new| {
            row.push_bind(new.id)
                .push_bind(new.subscriber_id)
                .push_bind(new.newsletter_id)
                .push("'active'")
                .push_bind(new.started_at);
        });
        insert.push(UNLESS_THERE);
        insert.build_query_scalar().fetch_all(conn).await
    })
}
