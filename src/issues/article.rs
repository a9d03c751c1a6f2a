//! An article as frozen in an issue: later edits of the site change no mail of it.

use serde::{Deserialize, Serialize};

use super::Decision;
use super::due::Released;
use crate::clock::Timestamp;
use crate::id::{ArticleId, TopicId};

/// One row of an issue's articles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueArticle {
    /// Which article.
    pub id: ArticleId,
    /// Its place in the mail, from 0.
    pub position: i64,
    /// What became of it.
    pub decision: Decision,
    /// Why, where the decision is not the rule's.
    pub reason: Option<String>,
    /// Its texts.
    pub content: ArticleContent,
}

/// The frozen texts of an article. All of it is plain text; links are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleContent {
    /// Its number.
    pub seq: i64,
    /// Its topics, `all` among them.
    pub topics: Vec<TopicId>,
    /// The name of the topic that is shown over it; none where it has only `all`.
    pub topic_name: Option<String>,
    /// Its title.
    pub title: String,
    /// Where it can be read.
    pub url: String,
    /// A few sentences, may be empty.
    pub summary: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// When its site says it appeared.
    pub published_at: Option<Timestamp>,
    /// Its picture.
    pub image: Option<ArticleImage>,
}

/// A picture of an article.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleImage {
    /// `https`, absolute.
    pub url: String,
    /// In pixels, where known.
    pub width: Option<u32>,
    /// In pixels, where known.
    pub height: Option<u32>,
    /// What it shows; may be empty.
    pub alt: String,
}

/// The articles in the form in which the due rule takes them: by rising number.
pub(super) fn released(articles: &[IssueArticle]) -> Vec<Released> {
    let mut released: Vec<Released> = articles
        .iter()
        .map(|article| Released {
            seq: article.content.seq,
            id: article.id,
            topics: article.content.topics.clone(),
        })
        .collect();
    released.sort_unstable_by_key(|article| article.seq);
    released
}
