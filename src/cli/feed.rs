//! `paperround feed`: where articles come from.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::schedule::span;
use super::table::Table;
use crate::app::App;
use crate::feeds::add::{self, AddError, FeedOptions};
use crate::feeds::refresh::{Refreshed, When, refresh};
use crate::feeds::{Feed, store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a feed, by its own address or by the site's; nothing that stands in it now is mailed
    Add(AddArgs),
    /// Print a newsletter's feeds
    List(Which),
    /// Read a newsletter's feeds now
    Refresh(Which),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
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

/// An instant to the minute, in UTC.
fn minute(at: crate::clock::Timestamp) -> String {
    at.in_zone(jiff::tz::TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M UTC")
        .to_string()
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
