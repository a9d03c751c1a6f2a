//! Reading a feed again: claim, ask, identify, save, decide when to ask next.
//!
//! The claim moves `next_poll_at` before anything is fetched, so that a feed that brings the process down is not asked
//! again at once. Validators and next poll are recorded after the entries: a poll that dies half-way is repeated.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use url::Url;

use super::fetch::{FetchError, Fetcher, Request};
use super::next_poll::{after_failure, after_success};
use super::read::{Answer, Prepared, ReadError, read};
use super::release::Beginning;
use super::save::{Destination, Saved, save};
use super::{Feed, store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{FeedId, Ids, random_bytes};

/// While a feed is being read, nobody else reads it. Longer than a fetch may take.
pub(crate) const CLAIM: Duration = Duration::from_mins(5);
/// How long who wants to read a feed now waits for somebody else's reading.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether the other is done, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// A permanent redirect is believed when it was seen this often.
const MOVED_FOR_GOOD: i64 = 3;
/// Entries that one transaction saves.
const CHUNK: usize = 100;

/// Which feeds are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Those whose next poll has come.
    Due,
    /// Any that is not paused: because an operator says so.
    Now,
    /// The same before an issue is composed, which goes without it if the site has not answered by then.
    NowUntil(Instant),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// Paused, not due, gone, or changed by an operator meanwhile.
    Skipped,
    /// Nothing changed at the site.
    Unchanged,
    /// It was read.
    Read(Saved),
    /// It could not be read; its articles stay. The text is for the operator.
    Failed(String),
}

/// Reads the feed `id` again.
pub async fn refresh(
    app: &App,
    fetcher: &Fetcher,
    id: FeedId,
    when: When,
) -> sqlx::Result<Refreshed> {
    let Some(feed) = claim(app, id, when).await? else {
        return Ok(Refreshed::Skipped);
    };
    let asked = ask(fetcher, &feed, app.clock.now());
    let outcome = match when {
        When::Due | When::Now => asked.await,
        When::NowUntil(until) => match timeout_at(until, asked).await {
            Ok(outcome) => outcome,
            Err(_late) => {
                leave(app, id).await?;
                return Ok(Refreshed::Failed("it did not answer in time".to_owned()));
            }
        },
    };
    let now = app.clock.now();
    let refreshed = match outcome {
        Ok(answer) => record(app, feed, answer, now).await?,
        Err(error) => {
            let [random] = random_bytes::<1>(&*app.entropy);
            fail(app, feed, &error, random, now).await?
        }
    };
    if refreshed == Refreshed::Skipped {
        leave(app, id).await?;
    }
    Ok(refreshed)
}

/// Gives a claimed feed back: others need not wait for the claim's end.
async fn leave(app: &App, id: FeedId) -> sqlx::Result<()> {
    app.db
        .write(move |tx| Box::pin(async move { store::leave(tx, id).await }))
        .await
}

/// Takes the feed. Where another process is reading it, what is due is left to that one; who wants it now waits for the
/// other's end, and is content with what it found.
async fn claim(app: &App, id: FeedId, when: When) -> sqlx::Result<Option<Feed>> {
    let patience = match when {
        When::Due => None,
        When::Now => Some(Instant::now() + PATIENCE),
        When::NowUntil(until) => Some(until),
    };
    let (mut now, mut wait) = (app.clock.now(), LOOK_AGAIN.0);
    let far = now + Duration::from_hours(24 * 365);
    let (asked_at, mut unread_since) = (now, far);
    loop {
        let due_by = match when {
            When::Due => now,
            When::Now | When::NowUntil(_) => far,
        };
        let claim = store::Claim {
            id,
            now,
            until: now + CLAIM,
            due_by,
            unread_since,
        };
        let claimed = app
            .db
            .write(move |tx| Box::pin(async move { store::claim(tx, claim).await }))
            .await?;
        let waits = patience.is_some_and(|until| Instant::now() < until);
        if claimed.is_some() || !waits || !store::is_being_read(&app.db, id, now).await? {
            return Ok(claimed);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK_AGAIN.1);
        (now, unread_since) = (app.clock.now(), asked_at);
    }
}

async fn ask(fetcher: &Fetcher, feed: &Feed, now: Timestamp) -> Result<Answer, ReadError> {
    let url = Url::parse(&feed.url).map_err(|_| FetchError::BadRedirect)?;
    let request = Request {
        url: &url,
        etag: feed.etag.as_deref(),
        last_modified: feed.last_modified.as_deref(),
    };
    read(fetcher, request, feed.body_hash.as_deref(), now).await
}

/// Saves what a poll of `asked` found. Used by the first read as well.
///
/// Entries are saved in chunks, so that a large feed does not keep other writers waiting. The feed's own row comes last:
/// a poll that dies before is repeated, and finds the entries that were saved to be nothing new.
pub(crate) async fn record(
    app: &App,
    asked: Feed,
    answer: Answer,
    now: Timestamp,
) -> sqlx::Result<Refreshed> {
    let mut feed = asked.clone();
    feed.next_poll_at = after_success(now, feed.poll_interval(), answer.max_age);
    feed.last_polled_at = Some(now);
    feed.last_status = Some(answer.status.into());
    let mut saved = None;
    if let Some(read) = answer.feed {
        let Some(counts) = save_entries(app, &asked, read.home, read.entries, now).await? else {
            return Ok(Refreshed::Skipped);
        };
        saved = Some(counts);
        feed.activated_at = feed.activated_at.or(Some(now));
        feed.title = Some(read.title)
            .filter(|title| !title.is_empty())
            .or(feed.title);
        feed.etag = read.etag;
        feed.last_modified = read.last_modified;
        feed.body_hash = Some(read.body_hash);
        if read.left_out > 0 {
            tracing::warn!(feed.id = %feed.id, left_out = read.left_out, "Feed {} has more entries than are looked at", feed.id);
        }
    }
    let recorded = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                if !is_as_asked(tx, &asked).await? {
                    return Ok(false);
                }
                follow_move(tx, &mut feed, answer.moved_to.as_ref()).await?;
                store::record(tx, &feed, &asked.url).await?;
                Ok::<_, sqlx::Error>(true)
            })
        })
        .await?;
    Ok(match (recorded, saved) {
        (false, _) => Refreshed::Skipped,
        (true, None) => Refreshed::Unchanged,
        (true, Some(saved)) => Refreshed::Read(saved),
    })
}

/// Saves the entries of one poll; `None` when the feed was changed or paused meanwhile.
async fn save_entries(
    app: &App,
    asked: &Feed,
    home: String,
    entries: Vec<Prepared>,
    now: Timestamp,
) -> sqlx::Result<Option<Saved>> {
    let mut saved = Saved::default();
    let mut entries = entries.into_iter().enumerate().peekable();
    while entries.peek().is_some() {
        let chunk: Vec<_> = entries.by_ref().take(CHUNK).collect();
        let (asked, home, ids) = (asked.clone(), home.clone(), app.ids.clone());
        let counts = app
            .db
            .write(move |tx| {
                Box::pin(async move { save_chunk(tx, &asked, home, ids, &chunk, now).await })
            })
            .await?;
        match counts {
            Some(counts) => saved += counts,
            None => return Ok(None),
        }
    }
    Ok(Some(saved))
}

async fn save_chunk(
    tx: &mut Tx<'_>,
    asked: &Feed,
    home: String,
    ids: Ids,
    chunk: &[(usize, Prepared)],
    now: Timestamp,
) -> sqlx::Result<Option<Saved>> {
    if !is_as_asked(tx, asked).await? {
        return Ok(None);
    }
    let to = Destination {
        newsletter_id: asked.newsletter_id,
        feed_id: Some(asked.id),
        home,
        rules: store::rules_of(tx, asked.newsletter_id).await?,
        ids,
        now,
    };
    let mut saved = Saved::default();
    for (order, entry) in chunk {
        let beginning = match asked.activated_at {
            Some(_) => Beginning::of_news(now, asked.cool_off(), entry.draft.published_at),
            None => Beginning::KNOWN,
        };
        let (_, change) = save(tx, &to, entry, *order, beginning, &[]).await?;
        saved.count(change);
    }
    Ok(Some(saved))
}

/// Locks the newsletter, and looks whether the feed is still the one that was asked: an operator may have given it
/// another address or paused it, another poll may have read it for the first time.
async fn is_as_asked(tx: &mut Tx<'_>, asked: &Feed) -> sqlx::Result<bool> {
    store::lock_newsletter(tx, asked.newsletter_id).await?;
    let stored = store::feed_in(tx, asked.id).await?;
    Ok(stored.is_some_and(|feed| {
        feed.url == asked.url && !feed.paused && feed.activated_at == asked.activated_at
    }))
}

/// Counts a permanent redirect, and believes it when it was seen often enough and no other feed of the newsletter has
/// that address.
async fn follow_move(tx: &mut Tx<'_>, feed: &mut Feed, moved_to: Option<&Url>) -> sqlx::Result<()> {
    let target = moved_to.map(ToString::to_string);
    feed.moved_seen = match &target {
        Some(_) if feed.moved_to == target => feed.moved_seen + 1,
        Some(_) => 1,
        None => 0,
    };
    feed.moved_to = target;
    let Some(target) = feed
        .moved_to
        .clone()
        .filter(|_| feed.moved_seen >= MOVED_FOR_GOOD)
    else {
        return Ok(());
    };
    if !store::url_is_taken(tx, feed.newsletter_id, &target).await? {
        tracing::info!(feed.id = %feed.id, "Feed {} has moved for good", feed.id);
        feed.url = target;
        feed.moved_to = None;
        feed.moved_seen = 0;
    }
    Ok(())
}

async fn fail(
    app: &App,
    feed: Feed,
    error: &ReadError,
    random: u8,
    now: Timestamp,
) -> sqlx::Result<Refreshed> {
    let text = error.to_string();
    let gone = matches!(error, ReadError::Fetch(FetchError::Gone));
    let retry_after = match error {
        ReadError::Fetch(FetchError::Busy { retry_after, .. }) => *retry_after,
        ReadError::Fetch(_) | ReadError::Parse(_) | ReadError::Crashed => None,
    };
    let next = after_failure(
        now,
        feed.poll_interval(),
        feed.failures + 1,
        retry_after,
        random,
    );
    tracing::warn!(feed.id = %feed.id, failures = feed.failures + 1, error = %text, "Feed {} cannot be read", feed.id);
    let (reason, status) = (text.clone(), error.status());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::fail(tx, &feed, &reason, status, now, next).await?;
                if gone {
                    store::pause(tx, feed.id, &reason).await?;
                }
                Ok::<_, sqlx::Error>(())
            })
        })
        .await?;
    Ok(Refreshed::Failed(text))
}
