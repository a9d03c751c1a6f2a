//! The steps that time drives. Each may run twice, takes no input but the database, and says how much it did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};

use crate::app::App;
use crate::feeds::fetch::Fetcher;
use crate::feeds::refresh::{Refreshed, When, refresh};
use crate::feeds::refresh_newsletter::{BEFORE_ISSUE, catch_up};
use crate::feeds::{release, store};
use crate::id::{FeedId, NewsletterId};
use crate::issues::advance;
use crate::issues::compose::{self, ComposeError, Created};
use crate::issues::render::Renderer;
use crate::newsletters::slots::{self, DueIssue};

/// Feeds that are read at a time.
const FEEDS_AT_ONCE: usize = 8;
/// Feeds that one step reads.
const FEEDS_PER_STEP: i64 = 100;
/// Issues that are made at a time: most of it is waiting for feeds.
const ISSUES_AT_ONCE: usize = 16;

/// Reads feeds whenever their next poll has come, until it is dropped. One that takes its time holds up no other, and
/// nothing else: it has its place to itself. The claim in the database keeps it from being read twice at a time.
pub async fn poll_feeds(app: &App) {
    let (mut ticks, mut waiting, mut polls) = (
        super::ticks(super::TICK),
        VecDeque::new(),
        FuturesUnordered::new(),
    );
    loop {
        while polls.len() < FEEDS_AT_ONCE
            && let Some(id) = waiting.pop_front()
        {
            polls.push(poll(app, &app.fetcher, id));
        }
        tokio::select! {
            Some(_) = polls.next() => {}
            _ = ticks.tick(), if waiting.is_empty() && polls.len() < FEEDS_AT_ONCE => {
                match feeds_due(app).await {
                    Ok(due) => waiting.extend(due),
                    Err(error) => {
                        tracing::error!(error = %error, "Feeds cannot be looked for now; the next look is in a second");
                    }
                }
            }
        }
    }
}

/// Reads the feeds whose next poll has come, waits for all of them, and says how many were read or tried.
pub async fn poll_feeds_due(app: &App, fetcher: &Fetcher) -> sqlx::Result<usize> {
    let polls = stream::iter(feeds_due(app).await?).map(|id| poll(app, fetcher, id));
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
    let mut of_each: BTreeMap<NewsletterId, Vec<DueIssue>> = BTreeMap::new();
    for due in plan.due {
        of_each.entry(due.newsletter_id).or_default().push(due);
    }
    // the feeds of one newsletter do not hold up the issue of another
    let made = stream::iter(of_each.into_values()).map(|due| make_issues(app, due));
    let made: Vec<sqlx::Result<()>> = made.buffer_unordered(ISSUES_AT_ONCE).collect().await;
    made.into_iter().collect::<sqlx::Result<()>>()?;
    Ok(settled)
}

/// One newsletter's, the oldest first: a slot behind one that was settled is never found again.
async fn make_issues(app: &App, due: Vec<DueIssue>) -> sqlx::Result<()> {
    for due in due {
        if !make_issue(app, due).await? {
            break;
        }
    }
    Ok(())
}

/// Whether its slots are settled.
async fn make_issue(app: &App, due: DueIssue) -> sqlx::Result<bool> {
    let newsletter = due.newsletter_id;
    // typos mended and articles withdrawn since the last poll must not reach a reader
    catch_up(app, newsletter, BEFORE_ISSUE).await?;
    match compose::create_due(app, due).await {
        Ok(Created::Issue(issue)) => tracing::info!(issue.id = %issue, "Issue {issue} is due"),
        Ok(Created::NothingNew) | Err(ComposeError::Settled) => {}
        Err(error) => {
            tracing::error!(newsletter.id = %newsletter, error = %error, "No issue could be made: {error}");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes every issue as far as it goes, and says how many steps were done.
pub async fn advance_issues(app: &App, renderer: &Arc<Renderer>) -> sqlx::Result<usize> {
    advance::advance(app, renderer).await
}

async fn feeds_due(app: &App) -> sqlx::Result<Vec<FeedId>> {
    store::feeds_to_poll(&app.db, app.clock.now(), FEEDS_PER_STEP).await
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
