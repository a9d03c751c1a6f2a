//! What the tables `topics` and `topic_rules` say about articles.

use crate::db::Tx;
use crate::feeds::topics::{TopicRule, TopicRules};
use crate::id::{FeedId, NewsletterId, TopicId};
use crate::write_db;

const BY_SLUG: &str = "SELECT slug, id FROM topics WHERE newsletter_id = $1";
const RULES: &str =
    "SELECT topic_rules.topic_id, topic_rules.feed_id, topic_rules.field, topic_rules.pattern
     FROM topic_rules JOIN topics ON topics.id = topic_rules.topic_id
     WHERE topics.newsletter_id = $1 ORDER BY topic_rules.id";

/// The topics of a newsletter: slug and id.
pub(crate) async fn topics_by_slug(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
) -> sqlx::Result<Vec<(String, TopicId)>> {
    write_db!(tx, |conn| sqlx::query_as(BY_SLUG)
        .bind(newsletter_id)
        .fetch_all(conn)
        .await)
}

/// The rules of a newsletter.
pub(crate) async fn rules_of(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
) -> sqlx::Result<TopicRules> {
    let topics = topics_by_slug(tx, newsletter_id).await?;
    let rows: Vec<(TopicId, Option<FeedId>, String, String)> =
        write_db!(tx, |conn| sqlx::query_as(RULES)
            .bind(newsletter_id)
            .fetch_all(conn)
            .await)?;
    let rule = |(topic_id, feed_id, field, pattern): (_, _, String, _)| {
        Some(TopicRule {
            topic_id,
            feed_id,
            field: field.parse().ok()?,
            pattern,
        })
    };
    Ok(TopicRules {
        all: topics
            .iter()
            .find(|(slug, _)| slug == "all")
            .map(|(_, id)| *id),
        rules: rows.into_iter().filter_map(rule).collect(),
    })
}
