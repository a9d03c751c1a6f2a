//! The last look before an issue: the feeds of its newsletter are read once more, and what is due is released.

use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Fetcher;
use super::refresh::{Refreshed, When, refresh};
use super::release::release_due;
use super::{Feed, store};
use crate::app::App;
use crate::id::{FeedId, NewsletterId};

/// How long the feeds of a newsletter may take together before its issue is composed without them.
pub const BEFORE_ISSUE: Duration = Duration::from_secs(20);

/// A feed that was not read: the issue goes without what is new there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which.
    pub id: FeedId,
    /// Its address.
    pub url: String,
    /// Why, for the operator.
    pub reason: String,
}

/// What every way to an issue begins with, by schedule or by hand: reads the newsletter's feeds, for `within` at most,
/// and releases the articles whose cool-off is over. Gives the feeds that the issue goes without.
pub async fn catch_up(
    app: &App,
    newsletter_id: NewsletterId,
    within: Duration,
) -> sqlx::Result<Vec<Unread>> {
    let unread = refresh_newsletter(app, &app.fetcher, newsletter_id, within).await?;
    for feed in &unread {
        tracing::info!(newsletter.id = %newsletter_id, feed.id = %feed.id, reason = feed.reason,
            "The issue goes without what is new in feed {}", feed.id);
    }
    release_due(&app.db, app.clock.now()).await?;
    Ok(unread)
}

/// Reads all feeds of a newsletter at once, for `within` at most, so that what was mended at the site is mended in the
/// issue. Feeds that fail or do not answer in time are polled again when they are due; they hold nothing up.
pub async fn refresh_newsletter(
    app: &App,
    fetcher: &Fetcher,
    newsletter_id: NewsletterId,
    within: Duration,
) -> sqlx::Result<Vec<Unread>> {
    let until = Instant::now() + within;
    let feeds = store::feeds_of(&app.db, newsletter_id).await?;
    let reads = feeds.into_iter().filter(|feed| !feed.paused);
    let reads = reads.map(|feed| read(app, fetcher, feed, until));
    let unread = futures_util::future::try_join_all(reads).await?;
    Ok(unread.into_iter().flatten().collect())
}

/// Reads one feed; what is missing then.
async fn read(
    app: &App,
    fetcher: &Fetcher,
    feed: Feed,
    until: Instant,
) -> sqlx::Result<Option<Unread>> {
    let reason = match refresh(app, fetcher, feed.id, When::NowUntil(until)).await? {
        Refreshed::Failed(reason) => reason,
        Refreshed::Skipped if Instant::now() >= until => {
            "another process was still reading it".to_owned()
        }
        Refreshed::Skipped | Refreshed::Unchanged | Refreshed::Read(_) => return Ok(None),
    };
    Ok(Some(Unread {
        id: feed.id,
        url: feed.url,
        reason,
    }))
}
