//! What an operator does to an issue on its way, and to all sending: pause, resume, cancel, retry, decide.

use anyhow::Context as _;

use super::context::Context;
use super::exit::{Code, Refused};
use super::issue::find;
use super::restore;
use crate::app::App;
use crate::deliveries::operate::{self, Counts, HeldDecision};
use crate::id::{DeliveryId, IssueId};
use crate::instance;

/// Held deliveries decided in one transaction.
const CHUNK: i64 = 500;

/// One issue, and why.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// Its id
    id: IssueId,
    /// Why, for whoever looks at it later
    #[arg(long, default_value = "by an operator")]
    reason: String,
}

/// One paused issue, and why it may go on.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// Its id
    id: IssueId,
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
    /// The issue's id
    id: IssueId,
    #[command(flatten)]
    decision: Decision,
    /// Only this mail [default: all that are held]
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
    let (issue, now) = (find(app, args.id).await?, app.clock.now());
    let paused = app
        .db
        .write(move |tx| {
            Box::pin(async move { operate::pause(tx, args.id, &args.reason, now).await })
        })
        .await?;
    changed(
        paused,
        &format!("issue {} is paused already, or over", issue.number),
    )?;
    context.terminal.say(&format!(
        "Issue {} is paused. Next: paperround issue resume {} --reason WHY",
        issue.number, issue.id
    ));
    Ok(())
}

pub(super) async fn resume(app: &App, args: ResumeArgs, context: &Context) -> anyhow::Result<()> {
    let (issue, now) = (find(app, args.id).await?, app.clock.now());
    let expires_at = now + app.config.delivery.give_up_after;
    let resumed = app
        .db
        .write(move |tx| {
            Box::pin(
                async move { operate::resume(tx, args.id, &args.reason, now, expires_at).await },
            )
        })
        .await?;
    changed(resumed, &format!("issue {} was not paused", issue.number))?;
    context
        .terminal
        .say(&format!("Issue {} goes on.", issue.number));
    Ok(())
}

pub(super) async fn cancel(app: &App, args: CancelArgs, context: &Context) -> anyhow::Result<()> {
    let PauseArgs { id, reason } = args.pause;
    let issue = find(app, id).await?;
    let counts = operate::counts(&app.db, id).await?;
    let question = format!(
        "Cancel issue {} for good? {} mails were sent and stay sent; {} will not be.",
        issue.number, counts.sent, counts.pending
    );
    context.terminal.confirm(&question, args.yes)?;
    let now = app.clock.now();
    let cancelled = app
        .db
        .write(move |tx| Box::pin(async move { operate::cancel(tx, id, &reason, now).await }))
        .await?;
    changed(
        cancelled,
        &format!("issue {} is over already", issue.number),
    )?;
    let skipped = operate::skip_cancelled(&app.db, now).await?;
    context.terminal.say(&format!(
        "Issue {} is cancelled: {skipped} mails are not sent, their articles come with the next issue.",
        issue.number
    ));
    Ok(())
}

pub(super) async fn retry(app: &App, id: IssueId, context: &Context) -> anyhow::Result<()> {
    let issue = find(app, id).await?;
    let now = app.clock.now();
    let expires_at = now + app.config.delivery.give_up_after;
    let again = app
        .db
        .write(move |tx| {
            Box::pin(async move { operate::retry_failed(tx, id, now, expires_at).await })
        })
        .await?;
    context.terminal.say(&format!(
        "Issue {}: {again} failed mails are tried again.",
        issue.number
    ));
    Ok(())
}

pub(super) async fn decide(app: &App, args: DecideArgs, context: &Context) -> anyhow::Result<()> {
    let issue = find(app, args.id).await?;
    let (decision, words) = match args.decision {
        Decision { sent: true, .. } => (HeldDecision::Sent, "count as sent"),
        Decision { again: true, .. } => (HeldDecision::SendAgain, "are sent again"),
        Decision { .. } => (HeldDecision::NotSent, "count as not sent"),
    };
    let held = operate::counts(&app.db, args.id).await?.held;
    if args.delivery.is_none() {
        let question = format!("{held} held mails of issue {} {words}?", issue.number);
        context.terminal.confirm(&question, args.yes)?;
    }
    let mut decided = 0;
    loop {
        let ids: Vec<DeliveryId> = match args.delivery {
            Some(delivery) => vec![delivery],
            None => operate::held(&app.db, args.id, CHUNK)
                .await?
                .into_iter()
                .map(|held| held.id)
                .collect(),
        };
        let done = decide_all(app, ids, decision).await?;
        decided += done;
        if done == 0 || args.delivery.is_some() {
            break;
        }
    }
    changed(decided > 0, "nothing of it is held")?;
    context.terminal.say(&format!(
        "{decided} mails of issue {} {words}.",
        issue.number
    ));
    Ok(())
}

/// Decides about these in one transaction; how many were held.
async fn decide_all(
    app: &App,
    ids: Vec<DeliveryId>,
    decision: HeldDecision,
) -> anyhow::Result<usize> {
    let now = app.clock.now();
    let expires_at = now + app.config.delivery.give_up_after;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let mut decided = 0;
                for id in ids {
                    decided +=
                        usize::from(operate::decide(tx, id, decision, now, expires_at).await?);
                }
                Ok::<_, sqlx::Error>(decided)
            })
        })
        .await
        .context("cannot decide about the held mails")
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
    let resumed = app
        .db
        .write(move |tx| Box::pin(async move { operate::resume_sending(tx, expires_at).await }))
        .await?;
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
