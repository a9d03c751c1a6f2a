//! From a feed's address to entries that are ready to be stored: fetch, parse, make safe. Touches no database.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use url::Url;

use super::draft::{Draft, draft};
use super::entry::Entry;
use super::fetch::{Body, FetchError, Fetcher, Fresh, Request};
use super::identity::{Key, keys_of_poll};
use super::parse::{ParseError, parse};
use crate::clock::Timestamp;

/// An entry with its keys and its safe texts.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) entry: Entry,
    pub(crate) keys: Vec<Key>,
    pub(crate) draft: Draft,
}

/// What came of asking a feed.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` when nothing changed: 304, or the same bytes as last time.
    pub(crate) feed: Option<ReadFeed>,
    pub(crate) moved_to: Option<Url>,
    pub(crate) max_age: Option<Duration>,
    /// 200 or 304.
    pub(crate) status: u16,
}

/// A feed that was read.
#[derive(Debug)]
pub(crate) struct ReadFeed {
    pub(crate) title: String,
    /// Where entries without an address lead: the site, or the feed itself.
    pub(crate) home: String,
    /// Oldest first.
    pub(crate) entries: Vec<Prepared>,
    pub(crate) left_out: usize,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) body_hash: Vec<u8>,
}

/// Why a feed could not be read. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is no feed.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Reading it failed in a way that was not foreseen.
    #[error("reading the feed failed inside paperround; please report its address")]
    Crashed,
}

/// Asks the feed at `request.url`; `last_hash` is the hash of the body that was read last.
pub(crate) async fn read(
    fetcher: &Fetcher,
    request: Request<'_>,
    last_hash: Option<&[u8]>,
    now: Timestamp,
) -> Result<Answer, ReadError> {
    let response = fetcher.get(request, now).await?;
    let mut answer = Answer {
        feed: None,
        moved_to: response.moved_to,
        max_age: response.max_age,
        status: 304,
    };
    if let Fresh::Body(body) = response.content {
        answer.status = 200;
        let body_hash = digest(&SHA256, &body.bytes).as_ref().to_vec();
        if last_hash != Some(body_hash.as_slice()) {
            // Parsing and sanitising 20 MB takes a while.
            let prepared = tokio::task::spawn_blocking(move || prepare(body, body_hash)).await;
            answer.feed = Some(prepared.map_err(|_| ReadError::Crashed)??);
        }
    }
    Ok(answer)
}

impl ReadError {
    /// The HTTP status behind it, if there is one.
    pub(crate) fn status(&self) -> Option<i64> {
        match self {
            Self::Fetch(FetchError::Gone) => Some(410),
            Self::Fetch(FetchError::Status(status) | FetchError::Busy { status, .. }) => {
                Some((*status).into())
            }
            Self::Fetch(FetchError::NothingToCompare) => Some(304),
            Self::Parse(_) => Some(200),
            Self::Fetch(_) | Self::Crashed => None,
        }
    }
}

fn prepare(body: Body, body_hash: Vec<u8>) -> Result<ReadFeed, ParseError> {
    let parsed = parse(&body)?;
    let keys = keys_of_poll(&parsed.entries);
    let mut entries: Vec<Prepared> = parsed
        .entries
        .into_iter()
        .zip(keys)
        .map(|(entry, keys)| Prepared {
            draft: draft(&entry),
            keys,
            entry,
        })
        // Feeds list the newest first.
        .rev()
        .collect();
    entries.sort_by_key(|prepared| prepared.entry.published_at);
    Ok(ReadFeed {
        title: parsed.title,
        home: parsed.home.unwrap_or(body.url).into(),
        entries,
        left_out: parsed.left_out,
        etag: body.etag,
        last_modified: body.last_modified,
        body_hash,
    })
}
