//! The mails about one person's sign-up and subscription. The same rows give the same bytes, so that a retry is the
//! same mail.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::confirm::Signup;
use super::notice::NoticeKind;
use super::store;
use crate::app::App;
use crate::clock::Timestamp;
use crate::id::{DeliveryId, NewsletterId, SignupId, SubscriptionId};
use crate::issues::render::newsletter_context;
use crate::mail::context::{ConfirmationContext, Links, ManageLinkContext, WelcomeContext};
use crate::mail::template::RenderError;
use crate::mail::{EncodeError, Encoded, MailKind, Mailbox, Message};
use crate::newsletters::{self, Cadence, Newsletter};

/// Which mail, about what.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The delivery that carries it.
    pub delivery: DeliveryId,
    /// What it is.
    pub kind: NoticeKind,
    /// About which newsletter.
    pub newsletter: NewsletterId,
    /// By which sign-up.
    pub signup: Option<SignupId>,
    /// About which subscription.
    pub subscription: Option<SubscriptionId>,
    /// When it was queued.
    pub queued_at: Timestamp,
}

/// Why it cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NoticeMailError {
    /// What it is about is gone; making it again gives the same.
    #[error("the {0} it is about is gone")]
    Gone(&'static str),
    /// No key of the ring made the sign-up's link.
    #[error("no key of the key ring made its confirm link: was secrets.toml replaced?")]
    KeyGone,
    /// The template fails.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The database answered an error: try again.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// The message with its slots. Those for a reader's tokens are there where it has links of the subscription.
pub async fn encode(app: &App, about: About) -> Result<Encoded, NoticeMailError> {
    let newsletter = newsletters::store::by_id(&app.db, about.newsletter).await?;
    let newsletter = newsletter.ok_or(NoticeMailError::Gone("newsletter"))?;
    let signup = match about.signup {
        Some(id) => store::signup(&app.db, id).await?,
        None => None,
    };
    match about.kind {
        NoticeKind::Confirmation => {
            let signup = signup.ok_or(NoticeMailError::Gone("sign-up"))?;
            let context = confirmation(app, &newsletter, &signup).await?;
            finish(
                app,
                &newsletter,
                about,
                MailKind::Confirmation,
                &signup.locale,
                &context,
            )
        }
        NoticeKind::Welcome => {
            let selection = signup.as_ref().map(|signup| signup.selection.clone());
            let topics = newsletters::store::topics(&app.db, newsletter.id).await?;
            let cadence = selection
                .unwrap_or_default()
                .in_force(&topics, newsletter.default_cadence);
            let locale = locale(app, about, signup.as_ref(), &newsletter).await?;
            let context = WelcomeContext {
                newsletter: newsletter_context(&newsletter),
                links: links(app),
                cadence_key: cadence_key(cadence),
                next_at: next_at(app, &newsletter, cadence, about.queued_at, &locale).await?,
                latest: Vec::new(),
            };
            finish(
                app,
                &newsletter,
                about,
                MailKind::Welcome,
                &locale,
                &context,
            )
        }
        NoticeKind::ManageLink => {
            let locale = locale(app, about, signup.as_ref(), &newsletter).await?;
            let context = ManageLinkContext {
                newsletter: newsletter_context(&newsletter),
                links: links(app),
            };
            finish(
                app,
                &newsletter,
                about,
                MailKind::ManageLink,
                &locale,
                &context,
            )
        }
    }
}

async fn confirmation(
    app: &App,
    newsletter: &Newsletter,
    signup: &Signup,
) -> Result<ConfirmationContext, NoticeMailError> {
    let (salt, hash) = (
        signup.token_salt.as_slice().try_into(),
        signup.token_hash.as_slice().try_into(),
    );
    let (Ok(salt), Ok(hash)) = (salt, hash) else {
        return Err(NoticeMailError::KeyGone);
    };
    let token = app
        .keys
        .stored_confirm_token(signup.id, salt, hash)
        .ok_or(NoticeMailError::KeyGone)?;
    let topics = newsletters::store::topics(&app.db, newsletter.id).await?;
    let cadence = signup
        .selection
        .in_force(&topics, newsletter.default_cadence);
    let chosen = topics
        .into_iter()
        .filter(|topic| signup.selection.topics.contains(&topic.slug));
    Ok(ConfirmationContext {
        newsletter: newsletter_context(newsletter),
        // where a foreign form stood is the requester's word: not repeated to a stranger
        page: None,
        requested_at: in_words(app, newsletter, signup.requested_at, &signup.locale),
        expires_at: in_words(app, newsletter, signup.expires_at, &signup.locale),
        cadence_key: cadence_key(cadence),
        topics: chosen.map(|topic| topic.name).collect(),
        confirm_url: app
            .config
            .server
            .base_url
            .join(&format!("/confirm/{}", token.text())),
        not_me_url: None,
        privacy_url: None,
    })
}

/// The language of the form, else the reader's, else the newsletter's.
async fn locale(
    app: &App,
    about: About,
    signup: Option<&Signup>,
    newsletter: &Newsletter,
) -> Result<String, NoticeMailError> {
    if let Some(signup) = signup {
        return Ok(signup.locale.clone());
    }
    let id = about
        .subscription
        .ok_or(NoticeMailError::Gone("subscription"))?;
    let membership = store::membership(&app.db, id).await?;
    let membership = membership.ok_or(NoticeMailError::Gone("subscription"))?;
    Ok(membership
        .locale
        .unwrap_or_else(|| newsletter.locale.clone()))
}

/// Marks stand where the reader's token goes.
fn links(app: &App) -> Links {
    let marks = app.keys.slot_marks();
    Links {
        unsubscribe_url: Some(
            app.config
                .server
                .base_url
                .join(&format!("/unsubscribe/{}", marks.unsubscribe)),
        ),
        preferences_url: None,
        web_url: None,
    }
}

/// When the reader's first issue may come, as it looked when the notice was queued.
async fn next_at(
    app: &App,
    newsletter: &Newsletter,
    cadence: Cadence,
    after: Timestamp,
    locale: &str,
) -> Result<Option<String>, NoticeMailError> {
    if cadence == Cadence::Immediate {
        return Ok(None);
    }
    let schedules = newsletters::store::schedules(&app.db, newsletter.id).await?;
    let next = schedules
        .iter()
        .filter(|schedule| schedule.enabled && schedule.cadence == cadence)
        .filter_map(|schedule| schedule.calendar.next_slot(after))
        .min();
    Ok(next.map(|slot| in_words(app, newsletter, slot.at, locale)))
}

fn cadence_key(cadence: Cadence) -> String {
    format!("cadence-{cadence}")
}

fn in_words(app: &App, newsletter: &Newsletter, at: Timestamp, locale: &str) -> String {
    let zone = TimeZone::get(&newsletter.timezone).unwrap_or(TimeZone::UTC);
    app.texts.date_time(locale, &at.in_zone(zone))
}

fn finish(
    app: &App,
    newsletter: &Newsletter,
    about: About,
    kind: MailKind,
    locale: &str,
    context: &impl Serialize,
) -> Result<Encoded, NoticeMailError> {
    let rendered = app.templates.render(kind, context, locale)?;
    let feedback_id = format!(
        "n-{}:k-{}:{}",
        newsletter.slug.as_str(),
        about.kind,
        app.config.mail.sender_id
    );
    let message = Message {
        from: &Mailbox {
            name: newsletter.from_name.clone(),
            address: newsletter.from_address.clone(),
        },
        reply_to: newsletter.reply_to.as_deref(),
        content: &rendered,
        automatic: true,
        feedback_id: Some(&feedback_id),
        list: None,
        boundary: about.delivery.0,
    };
    Ok(message.encode(&app.keys.slot_marks())?)
}
