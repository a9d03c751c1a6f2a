//! `paperround newsletter`: set up and change newsletters.

use anyhow::Context as _;
use clap::Subcommand;
use jiff::tz::TimeZone;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::table::Table;
use crate::newsletters::add::{self, AddError, NewNewsletter, NewSchedule};
use crate::newsletters::schedule::{LocalTime, Zone};
use crate::newsletters::{Cadence, Calendar, Days, Newsletter, Slug, store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a newsletter; asks for what is not given
    Add(AddArgs),
    /// Print all newsletters
    List,
    /// Change what is given, leave the rest
    Edit(EditArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// Its name in links and commands, such as world [default: made from --name]
    slug: Option<Slug>,
    #[command(flatten)]
    texts: Texts,
    /// When the first schedule is due, local time
    #[arg(long, value_name = "HH:MM", default_value = "07:00")]
    at: LocalTime,
    /// On which days: all, or mon,thu, or 1,15,last [default: all; mon for weekly; 1 for monthly]
    #[arg(long)]
    days: Option<Days>,
}

#[derive(Debug, clap::Args)]
pub(super) struct EditArgs {
    /// Which newsletter
    slug: String,
    #[command(flatten)]
    texts: Texts,
}

/// What a newsletter is made of.
#[derive(Debug, clap::Args)]
struct Texts {
    /// Its name for readers
    #[arg(long)]
    name: Option<String>,
    /// What readers are told at sign-up, in a sentence or two
    #[arg(long)]
    description: Option<String>,
    /// The sender's name [default: the newsletter's]
    #[arg(long)]
    from_name: Option<String>,
    /// The sender's address
    #[arg(long, value_name = "ADDRESS")]
    from_address: Option<String>,
    /// Where replies go, if not to the sender
    #[arg(long, value_name = "ADDRESS")]
    reply_to: Option<String>,
    /// The postal address in each mail; the law asks for it, and nothing is sent without it
    #[arg(long, value_name = "TEXT")]
    postal_address: Option<String>,
    /// The language of mails and pages, such as en [default: en]
    #[arg(long)]
    locale: Option<String>,
    /// The time zone of its schedules, such as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<Zone>,
    /// How often readers get mail who choose nothing: immediate, daily, weekly or monthly [default: daily]
    #[arg(long)]
    cadence: Option<Cadence>,
    /// An origin whose forms may post here, such as <https://www.example.org>; may be repeated
    #[arg(long = "form-origin", value_name = "ORIGIN")]
    form_origins: Vec<String>,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    match command {
        Command::Add(args) => add(args, context).await,
        Command::List => list(context).await,
        Command::Edit(args) => edit(args, context).await,
    }
}

async fn add(args: AddArgs, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let texts = args.texts;
    let terminal = &context.terminal;
    let name = terminal.value(texts.name, "--name", "Name of the newsletter", None)?;
    let slug = match args.slug.or_else(|| Slug::suggest(&name)) {
        Some(slug) => slug,
        None => terminal
            .value(None, "SLUG", "Its name in links", None)?
            .parse()
            .map_err(usage("SLUG"))?,
    };
    let from_name = texts.from_name.unwrap_or_else(|| name.clone());
    let from_address = terminal.value(
        texts.from_address,
        "--from-address",
        "Sender's address",
        None,
    )?;
    let question = "Postal address, on one line (may follow later)";
    let postal_address =
        terminal.value(texts.postal_address, "--postal-address", question, Some(""))?;
    let timezone = match texts.timezone {
        Some(zone) => zone,
        None => terminal
            .value(None, "--timezone", "Time zone", Some(&machine_zone()))?
            .parse()
            .map_err(usage("--timezone"))?,
    };
    let cadence = texts.cadence.unwrap_or(Cadence::Daily);
    let days = args.days.unwrap_or_else(|| usual_days(cadence));
    let new = NewNewsletter {
        slug,
        name,
        description: texts.description.unwrap_or_default(),
        from_name,
        from_address,
        reply_to: texts.reply_to,
        postal_address: Some(postal_address).filter(|text| !text.is_empty()),
        locale: texts.locale.unwrap_or_else(|| "en".to_owned()),
        schedule: NewSchedule::new(cadence, Calendar::new(days, args.at, timezone)),
        form_origins: texts.form_origins,
    };
    let newsletter = add::newsletter(&app, new).await.map_err(explain)?;
    if terminal.json {
        terminal.json(&shown(&newsletter))?;
    }
    let slug = &newsletter.slug;
    terminal.say(&format!(
        "Made the newsletter {slug}: {} at {}, {}.",
        newsletter.default_cadence, args.at, newsletter.timezone
    ));
    if newsletter.postal_address.is_none() {
        terminal.say(&format!(
            "Before the first send: paperround newsletter edit {slug} --postal-address \"...\""
        ));
    }
    terminal.say(&format!(
        "Next: paperround feed add https://www.example.org/feed --newsletter {slug}"
    ));
    app.db.close().await;
    Ok(Code::Done)
}

async fn list(context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let newsletters = store::all(&app.db)
        .await
        .context("cannot read the newsletters")?;
    if context.terminal.json {
        context
            .terminal
            .json(&newsletters.iter().map(shown).collect::<Vec<_>>())?;
    } else if newsletters.is_empty() {
        context
            .terminal
            .say("There is no newsletter yet. Next: paperround newsletter add");
    } else {
        let mut table = Table::new(&[
            "slug",
            "name",
            "from",
            "cadence",
            "time zone",
            "postal address",
        ]);
        for newsletter in newsletters {
            let postal = if newsletter.postal_address.is_some() {
                "yes"
            } else {
                "missing"
            };
            table.row([
                newsletter.slug.to_string(),
                newsletter.name,
                newsletter.from_address,
                newsletter.default_cadence.to_string(),
                newsletter.timezone,
                postal.to_owned(),
            ]);
        }
        context.terminal.data(&table.text())?;
    }
    app.db.close().await;
    Ok(Code::Done)
}

async fn edit(args: EditArgs, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let mut newsletter = context.newsletter(&app, Some(&args.slug)).await?;
    let texts = args.texts;
    let given = |text: Option<String>, field: &mut String| {
        if let Some(text) = text {
            *field = text;
        }
    };
    given(texts.name, &mut newsletter.name);
    given(texts.description, &mut newsletter.description);
    given(texts.from_name, &mut newsletter.from_name);
    given(texts.from_address, &mut newsletter.from_address);
    given(texts.locale, &mut newsletter.locale);
    given(
        texts.timezone.map(|zone| zone.name().to_owned()),
        &mut newsletter.timezone,
    );
    // an empty text takes the value away
    if let Some(text) = texts.reply_to {
        newsletter.reply_to = Some(text).filter(|text| !text.is_empty());
    }
    if let Some(text) = texts.postal_address {
        newsletter.postal_address = Some(text).filter(|text| !text.is_empty());
    }
    if let Some(cadence) = texts.cadence {
        newsletter.default_cadence = cadence;
    }
    if !texts.form_origins.is_empty() {
        newsletter.form_origins.0 = texts.form_origins;
    }
    let newsletter = add::edit(&app, newsletter).await.map_err(explain)?;
    if context.terminal.json {
        context.terminal.json(&shown(&newsletter))?;
    }
    context
        .terminal
        .say(&format!("Changed the newsletter {}.", newsletter.slug));
    app.db.close().await;
    Ok(Code::Done)
}

/// What was refused for its state, what for its words.
pub(super) fn explain(error: AddError) -> anyhow::Error {
    match error {
        AddError::Taken(_) => Refused(error.to_string()).into(),
        AddError::Db(error) => anyhow::Error::from(error).context("cannot store it"),
        _ => UsageError(error.to_string()).into(),
    }
}

/// The days of a schedule where none are named.
pub(super) fn usual_days(cadence: Cadence) -> Days {
    match cadence {
        Cadence::Weekly => Days::OfWeek(1),
        Cadence::Monthly => Days::OfMonth(1 << 1),
        Cadence::Off | Cadence::Immediate | Cadence::Daily => Days::All,
    }
}

fn usage<E: std::fmt::Display>(flag: &'static str) -> impl Fn(E) -> UsageError {
    move |error| UsageError(format!("{flag} {error}"))
}

fn machine_zone() -> String {
    TimeZone::try_system()
        .ok()
        .and_then(|zone| zone.iana_name().map(str::to_owned))
        .unwrap_or_else(|| "UTC".to_owned())
}

fn shown(newsletter: &Newsletter) -> serde_json::Value {
    serde_json::json!({
        "id": newsletter.id,
        "slug": newsletter.slug,
        "name": newsletter.name,
        "description": newsletter.description,
        "from_name": newsletter.from_name,
        "from_address": newsletter.from_address,
        "reply_to": newsletter.reply_to,
        "postal_address": newsletter.postal_address,
        "locale": newsletter.locale,
        "timezone": newsletter.timezone,
        "cadence": newsletter.default_cadence,
        "form_origins": newsletter.form_origins.0,
    })
}
