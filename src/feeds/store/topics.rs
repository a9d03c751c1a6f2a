//! What the tables `topics` and `topic_rules` say about articles.

use crate::db::Tx;
use crate::feeds::topics::{TopicRule, TopicRules};
use crate::id::{NewsletterId, TopicId, TopicRuleId};
use crate::write_db;

const BY_SLUG: &str = "SELECT slug, id FROM topics WHERE newsletter_id = $1";
const RULES: &str =
    "SELECT topic_rules.topic_id, topic_rules.feed_id, topic_rules.field, topic_rules.pattern
     FROM topic_rules JOIN topics ON topics.id = topic_rules.topic_id
     WHERE topics.newsletter_id = $1 ORDER BY topic_rules.id";

const INSERT_RULE: &str =
    "INSERT INTO topic_rules (id, topic_id, feed_id, field, pattern) VALUES ($1, $2, $3, $4, $5)";

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
    let rules = write_db!(tx, |conn| sqlx::query_as(RULES)
        .bind(newsletter_id)
        .fetch_all(conn)
        .await)?;
    Ok(TopicRules {
        all: topics
            .iter()
            .find(|(slug, _)| slug == "all")
            .map(|(_, id)| *id),
        rules,
    })
}

/// Adds a rule. It holds for articles that come from now on.
pub(crate) async fn insert_rule(
    tx: &mut Tx<'_>,
    id: TopicRuleId,
    rule: &TopicRule,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(INSERT_RULE)
        .bind(id)
        .bind(rule.topic_id)
        .bind(rule.feed_id)
        .bind(rule.field)
        .bind(&rule.pattern)
        .execute(conn)
        .await
        .map(drop))
}
