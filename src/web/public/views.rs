//! What each reader page shows: one struct for each template.

use serde::Serialize;

use super::signup_form::SignupForm;
use crate::web::pages::Page;

/// The form of one newsletter, or of all where none is named.
#[derive(Debug, Clone, Serialize)]
pub struct SubscribePage {
    /// Its heading.
    pub title: String,
    /// The newsletter's description; may be empty.
    pub description: String,
    /// The form.
    pub form: SignupForm,
}

impl Page for SubscribePage {
    const TEMPLATE: &'static str = "subscribe.html";
}

/// What everybody sees after the form, whatever the address.
#[derive(Debug, Clone, Serialize)]
pub struct CheckInboxPage {
    /// The newsletter's name.
    pub newsletter: String,
    /// Whose mail to look for.
    pub sender: Sender,
    /// How long the link in the mail works.
    pub link_hours: u64,
    /// The form again, for a typo.
    pub form: SignupForm,
}

impl Page for CheckInboxPage {
    const TEMPLATE: &'static str = "check_inbox.html";
}

/// What is about to be confirmed.
#[derive(Debug, Clone, Serialize)]
pub struct ConfirmPage {
    /// The newsletter's name.
    pub newsletter: String,
    /// The chosen topics' names; empty for everything.
    pub topics: Vec<String>,
    /// How often mails come, as a sentence.
    pub rhythm: String,
    /// The newsletter's sender.
    pub sender: Sender,
    /// The address that is confirmed.
    pub email: String,
    /// Where the button posts to.
    pub action: String,
}

impl Page for ConfirmPage {
    const TEMPLATE: &'static str = "confirm.html";
}

/// The subscription stands.
#[derive(Debug, Clone, Serialize)]
pub struct ConfirmedPage {
    /// The newsletter's name.
    pub newsletter: String,
    /// How often mails come, as a sentence.
    pub rhythm: String,
    /// When the first mail can come, where that is known.
    pub first_mail: Option<Moment>,
    /// The newsletter's sender.
    pub sender: Sender,
}

impl Page for ConfirmedPage {
    const TEMPLATE: &'static str = "confirmed.html";
}

/// A sender as mail programs show it: name and address.
#[derive(Debug, Clone, Serialize)]
pub struct Sender {
    /// The name.
    pub name: String,
    /// The address.
    pub address: String,
}

/// An instant for `<time>`.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// RFC 3339.
    pub datetime: String,
    /// In words, with the zone's name.
    pub text: String,
}

/// The link was used before.
#[derive(Debug, Clone, Serialize)]
pub struct AlreadyConfirmedPage {
    /// The newsletter's name.
    pub newsletter: String,
    /// Its sign-up page.
    pub subscribe_url: String,
}

impl Page for AlreadyConfirmedPage {
    const TEMPLATE: &'static str = "already_confirmed.html";
}

/// A confirmation link that is expired, unknown or cut; the page is the same for each.
#[derive(Debug, Clone, Serialize)]
pub struct LinkGonePage {
    /// How long such links work.
    pub link_hours: u64,
    /// The way to a new one.
    pub form: SignupForm,
}

impl Page for LinkGonePage {
    const TEMPLATE: &'static str = "link_gone.html";
}

/// The button that leaves.
#[derive(Debug, Clone, Serialize)]
pub struct UnsubscribePage {
    /// The newsletter's name.
    pub newsletter: String,
    /// The address, masked: mails get forwarded.
    pub masked_email: String,
    /// Where the button posts to.
    pub action: String,
}

impl Page for UnsubscribePage {
    const TEMPLATE: &'static str = "unsubscribe.html";
}

/// The receipt.
#[derive(Debug, Clone, Serialize)]
pub struct UnsubscribedPage {
    /// The newsletter's name, where the subscription is known.
    pub newsletter: Option<String>,
    /// Its sign-up page.
    pub subscribe_url: Option<String>,
}

impl Page for UnsubscribedPage {
    const TEMPLATE: &'static str = "unsubscribed.html";
}

/// An unsubscribe link that is no link of ours; says nothing about anybody.
#[derive(Debug, Clone, Serialize)]
pub struct LeaveLinkBrokenPage {}

impl Page for LeaveLinkBrokenPage {
    const TEMPLATE: &'static str = "leave_link_broken.html";
}
