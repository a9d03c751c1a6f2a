//! Feeds and articles: fetch, parse, identify, sanitise, release.
//!
//! Everything that comes from a feed is hostile until parsed. A date never decides what is new: an article is known by
//! its keys, and gets its number when it is released. Reading in order: `guard` and `fetch` bring bytes, `parse` makes
//! entries of them, `identity` says which article each is, `draft` makes it safe, `save` stores it, `release` numbers it.

use std::time::Duration;

use url::Url;

use crate::clock::Timestamp;
use crate::id::{ArticleId, FeedId, NewsletterId};
use crate::text_enum;

mod html;
mod http_headers;
pub(crate) mod text;
mod xml_scan;

pub mod guard;

pub mod fetch;

pub mod discover;
pub mod entry;
pub mod parse;

pub mod identity;

pub mod draft;
pub mod image;
pub mod sanitize;

pub mod topics;

mod next_poll;
mod read;
mod save;
pub mod store;

pub mod add;
pub mod publish;
pub mod refresh;
pub mod refresh_newsletter;
pub mod release;
pub mod topic_rules;

/// A polled RSS, Atom or JSON feed of a newsletter.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Feed {
    /// Its id.
    pub id: FeedId,
    /// Whose feed it is.
    pub newsletter_id: NewsletterId,
    /// Where it is fetched: http or https. Unique within the newsletter.
    pub url: String,
    /// Its own title.
    pub title: Option<String>,
    /// `ETag` of what was read last, byte for byte.
    pub etag: Option<String>,
    /// `Last-Modified` of what was read last, byte for byte.
    pub last_modified: Option<String>,
    /// When it is due.
    pub next_poll_at: Timestamp,
    /// Seconds between polls when all is well.
    pub poll_interval: i64,
    /// Seconds between the first sight of an article and its release.
    pub cool_off: i64,
    /// Failures since the last success.
    pub failures: i64,
    /// The last failure, for the operator; `None` after a success.
    pub last_error: Option<String>,
    /// The last HTTP status, where there was one.
    pub last_status: Option<i64>,
    /// When it was last asked.
    pub last_polled_at: Option<Timestamp>,
    /// When it was first read. What stood in it then is never news.
    pub activated_at: Option<Timestamp>,
    /// Whether it is left alone.
    pub paused: bool,
    /// Why.
    pub paused_reason: Option<String>,
    /// SHA-256 of what was read last.
    pub body_hash: Option<Vec<u8>>,
    /// Where a permanent redirect led last time.
    pub moved_to: Option<String>,
    /// How often in a row it led there.
    pub moved_seen: i64,
}

impl Feed {
    /// The time between polls when all is well.
    pub fn poll_interval(&self) -> Duration {
        seconds(self.poll_interval)
    }

    /// The time between the first sight of an article and its release, in which typing errors can be mended.
    pub fn cool_off(&self) -> Duration {
        seconds(self.cool_off)
    }
}

text_enum! {
    /// Where an article stands.
    pub enum ArticleState {
        /// Was in the feed when it was first read, or was dismissed: never news.
        Known = "known",
        /// Will be released at `release_at`.
        Waiting = "waiting",
        /// Waits for an operator.
        Held = "held",
        /// Released, with a number.
        Ready = "ready",
        /// Taken back by the site.
        Withdrawn = "withdrawn",
    }
}

/// One entry of a feed, or one posted. All texts are safe to show in templates that escape.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Article {
    /// Its id.
    pub id: ArticleId,
    /// Whose article it is.
    pub newsletter_id: NewsletterId,
    /// The feed that brought it; `None` for one that was posted.
    pub feed_id: Option<FeedId>,
    /// Its number: given at release, rising within the newsletter, never given twice.
    pub seq: Option<i64>,
    /// Where it stands.
    pub state: ArticleState,
    /// Why it is held, for the operator.
    pub held_reason: Option<String>,
    /// Its address: http or https.
    pub url: String,
    /// One line, never empty.
    pub title: String,
    /// One line of about 280 characters; may be empty.
    pub summary: String,
    /// Sanitised HTML; may be empty.
    pub content_html: String,
    /// One line.
    pub author: Option<String>,
    /// Its picture: absolute, https.
    pub image_url: Option<String>,
    /// In pixels.
    pub image_width: Option<i64>,
    /// In pixels.
    pub image_height: Option<i64>,
    /// What the picture shows.
    pub image_alt: Option<String>,
    /// When it was published, by its own account. Orders and labels, and decides nothing.
    pub published_at: Option<Timestamp>,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// When it is released, while waiting.
    pub release_at: Option<Timestamp>,
    /// When it was released.
    pub released_at: Option<Timestamp>,
    /// When its texts changed last.
    pub updated_at: Timestamp,
    /// Hash of its texts.
    pub content_hash: Vec<u8>,
}

/// Reads an address that a person typed: `https://` is understood.
pub(crate) fn typed_url(text: &str) -> Option<Url> {
    let text = text.trim();
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url = Url::parse(&whole).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.host().is_some()).then_some(url)
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}
