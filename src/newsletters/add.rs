//! Making and changing newsletters, topics and schedules.

use std::time::Duration;

use sqlx::types::Json;

use super::schedule::{LocalTime, Zone};
use super::{Cadence, Calendar, Days, Missed, Mode, Newsletter, Schedule, Slug, Topic, store};
use crate::app::App;
use crate::id::NewsletterId;
use crate::subscribers::email_address::{AddressError, AddressRules, EmailAddress};

/// Cards in an issue when nothing else is said.
pub const MAX_CARDS: u32 = 12;
/// Between two immediate issues when nothing else is said: a burst makes one mail.
pub const MIN_INTERVAL: Duration = Duration::from_mins(30);
/// How late a slot may be when nothing else is said.
pub const MAX_LATENESS: Duration = Duration::from_hours(12);

/// What a newsletter is made from. Texts are as the operator wrote them.
#[derive(Clone, Debug)]
pub struct NewNewsletter {
    /// Its name in URLs.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// What readers are told at sign-up.
    pub description: String,
    /// The display name of the sender.
    pub from_name: String,
    /// The sender's address.
    pub from_address: String,
    /// Where replies go, if not to the sender.
    pub reply_to: Option<String>,
    /// Required before the first send.
    pub postal_address: Option<String>,
    /// BCP 47.
    pub locale: String,
    /// Its first schedule. Its cadence is the default for readers who chose none, its zone the newsletter's.
    pub schedule: NewSchedule,
    /// Origins whose forms may post here.
    pub form_origins: Vec<String>,
}

/// What a schedule is made from.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// Whose interests it serves.
    pub cadence: Cadence,
    /// When it is due.
    pub calendar: Calendar,
    /// Whether its issues go by themselves.
    pub mode: Mode,
    /// Fewer articles wait for the next slot.
    pub min_articles: u32,
    /// Articles with picture and summary.
    pub max_cards: u32,
    /// Between two immediate issues.
    pub min_interval: Duration,
    /// What happens to slots that passed while the service was down.
    pub missed: Missed,
    /// A slot later than this is missed.
    pub max_lateness: Duration,
}

/// Why a newsletter, topic or schedule was not made.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The name in URLs is in use.
    #[error("{0} is taken: choose another name")]
    Taken(Slug),
    /// A required text is empty or has control characters.
    #[error("{0} must be a line of text that is not empty")]
    Text(&'static str),
    /// An address of the newsletter cannot be one.
    #[error("{field}: {source}")]
    Address {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        source: AddressError,
    },
    /// `off` is a reader's choice, not a newsletter's.
    #[error("a newsletter's cadence is immediate, daily, weekly or monthly, not off")]
    Off,
    /// The database answered an error.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Makes a newsletter with its topic `all` and a schedule of its default cadence.
pub async fn newsletter(app: &App, new: NewNewsletter) -> Result<Newsletter, AddError> {
    if new.schedule.cadence == Cadence::Off {
        return Err(AddError::Off);
    }
    let newsletter = Newsletter {
        id: app.ids.next(),
        slug: new.slug,
        name: new.name,
        description: new.description.trim().to_owned(),
        from_name: new.from_name,
        from_address: new.from_address,
        reply_to: new.reply_to,
        postal_address: new.postal_address,
        locale: new.locale,
        timezone: new.schedule.calendar.zone().name().to_owned(),
        default_cadence: new.schedule.cadence,
        form_origins: Json(new.form_origins),
        created_at: app.clock.now(),
    };
    let newsletter = checked(app, newsletter)?;
    let topic = Topic {
        id: app.ids.next(),
        newsletter_id: newsletter.id,
        slug: Slug::all(),
        name: "Everything".to_owned(),
        position: 0,
        default_on: true,
        max_cadence: None,
    };
    let first = row(app, newsletter.id, new.schedule);
    let now = newsletter.created_at;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if !store::insert(tx, &newsletter).await? {
                    return Err(AddError::Taken(newsletter.slug));
                }
                store::insert_topic(tx, &topic).await?;
                store::insert_schedule(tx, &first, now).await?;
                Ok(newsletter)
            })
        })
        .await
}

/// Stores a changed newsletter. Its id, slug and creation time stay.
pub async fn edit(app: &App, newsletter: Newsletter) -> Result<Newsletter, AddError> {
    let newsletter = checked(app, newsletter)?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::update(tx, &newsletter).await?;
                Ok(newsletter)
            })
        })
        .await
}

/// Adds a topic behind those that are there.
pub async fn topic(
    app: &App,
    newsletter: NewsletterId,
    slug: Slug,
    name: String,
    max_cadence: Option<Cadence>,
) -> Result<Topic, AddError> {
    let name = line("the topic's name", &name)?;
    let id = app.ids.next();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let position = i64::try_from(store::topics_in(tx, newsletter).await?.len())
                    .unwrap_or(i64::MAX);
                let topic = Topic {
                    id,
                    newsletter_id: newsletter,
                    slug,
                    name,
                    position,
                    default_on: false,
                    max_cadence,
                };
                if store::insert_topic(tx, &topic).await? {
                    Ok(topic)
                } else {
                    Err(AddError::Taken(topic.slug))
                }
            })
        })
        .await
}

/// Adds a schedule. Its first slot is the next one: what has passed is not made up for.
pub async fn schedule(
    app: &App,
    newsletter: NewsletterId,
    new: NewSchedule,
) -> Result<Schedule, AddError> {
    if new.cadence == Cadence::Off {
        return Err(AddError::Off);
    }
    let schedule = row(app, newsletter, new);
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::insert_schedule(tx, &schedule, schedule.handled_to).await?;
                Ok(schedule)
            })
        })
        .await
}

impl NewSchedule {
    /// The usual schedule of a cadence: each day, each Monday or each first of the month at `local_time` in `zone`.
    pub fn usual(cadence: Cadence, local_time: LocalTime, zone: Zone) -> Self {
        let days = match cadence {
            Cadence::Weekly => Days::OfWeek(1),
            Cadence::Monthly => Days::OfMonth(1 << 1),
            Cadence::Off | Cadence::Immediate | Cadence::Daily => Days::All,
        };
        Self::new(cadence, Calendar::new(days, local_time, zone))
    }

    /// A schedule of a cadence at these times, the rest as usual.
    pub fn new(cadence: Cadence, calendar: Calendar) -> Self {
        Self {
            cadence,
            calendar,
            mode: Mode::Automatic,
            min_articles: 1,
            max_cards: MAX_CARDS,
            min_interval: MIN_INTERVAL,
            missed: Missed::Latest,
            max_lateness: MAX_LATENESS,
        }
    }
}

fn row(app: &App, newsletter_id: NewsletterId, new: NewSchedule) -> Schedule {
    Schedule {
        id: app.ids.next(),
        newsletter_id,
        cadence: new.cadence,
        calendar: new.calendar,
        mode: new.mode,
        min_articles: new.min_articles,
        max_cards: new.max_cards,
        min_interval: new.min_interval,
        missed: new.missed,
        max_lateness: new.max_lateness,
        enabled: true,
        handled_to: app.clock.now(),
    }
}

/// The newsletter with its texts trimmed and its addresses in the form that goes on the wire.
fn checked(app: &App, newsletter: Newsletter) -> Result<Newsletter, AddError> {
    let address = |field, text: &str| {
        EmailAddress::parse(text, sender_rules(app))
            .map(|address| address.to_wire())
            .map_err(|source| AddError::Address { field, source })
    };
    let reply_to = newsletter
        .reply_to
        .as_deref()
        .map(|text| address("reply-to", text))
        .transpose()?;
    // an address on paper has several lines
    let postal_address = newsletter
        .postal_address
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    Ok(Newsletter {
        name: line("the name", &newsletter.name)?,
        from_name: line("the sender's name", &newsletter.from_name)?,
        from_address: address("from-address", &newsletter.from_address)?,
        reply_to,
        postal_address,
        ..newsletter
    })
}

/// A sender may be `noreply@`; whether it may be under `.test` is the instance's setting.
fn sender_rules(app: &App) -> AddressRules {
    AddressRules {
        allow_special_use: app.config.signup.allow_special_use,
        allow_roles: true,
        smtputf8: false,
    }
}

fn line(field: &'static str, text: &str) -> Result<String, AddError> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(AddError::Text(field));
    }
    Ok(text.to_owned())
}
