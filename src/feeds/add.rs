//! Adding a feed to a newsletter: the operator gives a feed's address or the site's.

use std::time::Duration;

use url::Url;

use super::discover::Candidate;
use super::fetch::{Fetcher, Request};
use super::parse::ParseError;
use super::read::{Answer, ReadError, read};
use super::refresh::{CLAIM, Refreshed, record};
use super::{Feed, store, typed_url};
use crate::app::App;
use crate::clock::Timestamp;
use crate::id::NewsletterId;

/// How a feed is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedOptions {
    /// Between polls when all is well.
    pub poll_interval: Duration,
    /// Between the first sight of an article and its release.
    pub cool_off: Duration,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_mins(15),
            cool_off: Duration::from_mins(10),
        }
    }
}

/// A feed that was added and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The feed.
    pub feed: Feed,
    /// The entries that it has, none of which is news.
    pub known: usize,
}

/// Why a feed was not added. Nothing is stored then.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Not an address.
    #[error(
        "{0:?} is not an address that can be fetched; give one such as https://example.org/feed/"
    )]
    NotAnAddress(String),
    /// There is no such newsletter.
    #[error("there is no such newsletter")]
    NoNewsletter,
    /// The newsletter has this feed.
    #[error("the newsletter has this feed already: {0}")]
    AlreadyThere(Url),
    /// The page names several feeds: the operator must choose.
    #[error("the page names several feeds; give the address of one of them")]
    Choose(Vec<Candidate>),
    /// The feed could not be read.
    #[error("{0}: {1}")]
    Unreadable(Url, #[source] ReadError),
    /// The database answered an error.
    #[error("the database cannot be used")]
    Db(#[from] sqlx::Error),
}

/// Adds the feed at `address`, or the one that the page at `address` names, and reads it. What stands in it is no news.
pub async fn add(
    app: &App,
    fetcher: &Fetcher,
    newsletter_id: NewsletterId,
    address: &str,
    options: FeedOptions,
) -> Result<Added, AddError> {
    let url = typed_url(address).ok_or_else(|| AddError::NotAnAddress(address.to_owned()))?;
    let (url, answer) = find(fetcher, url, app.clock.now()).await?;
    let now = app.clock.now();
    let feed = Feed {
        id: app.ids.next(),
        newsletter_id,
        url: url.to_string(),
        title: None,
        etag: None,
        last_modified: None,
        next_poll_at: now + CLAIM,
        poll_interval: whole_seconds(options.poll_interval),
        cool_off: whole_seconds(options.cool_off),
        failures: 0,
        last_error: None,
        last_status: None,
        last_polled_at: None,
        activated_at: None,
        paused: false,
        paused_reason: None,
        body_hash: None,
        moved_to: None,
        moved_seen: 0,
    };
    let new = feed.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if !store::lock_newsletter(tx, newsletter_id).await? {
                    return Err(AddError::NoNewsletter);
                }
                if !store::insert_feed(tx, &new).await? {
                    return Err(AddError::AlreadyThere(url));
                }
                Ok(())
            })
        })
        .await?;
    let id = feed.id;
    // Should this die half-way, the feed's first poll does the rest.
    let known = match record(app, feed, answer, now).await? {
        Refreshed::Read(saved) => saved.new,
        Refreshed::Skipped | Refreshed::Unchanged | Refreshed::Failed(_) => 0,
    };
    let feed = store::feed(&app.db, id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    Ok(Added { feed, known })
}

/// Reads the feed at `url`, or the only one that the page there names.
async fn find(fetcher: &Fetcher, url: Url, now: Timestamp) -> Result<(Url, Answer), AddError> {
    let error = match ask(fetcher, &url, now).await {
        Ok(answer) => return Ok((moved(url, &answer), answer)),
        Err(error) => error,
    };
    let ReadError::Parse(ParseError::Html(candidates)) = error else {
        return Err(AddError::Unreadable(url, error));
    };
    // WordPress names the comments' feed beside the articles'.
    let articles: Vec<_> = candidates
        .iter()
        .filter(|candidate| !is_comments(candidate))
        .collect();
    let chosen = match articles.as_slice() {
        [one] => one.url.clone(),
        [] => {
            return Err(AddError::Unreadable(
                url,
                ParseError::Html(candidates).into(),
            ));
        }
        [..] => return Err(AddError::Choose(candidates)),
    };
    match ask(fetcher, &chosen, now).await {
        Ok(answer) => Ok((moved(chosen, &answer), answer)),
        Err(error) => Err(AddError::Unreadable(chosen, error)),
    }
}

async fn ask(fetcher: &Fetcher, url: &Url, now: Timestamp) -> Result<Answer, ReadError> {
    let request = Request {
        url,
        etag: None,
        last_modified: None,
    };
    read(fetcher, request, None, now).await
}

/// A feed that has moved for good is added at its new address.
fn moved(url: Url, answer: &Answer) -> Url {
    answer.moved_to.clone().unwrap_or(url)
}

fn is_comments(candidate: &Candidate) -> bool {
    candidate
        .url
        .path()
        .trim_end_matches('/')
        .ends_with("/comments/feed")
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
