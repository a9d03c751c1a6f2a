//! What an operator does to an issue on its way, and to all sending: pause, resume, cancel, retry, decide.

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::issue::{Found, Which, find};
use super::restore;
use crate::app::App;
use crate::deliveries::decide::{self, HeldDecision, Refusal};
use crate::deliveries::operate::{self, Counts};
use crate::id::DeliveryId;
use crate::instance;

/// One issue, and why.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    which: Which,
    /// Why, for whoever looks at it later
    #[arg(long, default_value = "by an operator")]
    reason: String,
}

/// One paused issue, and why it may go on.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
    /// Why it may go on; kept beside the reason of the pause
    #[arg(long)]
    reason: String,
}

/// One issue, why, and a yes.
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    pause: PauseArgs,
    /// Cancel without asking
    #[arg(long)]
    yes: bool,
}

/// What became of held mails.
#[derive(Debug, clap::Args)]
pub(super) struct DecideArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    decision: Decision,
    /// Only this mail, by its id as `issue deliveries` prints it [default: all that are held]
    #[arg(long, value_name = "ID")]
    delivery: Option<DeliveryId>,
    /// Decide without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Decision {
    /// They did arrive
    #[arg(long)]
    sent: bool,
    /// Send them again; some readers may get two copies
    #[arg(long)]
    again: bool,
    /// They did not arrive; their articles come with the next issue
    #[arg(long)]
    not_sent: bool,
}

/// Why all sending is paused.
#[derive(Debug, clap::Args)]
pub(super) struct PauseAllArgs {
    /// Why, for whoever looks at it later
    #[arg(long, default_value = "by an operator")]
    reason: String,
}

/// Whether to ask before a restored instance sends.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeAllArgs {
    /// Let a restored or copied instance send without asking
    #[arg(long)]
    yes: bool,
}

pub(super) async fn pause(app: &App, args: PauseArgs, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &args.which.issue, context).await?;
    let (id, name, now) = (found.issue.id, found.name(), app.clock.now());
    let paused = app
        .db
        .write(move |tx| Box::pin(async move { operate::pause(tx, id, &args.reason, now).await }))
        .await?;
    changed(paused, &format!("issue {name} is paused already, or over"))?;
    context.terminal.say(&format!(
        "Issue {name} is paused. Next: paperround issue resume {name} --reason WHY"
    ));
    Ok(())
}

pub(super) async fn resume(app: &App, args: ResumeArgs, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &args.which.issue, context).await?;
    let (id, name, now) = (found.issue.id, found.name(), app.clock.now());
    let expires_at = now + app.config.delivery.give_up_after;
    let resumed = operate::resume(&app.db, id, &args.reason, now, expires_at).await?;
    changed(resumed, &format!("issue {name} is not paused, or over"))?;
    context.terminal.say(&format!("Issue {name} goes on."));
    Ok(())
}

pub(super) async fn cancel(app: &App, args: CancelArgs, context: &Context) -> anyhow::Result<()> {
    let PauseArgs { which, reason } = args.pause;
    let found = find(app, &which.issue, context).await?;
    let (id, name) = (found.issue.id, found.name());
    let counts = operate::counts(&app.db, id).await?;
    let question = format!(
        "Cancel issue {name} for good? {} mails were sent and stay sent; {} will not be.",
        counts.sent, counts.pending
    );
    context.terminal.confirm(&question, args.yes)?;
    let now = app.clock.now();
    let cancelled = app
        .db
        .write(move |tx| Box::pin(async move { operate::cancel(tx, id, &reason, now).await }))
        .await?;
    changed(cancelled, &format!("issue {name} is over already"))?;
    let skipped = operate::skip_cancelled(&app.db, now).await?;
    context.terminal.say(&format!(
        "Issue {name} is cancelled: {skipped} mails are not sent, their articles come with the next issue."
    ));
    Ok(())
}

pub(super) async fn retry(app: &App, which: &Which, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &which.issue, context).await?;
    let (id, name, now) = (found.issue.id, found.name(), app.clock.now());
    let expires_at = now + app.config.delivery.give_up_after;
    let again = app
        .db
        .write(move |tx| {
            Box::pin(async move { decide::retry_failed(tx, id, now, expires_at).await })
        })
        .await
        .map_err(|refusal| explain(refusal, &format!("issue {name} is not tried again")))?;
    let then = then(&found);
    context.terminal.say(&format!(
        "Issue {name}: {again} failed mails are tried again{then}"
    ));
    Ok(())
}

pub(super) async fn decide(app: &App, args: DecideArgs, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &args.which.issue, context).await?;
    let (issue, name) = (found.issue.id, found.name());
    let (decision, words) = match args.decision {
        Decision { sent: true, .. } => (HeldDecision::Sent, "count as sent"),
        Decision { again: true, .. } => (HeldDecision::SendAgain, "are sent again"),
        Decision { .. } => (HeldDecision::NotSent, "count as not sent"),
    };
    let now = app.clock.now();
    let expires_at = now + app.config.delivery.give_up_after;
    let decided = if let Some(delivery) = args.delivery {
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    decide::decide(tx, issue, delivery, decision, now, expires_at).await
                })
            })
            .await
            .map(|()| 1)
    } else {
        let held = operate::counts(&app.db, issue).await?.held;
        changed(held > 0, &format!("no mail of issue {name} is held"))?;
        let question = format!("{held} held mails of issue {name} {words}?");
        context.terminal.confirm(&question, args.yes)?;
        decide::decide_all(&app.db, issue, decision, now, expires_at).await
    };
    let decided = decided.map_err(|refusal| {
        let instead = match refusal {
            Refusal::IssueState(_) => {
                " (say --sent, or --not-sent: then their articles come with the next issue)"
            }
            _ => "",
        };
        explain(refusal, &format!("nothing is decided{instead}"))
    })?;
    let then = match decision {
        HeldDecision::SendAgain => then(&found),
        HeldDecision::Sent | HeldDecision::NotSent => ".".to_owned(),
    };
    context
        .terminal
        .say(&format!("{decided} mails of issue {name} {words}{then}"));
    Ok(())
}

/// When what waits again of the issue leaves.
fn then(found: &Found) -> String {
    if !found.issue.state.is_open() || found.issue.paused_at.is_none() {
        return ".".to_owned();
    }
    let name = found.name();
    format!(" as soon as it goes on. Next: paperround issue resume {name} --reason WHY")
}

/// What did not happen, and why.
fn explain(refusal: Refusal, what: &str) -> anyhow::Error {
    let text = format!("{what}: {refusal}");
    match refusal {
        Refusal::IssueState(_) | Refusal::NothingFailed | Refusal::NotHeld(_) => {
            Refused(text).into()
        }
        Refusal::NotOfTheIssue(_) => UsageError(format!(
            "{text}: `paperround issue deliveries` prints those it has"
        ))
        .into(),
        Refusal::Db(error) => anyhow::Error::from(error).context("cannot decide"),
    }
}

pub(super) async fn pause_all(args: PauseAllArgs, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let now = app.clock.now();
    let paused = app
        .db
        .write(move |tx| {
            Box::pin(async move { operate::pause_sending(tx, &args.reason, now).await })
        })
        .await?;
    changed(paused, "all sending is paused already")?;
    context
        .terminal
        .say("All sending is paused, confirmations too. Next: paperround resume");
    app.db.close().await;
    Ok(Code::Done)
}

pub(super) async fn resume_all(args: &ResumeAllArgs, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    if let Some(overview) = instance::overview(&app).await? {
        context.terminal.say(&restore::words(&overview));
        let question = "Is this the one instance that may send, and shall it?";
        context.terminal.confirm(question, args.yes)?;
    }
    let expires_at = app.clock.now() + app.config.delivery.give_up_after;
    let resumed = operate::resume_sending(&app.db, expires_at).await?;
    changed(resumed, "sending was not paused")?;
    context.terminal.say("Sending goes on.");
    app.db.close().await;
    Ok(Code::Done)
}

/// How the mails of an issue stand: `12 sent, 3 pending`.
pub(super) fn tally(counts: &Counts) -> String {
    let parts = [
        (counts.sent, "sent"),
        (
            counts.pending + counts.claimed + counts.transmitting,
            "waiting",
        ),
        (counts.failed, "failed"),
        (counts.in_doubt, "in doubt"),
        (counts.held, "held"),
        (counts.skipped, "skipped"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() {
        "no mails".to_owned()
    } else {
        parts.join(", ")
    }
}

fn changed(changed: bool, otherwise: &str) -> anyhow::Result<()> {
    if changed {
        Ok(())
    } else {
        Err(Refused(otherwise.to_owned()).into())
    }
}
