//! People: sign-up, confirmation, interests, leaving, import and export.
//!
//! Nobody is mailed who did not confirm, and nobody after they left. A person gets in by [`signup`] and [`confirm`]
//! and out by [`unsubscribe`]; each of the three is one transaction. What a sign-up's mail becomes is decided only
//! when it is claimed ([`notice`]), so that the answer to a form cannot depend on who is known.

pub mod address_typos;
mod beginning;
pub mod confirm;
pub mod consent;
pub mod email_address;
pub mod evidence;
pub mod expire;
pub mod explain;
pub mod export;
pub mod import;
pub mod import_file;
pub mod intake;
pub mod limits;
pub mod network;
pub mod notice;
pub mod notice_mail;
pub mod replay;
pub mod selection;
pub mod signup;
mod store;
pub mod unsubscribe;

use crate::clock::Timestamp;
use crate::id::{NewsletterId, SubscriberId, SubscriptionId};
use crate::text_enum;

text_enum! {
    /// How it stands between a person and a newsletter.
    pub enum SubscriptionState {
        /// Mails come.
        Active = "active",
        /// The person left.
        Unsubscribed = "unsubscribed",
        /// The address does not take mail. Only a new confirmed sign-up, or an operator, ends this.
        Bounced = "bounced",
        /// The person reported a mail as spam. Only an operator ends this.
        Complained = "complained",
    }
}

/// A person's membership in a newsletter; there is one for each pair.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Subscription {
    /// Its id, which its links carry.
    pub id: SubscriptionId,
    /// Whose it is.
    pub subscriber_id: SubscriberId,
    /// To what.
    pub newsletter_id: NewsletterId,
    /// How it stands.
    pub state: SubscriptionState,
    /// Mails wait until then.
    pub paused_until: Option<Timestamp>,
    /// When it began, the last time.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is active.
    pub ended_at: Option<Timestamp>,
}
