//! The second reading: the feeds of a newsletter once more before its issue is composed.

use std::time::Duration;

use super::fetch::Fetcher;
use super::refresh::{When, refresh};
use super::store;
use crate::app::App;
use crate::id::NewsletterId;

/// How long the feeds of a newsletter may take together before its issue is composed without them.
pub const BEFORE_ISSUE: Duration = Duration::from_secs(20);

/// Reads all feeds of a newsletter at once, for `within` at most, so that what was mended at the site is mended in the
/// issue. Feeds that fail or do not answer in time are polled again when they are due; they hold nothing up.
pub async fn refresh_newsletter(
    app: &App,
    fetcher: &Fetcher,
    newsletter_id: NewsletterId,
    within: Duration,
) -> sqlx::Result<()> {
    let feeds = store::feeds_of(&app.db, newsletter_id).await?;
    let reads = feeds.iter().filter(|feed| !feed.paused);
    let reads = reads.map(|feed| refresh(app, fetcher, feed.id, When::Now));
    let all = futures_util::future::try_join_all(reads);
    if let Ok(read) = tokio::time::timeout(within, all).await {
        return read.map(drop);
    }
    tracing::warn!(newsletter.id = %newsletter_id, "Not all feeds of newsletter {newsletter_id} answered before its issue");
    Ok(())
}
