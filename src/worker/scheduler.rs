//! The steps that time drives. Each may run twice, takes no input but the database, and says how much it did.

use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::app::App;
use crate::feeds::fetch::Fetcher;
use crate::feeds::refresh::{Refreshed, When, refresh};
use crate::feeds::refresh_newsletter::{BEFORE_ISSUE, refresh_newsletter};
use crate::feeds::{release, store};
use crate::id::FeedId;
use crate::issues::advance;
use crate::issues::compose::{self, ComposeError, Created};
use crate::issues::render::Renderer;
use crate::newsletters::slots;

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

/// Makes the issues whose slots have come, after a last reading of their feeds, and says how many slots were settled.
pub async fn make_issues_due(app: &App) -> sqlx::Result<usize> {
    let plan = slots::find(&app.db, app.clock.now()).await?;
    let settled = plan.missed.len() + plan.due.len();
    for slot in plan.missed {
        tracing::warn!(schedule.id = %slot.schedule.id, slot = slot.name, "Slot {} was missed", slot.name);
        slots::record_missed(&app.db, slot, app.clock.now()).await?;
    }
    for due in plan.due {
        let newsletter = due.newsletter_id;
        // typos mended and articles withdrawn since the last poll must not reach a reader
        refresh_newsletter(app, &app.fetcher, newsletter, BEFORE_ISSUE).await?;
        release_due(app).await?;
        match compose::create_due(app, due).await {
            Ok(Created::Issue(issue)) => tracing::info!(issue.id = %issue, "Issue {issue} is due"),
            Ok(Created::NothingNew) | Err(ComposeError::Settled) => {}
            Err(error) => {
                tracing::error!(newsletter.id = %newsletter, error = %error, "No issue could be made: {error}");
            }
        }
    }
    Ok(settled)
}

/// Takes every issue as far as it goes, and says how many steps were done.
pub async fn advance_issues(app: &App, renderer: &Arc<Renderer>) -> sqlx::Result<usize> {
    advance::advance(app, renderer).await
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
