//! `paperround issue`: what went out, and what is going.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::send::words;
use super::table::Table;
use super::when::minute;
use super::{deliveries, operate, relay};
use crate::app::App;
use crate::clock::Timestamp;
use crate::deliveries::operate::{Counts, counts};
use crate::deliveries::relays::RelayRow;
use crate::deliveries::{State, brakes};
use crate::issues::reference::{Reference, by_number};
use crate::issues::{Issue, IssueState, release, store};
use crate::newsletters::slots::{self, Outcome};
use crate::newsletters::{self, Slug};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a newsletter's issues, and the slots that made none
    List {
        /// Which newsletter [default: the only one]
        newsletter: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Print one issue with its articles
    Show(Which),
    /// Print an issue's mails one by one: to whom, how each stands, why, what the relay said
    Deliveries(deliveries::Args),
    /// Send an issue that was made as a draft
    Release(Which),
    /// Stop an issue where it is
    Pause(operate::PauseArgs),
    /// Let a paused issue go on
    Resume(operate::ResumeArgs),
    /// End an issue for good; what is not sent yet is not sent
    Cancel(operate::CancelArgs),
    /// Try the failed mails of an issue again
    Retry(Which),
    /// Say what became of mails that are held because the relay's reply was lost
    Decide(operate::DecideArgs),
}

/// The issue that is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which issue, such as world/12 (or 12 with a single newsletter, or its id): see `issue list`
    #[arg(value_name = "ISSUE")]
    pub(super) issue: Reference,
}

/// An issue and the newsletter it is of.
pub(super) struct Found {
    pub(super) issue: Issue,
    newsletter: Slug,
}

impl Found {
    /// What the issue is called.
    pub(super) fn name(&self) -> Reference {
        Reference::of(&self.issue, &self.newsletter)
    }
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::List { newsletter, limit } => {
            list(&app, newsletter.as_deref(), limit, context).await?;
        }
        Command::Show(which) => show(&app, &which, context).await?,
        Command::Deliveries(args) => deliveries::run(&app, &args, context).await?,
        Command::Release(which) => release(&app, &which, context).await?,
        Command::Pause(args) => operate::pause(&app, args, context).await?,
        Command::Resume(args) => operate::resume(&app, args, context).await?,
        Command::Cancel(args) => operate::cancel(&app, args, context).await?,
        Command::Retry(which) => operate::retry(&app, &which, context).await?,
        Command::Decide(args) => operate::decide(&app, args, context).await?,
    }
    app.db.close().await;
    Ok(Code::Done)
}

/// The issue of this name.
pub(super) async fn find(
    app: &App,
    reference: &Reference,
    context: &Context,
) -> anyhow::Result<Found> {
    let unknown = |newsletter: &str| {
        UsageError(format!(
            "there is no issue {reference}: `paperround issue list{newsletter}` prints what there is"
        ))
    };
    match reference {
        Reference::Number(slug, number) => {
            let newsletter = context
                .newsletter(app, slug.as_ref().map(Slug::as_str))
                .await?;
            let issue = by_number(&app.db, newsletter.id, *number)
                .await
                .context("cannot read the issue")?
                .ok_or_else(|| unknown(&format!(" {}", newsletter.slug)))?;
            let newsletter = newsletter.slug;
            Ok(Found { issue, newsletter })
        }
        Reference::Id(id) => {
            let issue = store::issues::by_id(&app.db, *id)
                .await
                .context("cannot read the issue")?
                .ok_or_else(|| unknown(""))?;
            let newsletter = newsletters::store::by_id(&app.db, issue.newsletter_id)
                .await?
                .context("the issue's newsletter is gone")?
                .slug;
            Ok(Found { issue, newsletter })
        }
    }
}

async fn release(app: &App, which: &Which, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &which.issue, context).await?;
    let name = found.name();
    if !release::allow(app, found.issue.id).await? {
        return Err(Refused(format!(
            "issue {name} cannot be released: it is {}",
            found.issue.state
        ))
        .into());
    }
    context.terminal.say(&format!(
        "Issue {name} is released. The running service sends it."
    ));
    Ok(())
}

async fn list(app: &App, slug: Option<&str>, limit: u32, context: &Context) -> anyhow::Result<()> {
    let newsletter = context.newsletter(app, slug).await?;
    let issues =
        store::issues::of_newsletter(&app.db, newsletter.id, None, i64::from(limit)).await?;
    let slots = slots::recent(&app.db, newsletter.id, limit).await?;
    let silent = slots.iter().filter(|slot| slot.issue_id.is_none());
    if context.terminal.json {
        return context.terminal.json(&serde_json::json!({
            "issues": issues.iter().map(|issue| shown(issue, &Reference::of(issue, &newsletter.slug))).collect::<Vec<_>>(),
            "slots_without_issue": silent.collect::<Vec<_>>(),
        }));
    }
    // Issues and silent slots in one list, newest first.
    let mut rows: Vec<(Timestamp, [String; 6])> = Vec::new();
    for issue in &issues {
        let state = if issue.paused_at.is_some() {
            format!("{}, paused", issue.state)
        } else {
            issue.state.to_string()
        };
        // why it stands still is more urgent than what it is about
        let paused = issue
            .pause_reason
            .clone()
            .filter(|_| issue.paused_at.is_some());
        let subject = paused
            .or_else(|| issue.subject.clone())
            .or_else(|| issue.state_reason.clone())
            .unwrap_or_default();
        rows.push((
            issue.due_at,
            [
                minute(issue.due_at),
                Reference::of(issue, &newsletter.slug).to_string(),
                issue.cadences.to_string(),
                state,
                issue.queued.to_string(),
                subject,
            ],
        ));
    }
    for slot in silent {
        let why = match slot.outcome {
            Outcome::Issue => "no issue",
            Outcome::NothingNew => "nothing new",
            Outcome::Missed => "missed: the service was down",
            Outcome::BelowMinimum => "below the minimum of articles",
        };
        let dash = || "-".to_owned();
        rows.push((
            slot.due_at,
            [
                minute(slot.due_at),
                dash(),
                slot.cadence.to_string(),
                why.to_owned(),
                dash(),
                String::new(),
            ],
        ));
    }
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut table = Table::new(&["due", "issue", "serves", "state", "mails", "subject"]);
    rows.into_iter()
        .take(limit as usize)
        .for_each(|(_, row)| table.row(row));
    context.terminal.data(&table.text())
}

async fn show(app: &App, which: &Which, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &which.issue, context).await?;
    let (issue, name) = (&found.issue, found.name());
    let articles = store::articles::of_issue(&app.db, issue.id).await?;
    let counts = counts(&app.db, issue.id).await?;
    let refusing = brakes::refusing_domains(&app.db, issue.id).await?;
    let pauses = brakes::pauses(&app.db, issue.id).await?;
    let relays = relay::standing(app).await?;
    let waits_for_relays = issue.state.is_open();
    let troubles: Vec<_> = relays
        .iter()
        .filter(|_| waits_for_relays)
        .filter_map(RelayRow::trouble)
        .collect();
    if context.terminal.json {
        let mut value = shown(issue, &name);
        value["deliveries"] = serde_json::json!(counts);
        value["pauses"] = serde_json::json!(pauses);
        value["relays"] = serde_json::json!(relays);
        value["domains_that_refuse"] = refusing
            .iter()
            .map(|(domain, of)| serde_json::json!({"domain": domain, "policy": of.policy, "answers": of.answers}))
            .collect();
        value["articles"] = articles
            .iter()
            .map(|article| {
                serde_json::json!({
                    "id": article.id, "seq": article.content.seq, "title": article.content.title,
                    "url": article.content.url, "decision": article.decision, "reason": article.reason,
                })
            })
            .collect();
        return context.terminal.json(&value);
    }
    context.terminal.say(&format!(
        "{}: {}.",
        words(issue, &name),
        operate::tally(&counts)
    ));
    context.terminal.say(&format!(
        "It serves {}. {} readers were looked at: {} mails, {} without news, paused, or with an older mail on its way.",
        issue.cadences.0, issue.candidates, issue.queued, issue.excluded
    ));
    for trouble in troubles {
        context.terminal.say(&format!("{trouble}."));
    }
    for pause in pauses {
        context.terminal.say(&format!(
            "It was paused at {}: {}. It went on at {}: {}.",
            minute(pause.paused_at),
            pause.pause_reason.unwrap_or_default(),
            minute(pause.resumed_at),
            pause.resume_reason
        ));
    }
    for (domain, of) in refusing {
        context.terminal.say(&format!(
            "{domain} refused {} of {} mails by policy: see whether it knows this sender.",
            of.policy, of.answers
        ));
    }
    hints(&counts, issue, &name, context);
    let mut table = Table::new(&["no.", "decision", "title", "reason"]);
    for article in articles {
        table.row([
            article.content.seq.to_string(),
            article.decision.to_string(),
            article.content.title,
            article.reason.unwrap_or_default(),
        ]);
    }
    context.terminal.data(&table.text())
}

/// What an operator may want to look at, and what may be done about it.
fn hints(counts: &Counts, issue: &Issue, name: &Reference, context: &Context) {
    let hint = |count: i64, words: &str, command: &str| {
        if count > 0 {
            context
                .terminal
                .say(&format!("{count} {words}: paperround issue {command}"));
        }
    };
    let list = |state| format!("deliveries {name} --state {state}");
    hint(counts.in_doubt, "in doubt", &list(State::InDoubt));
    let decide = format!(
        "{}, then: paperround issue decide {name}",
        list(State::Held)
    );
    hint(counts.held, "held for you to decide", &decide);
    let retry = match issue.state {
        IssueState::Sending | IssueState::Finished => {
            format!(
                "{}, then: paperround issue retry {name}",
                list(State::Failed)
            )
        }
        _ => list(State::Failed),
    };
    hint(counts.failed, "failed", &retry);
    let resent = format!("deliveries {name} --resent");
    hint(
        counts.doubted,
        "were in doubt once or more, so a copy may have come twice",
        &resent,
    );
}

fn shown(issue: &Issue, name: &Reference) -> serde_json::Value {
    serde_json::json!({
        "issue": name.to_string(),
        "id": issue.id,
        "number": issue.number,
        "kind": issue.kind,
        "cadences": issue.cadences.0,
        "due_at": issue.due_at,
        "state": issue.state,
        "state_reason": issue.state_reason,
        "paused_at": issue.paused_at,
        "pause_reason": issue.pause_reason,
        "subject": issue.subject,
        "candidates": issue.candidates,
        "queued": issue.queued,
        "excluded": issue.excluded,
        "prepared_at": issue.prepared_at,
        "released_at": issue.released_at,
        "finished_at": issue.finished_at,
    })
}
