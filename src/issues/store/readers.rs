//! The readers of a newsletter, in the order in which prepare walks them.

use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::{NewsletterId, SubscriptionId, TopicId};
use crate::issues::due::Interest;
use crate::issues::walk::Reader;
use crate::newsletters::Cadence;
use crate::read_db;

const PAGE: &str = "SELECT subscriptions.id, subscribers.email, subscribers.locale, subscriptions.paused_until
     FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
     WHERE subscriptions.newsletter_id = $1 AND subscriptions.id > $2 AND subscriptions.state = 'active'
     ORDER BY subscriptions.id LIMIT $3";
// The range stands for both tables: PostgreSQL does not carry it over to the other one by itself.
const INTERESTS: &str = "SELECT interests.subscription_id, interests.topic_id, interests.start_seq,
         interests.cadence, interests.given_seq
     FROM interests JOIN subscriptions ON subscriptions.id = interests.subscription_id
     WHERE subscriptions.newsletter_id = $1 AND subscriptions.state = 'active'
       AND subscriptions.id >= $2 AND subscriptions.id <= $3
       AND interests.subscription_id >= $2 AND interests.subscription_id <= $3
     ORDER BY interests.subscription_id, interests.topic_id, interests.start_seq";

/// The ids of the next `limit` active readers after `after`, and who they are.
///
/// Interests are empty: [`with_interests`] reads them, and reads them again where something moved them.
pub(in crate::issues) async fn page(
    db: &Db,
    newsletter: NewsletterId,
    after: SubscriptionId,
    limit: i64,
) -> sqlx::Result<Vec<Reader>> {
    type Row = (SubscriptionId, String, Option<String>, Option<Timestamp>);
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(PAGE)
        .bind(newsletter)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)?;
    let reader = |(subscription, email, locale, paused_until): Row| Reader {
        subscription,
        email,
        locale,
        paused_until,
        waits: false,
        interests: Vec::new(),
    };
    Ok(rows.into_iter().map(reader).collect())
}

/// Fills in the interests of a page's readers.
pub(in crate::issues) async fn with_interests(
    db: &Db,
    newsletter: NewsletterId,
    readers: &mut [Reader],
) -> sqlx::Result<()> {
    type Row = (SubscriptionId, TopicId, i64, Cadence, i64);
    let (Some(first), Some(last)) = (readers.first(), readers.last()) else {
        return Ok(());
    };
    let (first, last) = (first.subscription, last.subscription);
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(INTERESTS)
        .bind(newsletter)
        .bind(first)
        .bind(last)
        .fetch_all(conn)
        .await)?;
    let mut rows = rows.into_iter().peekable();
    for reader in readers {
        reader.interests.clear();
        // a reader who came or went between the two reads has rows, or none, of its own
        while let Some(row) = rows.next_if(|row| row.0 <= reader.subscription) {
            if row.0 == reader.subscription {
                let (_, topic_id, start_seq, cadence, given_seq) = row;
                reader.interests.push(Interest {
                    topic_id,
                    start_seq,
                    cadence,
                    given_seq,
                });
            }
        }
    }
    Ok(())
}
