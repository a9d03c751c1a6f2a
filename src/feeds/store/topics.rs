//! What the tables `topics` and `topic_rules` say about articles.

use crate::db::{Db, Tx};
use crate::feeds::topics::{ListedRule, TopicRule, TopicRules};
use crate::id::{NewsletterId, TopicId, TopicRuleId};
use crate::{read_db, write_db};

const BY_SLUG: &str = "SELECT slug, id FROM topics WHERE newsletter_id = $1";
const RULES: &str =
    "SELECT topic_rules.topic_id, topic_rules.feed_id, topic_rules.field, topic_rules.pattern
     FROM topic_rules JOIN topics ON topics.id = topic_rules.topic_id
     WHERE topics.newsletter_id = $1 ORDER BY topic_rules.id";

const INSERT_RULE: &str =
    "INSERT INTO topic_rules (id, topic_id, feed_id, field, pattern) VALUES ($1, $2, $3, $4, $5)";
const LIST_RULES: &str = "SELECT topic_rules.id, topics.slug AS topic, topic_rules.field, topic_rules.pattern, feeds.url AS feed
     FROM topic_rules JOIN topics ON topics.id = topic_rules.topic_id
     LEFT JOIN feeds ON feeds.id = topic_rules.feed_id
     WHERE topics.newsletter_id = $1 ORDER BY topics.position, topics.slug, topic_rules.id";
const DELETE_RULE: &str = "DELETE FROM topic_rules
     WHERE id = $1 AND topic_id IN (SELECT id FROM topics WHERE newsletter_id = $2)";

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

/// The rules of a newsletter, by topic.
pub async fn list_rules(db: &Db, newsletter_id: NewsletterId) -> sqlx::Result<Vec<ListedRule>> {
    read_db!(db, |conn| sqlx::query_as(LIST_RULES)
        .bind(newsletter_id)
        .fetch_all(conn)
        .await)
}

/// Deletes a rule; `false` where the newsletter has no such rule.
pub(crate) async fn delete_rule(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    id: TopicRuleId,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(DELETE_RULE)
        .bind(id)
        .bind(newsletter_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}
