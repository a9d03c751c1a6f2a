//! Adding a rule that maps what a feed says to a topic.

use super::store;
use super::topics::TopicRule;
use crate::app::App;
use crate::id::TopicRuleId;

/// Why a rule was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddRuleError {
    /// A rule that says nothing.
    #[error(
        "the pattern is empty; write what the category, author or address must be, * for anything"
    )]
    Empty,
    /// The database answered an error.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Adds `rule`. It holds for articles that come from now on; those that are there keep their topics.
pub async fn add_topic_rule(app: &App, rule: TopicRule) -> Result<TopicRuleId, AddRuleError> {
    if rule.pattern.trim().is_empty() {
        return Err(AddRuleError::Empty);
    }
    let id = app.ids.next();
    app.db
        .write(move |tx| Box::pin(async move { store::insert_rule(tx, id, &rule).await }))
        .await?;
    Ok(id)
}
