//! Articles that a site posts: for sites without a feed, and for "publish now".

use std::collections::HashSet;

use url::Url;

use super::draft::draft;
use super::entry::{Entry, Markup, MediaImage};
use super::identity::{Key, keys};
use super::read::Prepared;
use super::release::{Beginning, release_chunk};
use super::save::{Change, Destination, save};
use super::{store, text};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{ArticleId, NewsletterId, TopicId};

/// Articles that can be posted at once.
pub const MAX_BATCH: usize = 100;

/// An article as a site posts it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostedArticle {
    /// The site's own id: posting it again edits the article.
    pub external_id: String,
    /// Where the article stands: http or https.
    pub url: String,
    /// Its title, as plain text.
    pub title: String,
    /// A summary, as plain text; made from the content where it is missing.
    #[serde(default)]
    pub summary: Option<String>,
    /// The article as HTML.
    #[serde(default)]
    pub content_html: Option<String>,
    /// Names of authors.
    #[serde(default)]
    pub authors: Vec<String>,
    /// Its picture: https.
    #[serde(default)]
    pub image_url: Option<String>,
    /// When it was published.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    /// Slugs of topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Categories, which the newsletter's rules map to topics.
    #[serde(default)]
    pub categories: Vec<String>,
}

/// What became of a posted article.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Published {
    /// The site's own id.
    pub external_id: String,
    /// Ours.
    #[schema(value_type = String, format = Uuid)]
    pub article_id: ArticleId,
    /// Whether it is new here.
    pub outcome: Outcome,
}

/// Whether a posted article is new here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not known.
    Created,
    /// Its texts were changed.
    Edited,
    /// It is known as it is.
    Unchanged,
}

/// What is wrong with a posted article.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("article {index}, {field}: {problem}")]
pub struct Fault {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The field.
    pub field: &'static str,
    /// What to write instead.
    pub problem: String,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no such newsletter.
    #[error("there is no such newsletter")]
    NoNewsletter,
    /// More than [`MAX_BATCH`] articles.
    #[error("at most {MAX_BATCH} articles can be posted at once, these are {0}")]
    TooMany(usize),
    /// Every fault of every article.
    #[error("{} of the articles' fields cannot be used", .0.len())]
    Faults(Vec<Fault>),
    /// The database answered an error.
    #[error("the database cannot be used")]
    Db(#[from] sqlx::Error),
}

/// Publishes `articles`, all or none, in their order. New ones are released at once, or when they are dated, if that is
/// within a day; later ones are held. Repeating a batch changes nothing.
pub async fn publish(
    app: &App,
    newsletter_id: NewsletterId,
    articles: Vec<PostedArticle>,
) -> Result<Vec<Published>, PublishError> {
    if articles.len() > MAX_BATCH {
        return Err(PublishError::TooMany(articles.len()));
    }
    let faults = faults(&articles);
    if !faults.is_empty() {
        return Err(PublishError::Faults(faults));
    }
    let prepared =
        tokio::task::spawn_blocking(move || articles.into_iter().map(prepare).collect::<Vec<_>>())
            .await
            .map_err(|_| sqlx::Error::WorkerCrashed)?;
    let (ids, now) = (app.ids.clone(), app.clock.now());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if !store::lock_newsletter(tx, newsletter_id).await? {
                    return Err(PublishError::NoNewsletter);
                }
                let to = Destination {
                    newsletter_id,
                    feed_id: None,
                    home: String::new(),
                    rules: store::rules_of(tx, newsletter_id).await?,
                    ids,
                    now,
                };
                save_all(tx, &to, &prepared).await
            })
        })
        .await
}

async fn save_all(
    tx: &mut Tx<'_>,
    to: &Destination,
    articles: &[(PostedArticle, Prepared)],
) -> Result<Vec<Published>, PublishError> {
    let topics = topics(
        articles,
        &store::topics_by_slug(tx, to.newsletter_id).await?,
    )?;
    let mut published = Vec::with_capacity(articles.len());
    for (order, ((posted, prepared), topics)) in articles.iter().zip(&topics).enumerate() {
        let beginning = Beginning::of_news(to.now, std::time::Duration::ZERO, posted.published_at);
        let (article_id, change) = save(tx, to, prepared, order, beginning, topics).await?;
        published.push(Published {
            external_id: posted.external_id.clone(),
            article_id,
            outcome: match change {
                Change::New => Outcome::Created,
                Change::Edited => Outcome::Edited,
                Change::Nothing => Outcome::Unchanged,
            },
        });
    }
    release_chunk(tx, to.newsletter_id, to.now).await?;
    Ok(published)
}

/// The topics that each article names.
fn topics(
    articles: &[(PostedArticle, Prepared)],
    known: &[(String, TopicId)],
) -> Result<Vec<Vec<TopicId>>, PublishError> {
    let mut faults = Vec::new();
    let mut topics = Vec::with_capacity(articles.len());
    for (index, (posted, _)) in articles.iter().enumerate() {
        let mut found = Vec::new();
        for slug in &posted.topics {
            match known.iter().find(|(known, _)| known == slug) {
                Some((_, id)) => found.push(*id),
                None => faults.push(Fault {
                    index,
                    field: "topics",
                    problem: format!("the newsletter has no topic {slug:?}"),
                }),
            }
        }
        topics.push(found);
    }
    if faults.is_empty() {
        Ok(topics)
    } else {
        Err(PublishError::Faults(faults))
    }
}

fn faults(articles: &[PostedArticle]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    for (index, article) in articles.iter().enumerate() {
        let mut fault = |field, problem: &str| {
            faults.push(Fault {
                index,
                field,
                problem: problem.to_owned(),
            });
        };
        let id = &article.external_id;
        if id.trim().is_empty() || id.len() > 500 || id.chars().any(char::is_control) {
            fault(
                "external_id",
                "must be 1 to 500 bytes without control characters",
            );
        } else if !seen.insert(id) {
            fault("external_id", "stands twice in this batch");
        }
        if text::one_line(&article.title).is_empty() {
            fault("title", "must not be empty");
        }
        if !is_web(&article.url) {
            fault(
                "url",
                "must be a whole http or https URL of at most 2,000 bytes",
            );
        }
        if article
            .image_url
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://") || !is_web(url))
        {
            fault(
                "image_url",
                "must be a whole https URL of at most 2,000 bytes",
            );
        }
    }
    faults
}

fn is_web(text: &str) -> bool {
    let url = Url::parse(text).ok().filter(|_| text.len() <= 2_000);
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn prepare(posted: PostedArticle) -> (PostedArticle, Prepared) {
    let image = posted.image_url.iter().map(|url| MediaImage {
        url: url.clone(),
        ..MediaImage::default()
    });
    let entry = Entry {
        guid: None,
        url: Url::parse(&posted.url).ok(),
        title: Markup::Plain(posted.title.clone()),
        summary: posted.summary.clone().map(Markup::Plain),
        content: posted.content_html.clone().map(Markup::Html),
        authors: posted.authors.clone(),
        categories: posted.categories.clone(),
        published_at: posted.published_at,
        images: image.collect(),
    };
    let mut keys = keys(&entry);
    keys.insert(0, Key::external(&posted.external_id));
    let prepared = Prepared {
        draft: draft(&entry),
        keys,
        entry,
    };
    (posted, prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(start: &str, bytes: usize) -> String {
        format!("{start:x<bytes$}")
    }

    #[test]
    fn what_cannot_be_posted_is_told_by_its_field() {
        let site = "https://site.example/";
        let good = PostedArticle {
            external_id: long("", 500),
            url: long(site, 2_000),
            title: "A title".to_owned(),
            image_url: Some(long(site, 2_000)),
            ..PostedArticle::default()
        };
        assert!(faults(std::slice::from_ref(&good)).is_empty());
        let mut wrong = Vec::new();
        for id in [
            String::new(),
            " ".to_owned(),
            "a\u{7}b".to_owned(),
            long("", 501),
        ] {
            let article = PostedArticle {
                external_id: id,
                ..good.clone()
            };
            wrong.push((article, "external_id"));
        }
        for url in [
            long(site, 2_001),
            "ftp://site.example/a".to_owned(),
            "/a".to_owned(),
        ] {
            let article = PostedArticle {
                url: url.clone(),
                ..good.clone()
            };
            wrong.push((article, "url"));
            let article = PostedArticle {
                image_url: Some(url),
                ..good.clone()
            };
            wrong.push((article, "image_url"));
        }
        for (article, field) in wrong {
            let found = faults(std::slice::from_ref(&article));
            let found: Vec<_> = found
                .iter()
                .map(|fault| (fault.index, fault.field))
                .collect();
            assert_eq!(found, [(0, field)], "{article:?}");
        }
    }
}
