//! The publication and its topics as they are stored.

use sqlx::types::Json;

use super::{Cadence, Slug};
use crate::clock::Timestamp;
use crate::id::{NewsletterId, TopicId};

/// A publication that readers subscribe to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Newsletter {
    /// Its id.
    pub id: NewsletterId,
    /// Its name in URLs; unique.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// What readers are told at sign-up: a sentence or two; may be empty.
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
    /// IANA name.
    pub timezone: String,
    /// For readers who chose none.
    pub default_cadence: Cadence,
    /// Origins whose forms may post here, and to which a form's `next` may lead.
    pub form_origins: Json<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A public subject of a newsletter.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Whose.
    pub newsletter_id: NewsletterId,
    /// Its name in forms and commands; unique in the newsletter. `all` is built in.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Order in lists.
    pub position: i64,
    /// Whether a form offers it ticked. Never for consent: only what the reader sees first.
    pub default_on: bool,
    /// The publisher's ceiling.
    pub max_cadence: Option<Cadence>,
}
