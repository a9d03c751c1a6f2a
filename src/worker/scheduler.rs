//! The steps that time drives. Each may run twice, takes no input but the database, and says how much it did.

use futures_util::StreamExt as _;

use crate::app::App;
use crate::feeds::fetch::Fetcher;
use crate::feeds::refresh::{Refreshed, When, refresh};
use crate::feeds::{release, store};
use crate::id::FeedId;

/// Feeds that are read at a time.
const FEEDS_AT_ONCE: usize = 8;
/// Feeds that one step reads.
const FEEDS_PER_STEP: i64 = 100;

/// Reads the feeds whose next poll has come, and says how many were read or tried.
pub async fn poll_feeds_due(app: &App, fetcher: &Fetcher) -> sqlx::Result<usize> {
    let due = store::feeds_to_poll(&app.db, app.clock.now(), FEEDS_PER_STEP).await?;
    let polls = futures_util::stream::iter(due).map(|id| poll(app, fetcher, id));
    let polled: Vec<bool> = polls.buffer_unordered(FEEDS_AT_ONCE).collect().await;
    Ok(polled.into_iter().filter(|polled| *polled).count())
}

/// Numbers the articles whose cool-off is over, and says how many.
pub async fn release_due(app: &App) -> sqlx::Result<usize> {
    release::release_due(&app.db, app.clock.now()).await
}

/// Whether the feed was asked. One feed's trouble is not another's: a failing database is met again at the next.
async fn poll(app: &App, fetcher: &Fetcher, id: FeedId) -> bool {
    match refresh(app, fetcher, id, When::Due).await {
        Ok(Refreshed::Skipped) => false,
        Ok(Refreshed::Unchanged | Refreshed::Failed(_)) => true,
        Ok(Refreshed::Read(saved)) => {
            if saved.new > 0 {
                tracing::info!(feed.id = %id, new = saved.new, edited = saved.edited, "Feed {id} has {} new articles", saved.new);
            }
            true
        }
        Err(error) => {
            tracing::error!(feed.id = %id, error = %error, "Feed {id} was not saved");
            false
        }
    }
}
