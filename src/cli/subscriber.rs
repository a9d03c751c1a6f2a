//! `paperround subscriber`: one person, what they got and why.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::when::second;
use crate::app::App;
use crate::clock::Timestamp;
use crate::deliveries::State;
use crate::deliveries::list::copies_at_most;
use crate::newsletters::Cadence;
use crate::subscribers::SubscriptionState;
use crate::subscribers::email_address::{AddressRules, EmailAddress};
use crate::subscribers::evidence::{Channel, Evidence};
use crate::subscribers::explain::{DeliveryLine, Explanation, explain};
use crate::subscribers::unsubscribe::{Left, unsubscribe};
use crate::token::ReaderToken;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print everything about a reader: how it stands, what they agreed to, what they were sent and why not
    Show {
        /// Their address
        reader: String,
    },
    /// End a reader's subscription; from then on no mail to them is started
    Unsubscribe {
        /// Their address
        reader: String,
        /// Only from this newsletter [default: from all]
        #[arg(long, short)]
        newsletter: Option<String>,
        /// End it without asking
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = Arc::new(context.app().await?);
    match command {
        Command::Show { reader } => show(&app, &reader, context).await?,
        Command::Unsubscribe {
            reader,
            newsletter,
            yes,
        } => {
            end(&app, &reader, newsletter.as_deref(), yes, context).await?;
        }
    }
    app.db.close().await;
    Ok(Code::Done)
}

/// All that is known of `reader`; refused where it is nothing.
async fn known(app: &App, reader: &str) -> anyhow::Result<Vec<Explanation>> {
    let email = EmailAddress::parse(reader, AddressRules::STORED)
        .map_err(|error| UsageError(error.to_string()))?;
    let explanations = explain(&app.db, &email)
        .await
        .context("cannot read about the reader")?;
    if explanations.is_empty() {
        return Err(Refused(
            "nobody with this address has ever confirmed a subscription here".to_owned(),
        )
        .into());
    }
    Ok(explanations)
}

async fn show(app: &App, reader: &str, context: &Context) -> anyhow::Result<()> {
    let explanations = known(app, reader).await?;
    if context.terminal.json {
        return context.terminal.json(&explanations);
    }
    let now = app.clock.now();
    let pages: Vec<String> = explanations
        .iter()
        .map(|explanation| page(explanation, now))
        .collect();
    context.terminal.data(&pages.join("\n\n"))
}

async fn end(
    app: &Arc<App>,
    reader: &str,
    newsletter: Option<&str>,
    yes: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let explanations = known(app, reader).await?;
    let meant = explanations
        .iter()
        .map(|explanation| &explanation.person)
        .filter(|person| newsletter.is_none_or(|slug| slug == person.newsletter));
    let meant: Vec<_> = meant.collect();
    if meant.is_empty() {
        return Err(Refused("this reader has never had that newsletter".to_owned()).into());
    }
    let names: Vec<_> = meant
        .iter()
        .map(|person| person.newsletter.as_str())
        .collect();
    context
        .terminal
        .confirm(&format!("End {} for {reader}?", names.join(", ")), yes)?;
    for person in meant {
        let token = ReaderToken {
            subscription: person.subscription_id,
            issue: None,
        };
        let left = unsubscribe(app, token, Evidence::of(Channel::CommandLine))
            .await
            .context("cannot end it")?;
        let words = match left {
            Left::Now(_) => "ended. No mail to this reader is started any more.",
            Left::Before(_) | Left::Unknown => "had ended before; nothing changed.",
        };
        context
            .terminal
            .say(&format!("{}: {words}", person.newsletter));
    }
    Ok(())
}

/// One membership in sentences: state, interests, consent, mails.
fn page(explanation: &Explanation, now: Timestamp) -> String {
    let person = &explanation.person;
    let mut lines = vec![format!(
        "{} in {}: {}",
        person.email,
        person.newsletter,
        state(explanation, now)
    )];
    lines.push("Gets:".to_owned());
    for interest in &explanation.interests {
        lines.push(match interest.cadence {
            Cadence::Off => format!(
                "  {}: off; was given articles up to no. {}",
                interest.topic, interest.given_seq
            ),
            Cadence::Immediate | Cadence::Daily | Cadence::Weekly | Cadence::Monthly => format!(
                "  {}: {}; from after no. {}, given up to no. {}",
                interest.topic, interest.cadence, interest.start_seq, interest.given_seq
            ),
        });
    }
    let whole = if explanation.consent_is_whole {
        ""
    } else {
        " (THE RECORD WAS CHANGED: its chain is broken)"
    };
    lines.push(format!("Consent{whole}:"));
    for event in &explanation.consent {
        let from = event
            .ip
            .as_deref()
            .map(|ip| format!(" from {ip}"))
            .unwrap_or_default();
        lines.push(format!(
            "  {}  {} by {}{from}",
            second(event.at),
            event.kind,
            event.channel
        ));
    }
    lines.push("Mails, newest first:".to_owned());
    if explanation.deliveries.is_empty() {
        lines.push("  none yet".to_owned());
    }
    lines.extend(
        explanation
            .deliveries
            .iter()
            .map(|delivery| format!("  {}", mail(delivery, &person.newsletter))),
    );
    lines.join("\n")
}

fn state(explanation: &Explanation, now: Timestamp) -> String {
    let person = &explanation.person;
    let since = |at: Option<Timestamp>| at.map(|at| format!(" {}", second(at))).unwrap_or_default();
    match person.state {
        SubscriptionState::Active => match person.paused_until {
            Some(until) if until > now => format!("active, paused until {}", second(until)),
            Some(_) | None => format!("active since {}", second(person.started_at)),
        },
        SubscriptionState::Unsubscribed => {
            let by = person
                .end_channel
                .map(|channel| format!(" by {channel}"))
                .unwrap_or_default();
            format!("unsubscribed{}{by}", since(person.ended_at))
        }
        SubscriptionState::Bounced => format!(
            "ended{}: the address does not take mail",
            since(person.ended_at)
        ),
        SubscriptionState::Complained => format!(
            "ended{}: a mail was reported as spam",
            since(person.ended_at)
        ),
    }
}

/// One mail: what it was, what became of it, why, and how many copies there may be where that is in doubt.
fn mail(delivery: &DeliveryLine, newsletter: &str) -> String {
    let what = match (delivery.issue, &delivery.subject) {
        (Some(number), Some(subject)) => format!("issue {newsletter}/{number} \"{subject}\""),
        (Some(number), None) => format!("issue {newsletter}/{number}"),
        (None, _) => delivery.kind.clone(),
    };
    let at = second(delivery.settled_at.unwrap_or(delivery.created_at));
    let reply = match (delivery.reply_code, &delivery.reply_text) {
        (Some(code), Some(text)) => format!(", the relay said {code} {text}"),
        (Some(code), None) => format!(", the relay said {code}"),
        (None, _) => String::new(),
    };
    let reason = delivery
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    let waits = if delivery.state == State::Pending {
        format!(", not before {}", second(delivery.not_before))
    } else {
        String::new()
    };
    let doubts = doubts(delivery);
    format!(
        "{at}  {what} - {}{reason}{waits}{reply}{doubts}",
        delivery.state
    )
}

/// How often the relay's reply was lost, and how many copies the reader can have got.
fn doubts(delivery: &DeliveryLine) -> String {
    let copies = match copies_at_most(delivery.state, delivery.doubt, delivery.reply_code) {
        1 => "1 copy".to_owned(),
        copies => format!("{copies} copies"),
    };
    match delivery.doubt {
        0 => String::new(),
        1 => format!(", in doubt once: at most {copies} arrived"),
        doubt => format!(", in doubt {doubt} times: at most {copies} arrived"),
    }
}
