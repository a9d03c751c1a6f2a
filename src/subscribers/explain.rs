//! Everything about one reader on one page: how it stands, why, and what they were sent.

use serde::Serialize;

use super::SubscriptionState;
use super::consent::{self, ConsentEvent};
use super::email_address::EmailAddress;
use super::evidence::Channel;
use super::store;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::deliveries::State;
use crate::id::{DeliveryId, SubscriberId, SubscriptionId};
use crate::newsletters::Cadence;

/// Deliveries shown for each subscription.
const DELIVERIES: i64 = 100;

/// One membership of the reader with all that belongs to it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Who, and how it stands.
    #[serde(flatten)]
    pub person: Person,
    /// What they are given, topic by topic; rows that are `off` are memory.
    pub interests: Vec<InterestLine>,
    /// What they agreed to, oldest first, in all newsletters.
    pub consent: Vec<ConsentEvent>,
    /// Whether the record of consent is as it was written.
    pub consent_is_whole: bool,
    /// Mails, newest first, at most 100.
    pub deliveries: Vec<DeliveryLine>,
}

/// A reader in one newsletter.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Person {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The subscriber.
    pub subscriber_id: SubscriberId,
    /// The address as written.
    pub email: String,
    /// Their language, where it is known.
    pub locale: Option<String>,
    /// The newsletter's slug.
    pub newsletter: String,
    /// How it stands.
    pub state: SubscriptionState,
    /// Mails wait until then.
    pub paused_until: Option<Timestamp>,
    /// When it began, the last time.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// By which door it ended.
    pub end_channel: Option<Channel>,
}

/// One interest.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct InterestLine {
    /// The topic's slug.
    pub topic: String,
    /// The rhythm.
    pub cadence: Cadence,
    /// Articles up to this number were never its business.
    pub start_seq: i64,
    /// Articles up to this number were given.
    pub given_seq: i64,
}

/// One mail.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct DeliveryLine {
    /// Its id.
    pub id: DeliveryId,
    /// `digest`, `confirmation`, `welcome` ...
    pub kind: String,
    /// How it stands.
    pub state: State,
    /// The issue's number.
    pub issue: Option<i64>,
    /// The subject, of a digest.
    pub subject: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// No attempt before this.
    pub not_before: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// Replies so far.
    pub tries: i64,
    /// Times in doubt: the relay's reply was lost, and the mail may have arrived.
    pub doubt: i64,
    /// The relay's last reply: its code.
    pub reply_code: Option<i64>,
    /// The relay's last reply: its words.
    pub reply_text: Option<String>,
    /// Why it was skipped, held or failed.
    pub reason: Option<String>,
}

/// All memberships of `email`, by newsletter; empty for an address that never confirmed.
pub async fn explain(db: &Db, email: &EmailAddress) -> sqlx::Result<Vec<Explanation>> {
    let people = store::people_by_key(db, email.key().as_str()).await?;
    let mut explanations = Vec::with_capacity(people.len());
    for person in people {
        let consent = store::consent_of(db, person.subscriber_id).await?;
        let consent = consent::in_chain_order(consent);
        explanations.push(Explanation {
            interests: store::interests_of(db, person.subscription_id).await?,
            consent_is_whole: consent::first_broken(&consent).is_none(),
            consent,
            deliveries: store::deliveries_of(db, person.subscription_id, DELIVERIES).await?,
            person,
        });
    }
    Ok(explanations)
}
