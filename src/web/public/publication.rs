//! A newsletter as its pages show it.

use crate::clock::Timestamp;
use crate::newsletters::{self, Cadence, Newsletter};
use crate::web::Web;
use crate::web::pages::{Masthead, Pages};

use super::signup_form::{Choice, SignupForm};
use super::views::{Moment, Sender};

/// The head and foot of a newsletter's pages.
pub(super) fn masthead(pages: &Pages, newsletter: &Newsletter) -> Masthead {
    let contact = newsletter.reply_to.as_ref();
    Masthead {
        name: newsletter.name.clone(),
        url: subscribe_url(pages, newsletter),
        contact: contact.unwrap_or(&newsletter.from_address).clone(),
        postal_address: newsletter.postal_address.clone().unwrap_or_default(),
    }
}

/// The sender as mail programs show it.
pub(super) fn sender(newsletter: &Newsletter) -> Sender {
    Sender {
        name: newsletter.from_name.clone(),
        address: newsletter.from_address.clone(),
    }
}

/// The newsletter's sign-up page.
pub(super) fn subscribe_url(pages: &Pages, newsletter: &Newsletter) -> String {
    pages.link(&format!("/subscribe/{}", newsletter.slug))
}

/// How often mails come, as a sentence.
pub(super) fn rhythm(pages: &Pages, locale: &str, cadence: Cadence) -> String {
    pages.texts().get(locale, &format!("rhythm-{cadence}"), &[])
}

/// An empty form for one newsletter.
pub(super) fn form_of(pages: &Pages, locale: &str, newsletter: &Newsletter) -> SignupForm {
    SignupForm {
        action: subscribe_url(pages, newsletter),
        rhythm: rhythm(pages, locale, newsletter.default_cadence),
        ..SignupForm::default()
    }
}

/// An empty form for whichever newsletter: the only one there is, or a choice.
pub(super) fn form_of_any(pages: &Pages, locale: &str, newsletters: &[Newsletter]) -> SignupForm {
    if let [only] = newsletters {
        return form_of(pages, locale, only);
    }
    let choice = |newsletter: &Newsletter| Choice {
        slug: newsletter.slug.to_string(),
        name: newsletter.name.clone(),
    };
    SignupForm {
        action: pages.link("/subscribe"),
        newsletters: newsletters.iter().map(choice).collect(),
        ..SignupForm::default()
    }
}

/// When the next mail of `cadence` can come; `None` where it comes as articles do.
pub(super) async fn next_mail(
    web: &Web,
    locale: &str,
    newsletter: &Newsletter,
    cadence: Cadence,
    now: Timestamp,
) -> sqlx::Result<Option<Moment>> {
    if cadence == Cadence::Immediate {
        return Ok(None);
    }
    let schedules = newsletters::store::schedules(&web.app.db, newsletter.id).await?;
    let next = schedules
        .iter()
        .filter(|schedule| schedule.enabled && schedule.cadence == cadence)
        .filter_map(|schedule| Some((schedule.calendar.next_slot(now)?.at, schedule)))
        .min_by_key(|(at, _)| *at);
    Ok(next.map(|(at, schedule)| Moment {
        datetime: at.to_string(),
        text: web
            .app
            .texts
            .date_time(locale, &at.in_zone(schedule.calendar.zone().to_jiff())),
    }))
}
