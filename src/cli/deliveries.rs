//! `paperround issue deliveries`: an issue's mails, one by one.

use anyhow::Context as _;

use super::context::Context;
use super::issue::{Which, find};
use super::table::Table;
use super::when::second;
use crate::app::App;
use crate::deliveries::State;
use crate::deliveries::list::{self, Filter, Page, Summary};
use crate::id::DeliveryId;
use crate::issues::reference::Reference;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    #[arg(
        long,
        help = "Only those that stand so: pending, claimed, transmitting, in_doubt, sent, failed, skipped or held"
    )]
    state: Option<State>,
    /// Only those that were in doubt at least once: the relay's reply was lost, so a second copy may have been sent
    #[arg(long)]
    resent: bool,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind this one
    #[arg(long, value_name = "ID")]
    after: Option<DeliveryId>,
}

pub(super) async fn run(app: &App, args: &Args, context: &Context) -> anyhow::Result<()> {
    let found = find(app, &args.which.issue, context).await?;
    let name = found.name();
    let filter = Filter {
        state: args.state,
        doubted: args.resent,
        after: args.after,
    };
    let page = list::of_issue(&app.db, found.issue.id, filter, args.limit)
        .await
        .context("cannot read the mails")?;
    if context.terminal.json {
        context.terminal.json(&serde_json::json!({
            "issue": name.to_string(),
            "deliveries": page.deliveries.iter().map(shown).collect::<Vec<_>>(),
            "more": page.more,
        }))?;
    } else if page.deliveries.is_empty() {
        context
            .terminal
            .say(&format!("Issue {name} has no such mail."));
    } else {
        context.terminal.data(&table(&page))?;
    }
    if let (true, Some(last)) = (page.more > 0, page.deliveries.last()) {
        context.terminal.say(&format!(
            "{} more: {}",
            page.more,
            next(args, &name, last.id)
        ));
    }
    Ok(())
}

fn table(page: &Page) -> String {
    let mut table = Table::new(&[
        "id", "to", "state", "reason", "tries", "doubts", "copies", "at", "reply",
    ]);
    for delivery in &page.deliveries {
        table.row([
            delivery.id.to_string(),
            delivery.recipient.clone(),
            delivery.state.to_string(),
            delivery
                .reason
                .map_or_else(|| "-".to_owned(), |reason| reason.to_string()),
            delivery.tries.to_string(),
            delivery.doubt.to_string(),
            copies(delivery),
            at(delivery),
            reply(delivery),
        ]);
    }
    table.text()
}

/// How many copies the reader can have got: for certain, or at most.
fn copies(delivery: &Summary) -> String {
    let copies = delivery.copies_at_most();
    if delivery.doubt == 0 {
        copies.to_string()
    } else {
        format!("at most {copies}")
    }
}

/// When it was settled; else when its transmission began; else when its turn is.
fn at(delivery: &Summary) -> String {
    match (delivery.state, delivery.settled_at, delivery.marked_at) {
        (State::Pending, _, _) => format!("not before {}", second(delivery.not_before)),
        (State::Transmitting | State::InDoubt, _, Some(marked)) => second(marked),
        (_, Some(settled), _) => second(settled),
        (_, None, _) => "-".to_owned(),
    }
}

/// The relay's last words: code and text.
fn reply(delivery: &Summary) -> String {
    let code = delivery.reply_code.map(|code| code.to_string());
    let parts = [code, delivery.reply_text.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The command that prints what comes behind `last`.
fn next(args: &Args, name: &Reference, last: DeliveryId) -> String {
    let state = args
        .state
        .map(|state| format!(" --state {state}"))
        .unwrap_or_default();
    let resent = if args.resent { " --resent" } else { "" };
    let limit = args.limit;
    format!("paperround issue deliveries {name}{state}{resent} --limit {limit} --after {last}")
}

fn shown(delivery: &Summary) -> serde_json::Value {
    let mut value = serde_json::json!(delivery);
    value["copies_at_most"] = delivery.copies_at_most().into();
    value
}
