//! `paperround schedule`: when issues are due.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, UsageError};
use super::newsletter::{explain, usual_days};
use super::table::Table;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::parse_duration;
use crate::newsletters::add::{self, NewSchedule};
use crate::newsletters::schedule::{LocalTime, Zone};
use crate::newsletters::upcoming::{Upcoming, upcoming};
use crate::newsletters::{Cadence, Calendar, Days, Missed, Mode, Schedule, store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a schedule; its first issue is due at its next slot
    Add(AddArgs),
    /// Print a newsletter's schedules
    List(Which),
    /// Print the next times at which issues are due
    Next {
        #[command(flatten)]
        which: Which,
        /// How many
        #[arg(long, default_value_t = 5)]
        count: usize,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which newsletter [default: the only one]
    newsletter: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    which: Which,
    /// Whose interests it serves: immediate, daily, weekly or monthly
    #[arg(long)]
    cadence: Cadence,
    /// Local time
    #[arg(long, value_name = "HH:MM", default_value = "07:00")]
    at: LocalTime,
    /// Days: all, or mon,thu, or 1,15,last [default: all; mon for weekly; 1 for monthly]
    #[arg(long)]
    days: Option<Days>,
    /// Time zone [default: the newsletter's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<Zone>,
    /// Compose issues and leave them to an operator to release
    #[arg(long)]
    draft: bool,
    /// Fewer articles wait for the next slot
    #[arg(long, default_value_t = 1)]
    min_articles: u32,
    /// Articles with picture and summary; the rest are headlines
    #[arg(long, default_value_t = add::MAX_CARDS)]
    max_cards: u32,
    /// At least so long between two immediate issues
    #[arg(long, value_parser = span, default_value = "30m")]
    min_interval: Duration,
    /// After a time when the service was down: latest (one issue), all, or none
    #[arg(long, default_value_t = Missed::Latest)]
    missed: Missed,
    /// No issue that is later than this
    #[arg(long, value_parser = span, default_value = "12h")]
    max_lateness: Duration,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::Add(args) => add(&app, args, context).await?,
        Command::List(which) => list(&app, &which, context).await?,
        Command::Next { which, count } => {
            let schedules = schedules(&app, &which, context).await?;
            let now = app.clock.now();
            let next = upcoming(&schedules, now, count);
            if context.terminal.json {
                let shown = next.iter().map(|next| {
                    serde_json::json!({ "at": next.at, "zone": next.zone.name(), "cadences": next.cadences })
                });
                context.terminal.json(&shown.collect::<Vec<_>>())?;
            } else {
                let mut table = Table::new(&["due", "offset", "zone", "in", "serves"]);
                for next in next {
                    table.row(described(&next, now));
                }
                context.terminal.data(&table.text())?;
            }
            if schedules
                .iter()
                .any(|schedule| schedule.enabled && schedule.cadence == Cadence::Immediate)
            {
                context
                    .terminal
                    .say("An immediate schedule is due whenever articles were released.");
            }
        }
    }
    app.db.close().await;
    Ok(Code::Done)
}

async fn add(app: &App, args: AddArgs, context: &Context) -> anyhow::Result<()> {
    let newsletter = context
        .newsletter(app, args.which.newsletter.as_deref())
        .await?;
    let zone = match args.timezone {
        Some(zone) => zone,
        None => newsletter
            .timezone
            .parse()
            .map_err(|error| UsageError(format!("--timezone {error}")))?,
    };
    let days = args.days.unwrap_or_else(|| usual_days(args.cadence));
    let new = NewSchedule {
        mode: if args.draft {
            Mode::Draft
        } else {
            Mode::Automatic
        },
        min_articles: args.min_articles,
        max_cards: args.max_cards,
        min_interval: args.min_interval,
        missed: args.missed,
        max_lateness: args.max_lateness,
        ..NewSchedule::new(args.cadence, Calendar::new(days, args.at, zone))
    };
    let schedule = add::schedule(app, newsletter.id, new)
        .await
        .map_err(explain)?;
    let now = app.clock.now();
    let next = upcoming(std::slice::from_ref(&schedule), now, 1);
    let first = next
        .first()
        .map(|next| format!(" First due: {}.", described(next, now)[0]))
        .unwrap_or_default();
    context.terminal.say(&format!(
        "Added a {} schedule to {}.{first}",
        schedule.cadence, newsletter.slug
    ));
    if context.terminal.json {
        context.terminal.json(&shown(&schedule))?;
    }
    Ok(())
}

async fn list(app: &App, which: &Which, context: &Context) -> anyhow::Result<()> {
    let schedules = schedules(app, which, context).await?;
    if context.terminal.json {
        return context
            .terminal
            .json(&schedules.iter().map(shown).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["cadence", "days", "at", "zone", "mode", "missed", "in use"]);
    for schedule in &schedules {
        let (days, at) = match schedule.cadence {
            Cadence::Immediate => ("when released".to_owned(), String::new()),
            Cadence::Off | Cadence::Daily | Cadence::Weekly | Cadence::Monthly => (
                schedule.calendar.days().to_string(),
                schedule.calendar.local_time().to_string(),
            ),
        };
        table.row([
            schedule.cadence.to_string(),
            days,
            at,
            schedule.calendar.zone().to_string(),
            schedule.mode.to_string(),
            schedule.missed.to_string(),
            if schedule.enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    context.terminal.data(&table.text())
}

async fn schedules(app: &App, which: &Which, context: &Context) -> anyhow::Result<Vec<Schedule>> {
    let newsletter = context.newsletter(app, which.newsletter.as_deref()).await?;
    store::schedules(&app.db, newsletter.id)
        .await
        .context("cannot read the schedules")
}

/// Weekday, date and time; offset with the zone's own abbreviation; zone; distance; cadences.
fn described(next: &Upcoming, now: Timestamp) -> [String; 5] {
    let local = next.at.in_zone(next.zone.to_jiff());
    [
        local.strftime("%a %-d %b %Y, %H:%M").to_string(),
        local.strftime("%:z %Z").to_string(),
        next.zone.to_string(),
        distance(next.at.since(now)),
        next.cadences.to_string(),
    ]
}

/// A span in its two greatest units: `3 d 4 h`.
fn distance(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {minutes} min"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

pub(super) fn span(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("must be a time with its unit, such as 30m, 12h or 7d")
}

fn shown(schedule: &Schedule) -> serde_json::Value {
    serde_json::json!({
        "id": schedule.id,
        "cadence": schedule.cadence,
        "days": schedule.calendar.days().to_string(),
        "at": schedule.calendar.local_time().to_string(),
        "timezone": schedule.calendar.zone().name(),
        "mode": schedule.mode,
        "min_articles": schedule.min_articles,
        "max_cards": schedule.max_cards,
        "min_interval_seconds": schedule.min_interval.as_secs(),
        "missed": schedule.missed,
        "max_lateness_seconds": schedule.max_lateness.as_secs(),
        "enabled": schedule.enabled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_has_two_units() {
        for (seconds, words) in [
            (59, "0 min"),
            (3600 * 3 + 720, "3 h 12 min"),
            (86_400 * 2 + 3600, "2 d 1 h"),
        ] {
            assert_eq!(distance(Duration::from_secs(seconds)), words);
        }
    }
}
