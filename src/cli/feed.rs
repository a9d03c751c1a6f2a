//! `paperround feed`: where articles come from.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::schedule::span;
use super::table::Table;
use super::when::minute;
use crate::app::App;
use crate::feeds::add::{self, AddError, FeedOptions};
use crate::feeds::refresh::{Refreshed, When, refresh};
use crate::feeds::{Feed, store};
use crate::newsletters::Newsletter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a feed, by its own address or by the site's; nothing that stands in it now is mailed
    Add(AddArgs),
    /// Print a newsletter's feeds
    List(Which),
    /// Read a newsletter's feeds now
    Refresh(Which),
    /// Leave a feed alone; its articles stay
    Pause {
        #[command(flatten)]
        one: One,
        /// Why, for whoever looks at it later
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Read a paused feed again
    Resume(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
}

/// One feed.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Its address, as `feed list` prints it
    url: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The feed's address, or the site's
    url: String,
    #[command(flatten)]
    which: Which,
    /// How often it is read
    #[arg(long, value_parser = span, default_value = "15m")]
    interval: Duration,
    /// How long an article waits before it is released, so that typing errors can be mended
    #[arg(long, value_parser = span, default_value = "10m")]
    cool_off: Duration,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let code = match command {
        Command::Add(args) => add(&app, args, context).await?,
        Command::List(which) => list(&app, &which, context).await?,
        Command::Refresh(which) => refresh_all(&app, &which, context).await?,
        Command::Pause { one, reason } => pause(&app, &one, reason, context).await?,
        Command::Resume(one) => resume(&app, &one, context).await?,
    };
    app.db.close().await;
    Ok(code)
}

async fn add(app: &App, args: AddArgs, context: &Context) -> anyhow::Result<Code> {
    let newsletter = context
        .newsletter(app, args.which.newsletter.as_deref())
        .await?;
    let options = FeedOptions {
        poll_interval: args.interval,
        cool_off: args.cool_off,
    };
    let added = add::add(app, &app.fetcher, newsletter.id, &args.url, options)
        .await
        .map_err(explain)?;
    if context.terminal.json {
        context.terminal.json(&shown(&added.feed))?;
    }
    let title = added
        .feed
        .title
        .as_deref()
        .unwrap_or("a feed without a title");
    context
        .terminal
        .say(&format!("Added {title}: {}", added.feed.url));
    context.terminal.say(&format!(
        "It has {} articles now. They are known, so none of them is mailed; what appears from now on is.",
        added.known
    ));
    context.terminal.say(&format!(
        "Next: paperround schedule next {}",
        newsletter.slug
    ));
    Ok(Code::Done)
}

async fn list(app: &App, which: &Which, context: &Context) -> anyhow::Result<Code> {
    let newsletter = context.newsletter(app, which.newsletter.as_deref()).await?;
    let feeds = store::feeds_of(&app.db, newsletter.id)
        .await
        .context("cannot read the feeds")?;
    if context.terminal.json {
        context
            .terminal
            .json(&feeds.iter().map(shown).collect::<Vec<_>>())?;
    } else if feeds.is_empty() {
        context
            .terminal
            .say("There is no feed yet. Next: paperround feed add https://www.example.org/");
    } else {
        let mut table = Table::new(&["url", "title", "last read", "next", "state"]);
        for feed in feeds {
            let state = state(&feed);
            table.row([
                feed.url,
                feed.title.unwrap_or_default(),
                feed.last_polled_at
                    .map_or_else(|| "never".to_owned(), minute),
                minute(feed.next_poll_at),
                state,
            ]);
        }
        context.terminal.data(&table.text())?;
    }
    Ok(Code::Done)
}

async fn refresh_all(app: &App, which: &Which, context: &Context) -> anyhow::Result<Code> {
    let newsletter = context.newsletter(app, which.newsletter.as_deref()).await?;
    let feeds = store::feeds_of(&app.db, newsletter.id)
        .await
        .context("cannot read the feeds")?;
    let mut code = Code::Done;
    for feed in feeds {
        let words = match refresh(app, &app.fetcher, feed.id, When::Now).await? {
            Refreshed::Skipped => "is paused, or is being read at this moment".to_owned(),
            Refreshed::Unchanged => "has not changed".to_owned(),
            Refreshed::Read(saved) => format!("{} new, {} edited", saved.new, saved.edited),
            Refreshed::Failed(reason) => {
                code = Code::Failed;
                format!("could not be read: {reason}")
            }
        };
        context.terminal.say(&format!("{}: {words}", feed.url));
    }
    Ok(code)
}

async fn pause(app: &App, one: &One, reason: String, context: &Context) -> anyhow::Result<Code> {
    let newsletter = context
        .newsletter(app, one.which.newsletter.as_deref())
        .await?;
    let feed = find(app, &newsletter, &one.url).await?;
    let paused = app
        .db
        .write(move |tx| Box::pin(async move { store::pause(tx, feed.id, &reason).await }))
        .await
        .context("cannot pause the feed")?;
    if !paused {
        return Err(Refused(format!("{} is paused already", feed.url)).into());
    }
    context.terminal.say(&format!(
        "{url} is not read any more. Next: paperround feed resume {url}",
        url = feed.url
    ));
    Ok(Code::Done)
}

async fn resume(app: &App, one: &One, context: &Context) -> anyhow::Result<Code> {
    let newsletter = context
        .newsletter(app, one.which.newsletter.as_deref())
        .await?;
    let feed = find(app, &newsletter, &one.url).await?;
    let now = app.clock.now();
    let resumed = app
        .db
        .write(move |tx| Box::pin(async move { store::resume(tx, feed.id, now).await }))
        .await
        .context("cannot resume the feed")?;
    if !resumed {
        return Err(Refused(format!("{} was not paused", feed.url)).into());
    }
    context.terminal.say(&format!(
        "The running service reads {} again. To see at once whether it answers: paperround feed refresh",
        feed.url
    ));
    Ok(Code::Done)
}

/// The feed of `newsletter` at this address.
pub(super) async fn find(app: &App, newsletter: &Newsletter, url: &str) -> anyhow::Result<Feed> {
    let feeds = store::feeds_of(&app.db, newsletter.id)
        .await
        .context("cannot read the feeds")?;
    feeds
        .into_iter()
        .find(|feed| feed.url == url)
        .ok_or_else(|| {
            UsageError(format!(
                "{} has no feed {url}: `paperround feed list` prints their addresses",
                newsletter.slug
            ))
            .into()
        })
}

fn explain(error: AddError) -> anyhow::Error {
    match error {
        AddError::Choose(candidates) => {
            let lines = candidates
                .iter()
                .map(|candidate| format!("\n  paperround feed add {}", candidate.url));
            UsageError(format!(
                "the page names several feeds; choose one:{}",
                lines.collect::<String>()
            ))
            .into()
        }
        AddError::NotAnAddress(_) => UsageError(error.to_string()).into(),
        AddError::AlreadyThere(_) | AddError::NoNewsletter => Refused(error.to_string()).into(),
        AddError::Unreadable(..) => anyhow::anyhow!(error.to_string()),
        AddError::Db(error) => anyhow::Error::from(error).context("cannot store it"),
    }
}

fn state(feed: &Feed) -> String {
    match (&feed.paused_reason, &feed.last_error) {
        (reason, _) if feed.paused => {
            format!("paused: {}", reason.as_deref().unwrap_or("by an operator"))
        }
        (_, Some(error)) => format!("failing ({}): {error}", feed.failures),
        (_, None) => "ok".to_owned(),
    }
}

fn shown(feed: &Feed) -> serde_json::Value {
    serde_json::json!({
        "id": feed.id,
        "url": feed.url,
        "title": feed.title,
        "interval_seconds": feed.poll_interval,
        "cool_off_seconds": feed.cool_off,
        "next_poll_at": feed.next_poll_at,
        "last_polled_at": feed.last_polled_at,
        "last_status": feed.last_status,
        "last_error": feed.last_error,
        "failures": feed.failures,
        "paused": feed.paused,
        "paused_reason": feed.paused_reason,
    })
}
