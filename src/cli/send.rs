//! `paperround send`: an issue now, by an operator's word.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use super::exit::{Code, Refused};
use super::issue::find;
use super::manual::Manual;
use super::operate::tally;
use super::preview::{describe, readers};
use crate::app::App;
use crate::deliveries::operate;
use crate::id::IssueId;
use crate::issues::compose::{ComposeError, Created, NewIssue, create_manual};
use crate::issues::preview::preview;
use crate::issues::reference::Reference;
use crate::issues::render::Renderer;
use crate::issues::{Issue, IssueState, store};

/// Between two looks at the issue.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct Args {
    #[command(flatten)]
    manual: Manual,
    /// Send without asking
    #[arg(long)]
    yes: bool,
    /// Say what would go to how many, and stop; as `preview`, it reads the feeds first
    #[arg(long)]
    dry_run: bool,
    /// Stop once the mails are made: `paperround issue release` sends them
    #[arg(long)]
    draft: bool,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let terminal = &context.terminal;
    let newsletter = context
        .newsletter(&app, args.manual.newsletter.as_deref())
        .await?;
    if newsletter.postal_address.is_none() {
        return Err(refused(ComposeError::NoPostalAddress(
            newsletter.slug.to_string(),
        )));
    }
    Manual::catch_up(&app, &newsletter, terminal).await?;
    let new = args.manual.issue(&app, &newsletter, !args.draft);
    let preview = preview(&app, &Renderer::of(&app), &new)
        .await
        .context("cannot preview the issue")?;
    describe(&preview, terminal)?;
    if args.dry_run {
        return Ok(Code::Done);
    }
    if preview.recipients == 0 {
        terminal.say("Nothing is sent.");
        return Ok(Code::Done);
    }
    let (count, cadences) = (readers(preview.recipients), new.cadences);
    let question = format!("Send to {count} ({cadences}) of {}?", newsletter.name);
    terminal.confirm(&question, args.yes)?;
    let Some(id) = make(&app, new).await? else {
        terminal.say("There is nothing new any more. Nothing is sent.");
        return Ok(Code::Done);
    };
    let found = find(&app, &Reference::Id(id), context).await?;
    let name = found.name();
    terminal.say(&format!(
        "Issue {name} is made. The running service (`paperround serve`) {}.",
        if args.draft {
            "prepares it"
        } else {
            "sends it"
        }
    ));
    let code = if args.no_wait {
        Code::Done
    } else {
        follow(&app, id, &name, context).await?
    };
    app.db.close().await;
    Ok(code)
}

/// Makes the issue; `None` when there is nothing for it.
async fn make(app: &App, new: NewIssue) -> anyhow::Result<Option<IssueId>> {
    let created = create_manual(app, new).await.map_err(refused)?;
    Ok(match created {
        Created::Issue(id) => Some(id),
        Created::NothingNew => None,
    })
}

/// Shows how far the issue is until nothing of it is open. Without a terminal it only waits for its release.
async fn follow(
    app: &App,
    id: IssueId,
    name: &Reference,
    context: &Context,
) -> anyhow::Result<Code> {
    let bar = progress(context);
    loop {
        let Some(issue) = store::issues::by_id(&app.db, id).await? else {
            return Err(Refused("the issue is gone".to_owned()).into());
        };
        let counts = operate::counts(&app.db, id).await?;
        bar.set_length(u64::try_from(counts.total()).unwrap_or(0));
        bar.set_position(u64::try_from(counts.total() - counts.open()).unwrap_or(0));
        bar.set_message(words(&issue, name));
        let end = match issue.state {
            IssueState::Draft | IssueState::Scheduled | IssueState::Preparing => {
                let waits_for_operator =
                    issue.prepared_at.is_some() && !issue.release_when_prepared;
                waits_for_operator.then_some(Code::Done)
            }
            IssueState::Sending => (!context.terminal.is_interactive()).then_some(Code::Done),
            IssueState::Finished | IssueState::Skipped => Some(Code::Done),
            IssueState::Cancelled | IssueState::Failed => Some(Code::Failed),
        };
        if let Some(code) = end {
            bar.finish_and_clear();
            context
                .terminal
                .say(&format!("{}: {}.", words(&issue, name), tally(&counts)));
            return Ok(code);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn progress(context: &Context) -> ProgressBar {
    if !context.terminal.is_interactive() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How the issue stands, in a sentence.
pub(super) fn words(issue: &Issue, name: &Reference) -> String {
    let reason = issue
        .state_reason
        .as_deref()
        .unwrap_or("no reason is known");
    if let (Some(_), Some(reason)) = (issue.paused_at, &issue.pause_reason) {
        return format!("Issue {name} is paused: {reason}");
    }
    match issue.state {
        IssueState::Draft | IssueState::Scheduled => {
            format!("Issue {name} waits for the service")
        }
        IssueState::Preparing if issue.prepared_at.is_some() => {
            format!("Issue {name} is ready and waits for: paperround issue release {name}")
        }
        IssueState::Preparing => {
            format!("Issue {name} is being prepared: {} mails", issue.queued)
        }
        IssueState::Sending => format!("Issue {name} is being sent to {} readers", issue.queued),
        IssueState::Finished => format!("Issue {name} is finished: {} mails", issue.queued),
        IssueState::Skipped => format!("Issue {name} was skipped: {reason}"),
        IssueState::Cancelled => format!("Issue {name} was cancelled: {reason}"),
        IssueState::Failed => format!("Issue {name} failed: {reason}"),
    }
}

fn refused(error: ComposeError) -> anyhow::Error {
    match error {
        ComposeError::NoPostalAddress(_) | ComposeError::NoNewsletter | ComposeError::Settled => {
            Refused(error.to_string()).into()
        }
        ComposeError::Db(error) => anyhow::Error::from(error).context("cannot make the issue"),
    }
}
