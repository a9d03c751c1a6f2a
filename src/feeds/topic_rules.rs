//! Adding a rule that maps what a feed says to a topic, and taking one away.

use super::store;
use super::topics::TopicRule;
use crate::app::App;
use crate::id::{NewsletterId, TopicRuleId};

/// Why a rule was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddRuleError {
    /// A rule that says nothing.
    #[error(
        "the pattern is empty; write what the category, author or address must be, * for anything"
    )]
    Empty,
    /// A rule for the topic that every article has.
    #[error("every article has the topic all; it needs no rule")]
    All,
    /// The topic is not one of the newsletter.
    #[error("the newsletter has no such topic")]
    NoTopic,
    /// The topic has the same rule already.
    #[error("the topic has this rule already")]
    AlreadyThere,
    /// The database answered an error.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Adds `rule` to a topic of `newsletter`. It holds for articles that come from now on; those that are there keep their
/// topics.
pub async fn add_topic_rule(
    app: &App,
    newsletter: NewsletterId,
    rule: TopicRule,
) -> Result<TopicRuleId, AddRuleError> {
    let pattern = rule.pattern.trim().to_owned();
    if pattern.is_empty() {
        return Err(AddRuleError::Empty);
    }
    let rule = TopicRule { pattern, ..rule };
    let id = app.ids.next();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let topics = store::topics_by_slug(tx, newsletter).await?;
                match topics.iter().find(|(_, topic)| *topic == rule.topic_id) {
                    None => return Err(AddRuleError::NoTopic),
                    Some((slug, _)) if slug == "all" => return Err(AddRuleError::All),
                    Some(_) => {}
                }
                if store::rules_of(tx, newsletter).await?.rules.contains(&rule) {
                    return Err(AddRuleError::AlreadyThere);
                }
                store::insert_rule(tx, id, &rule).await?;
                Ok(id)
            })
        })
        .await
}

/// Takes a rule of `newsletter` away; `false` where it has no such rule. Articles that are there keep their topics.
pub async fn remove_topic_rule(
    app: &App,
    newsletter: NewsletterId,
    id: TopicRuleId,
) -> sqlx::Result<bool> {
    app.db
        .write(move |tx| Box::pin(async move { store::delete_rule(tx, newsletter, id).await }))
        .await
}
