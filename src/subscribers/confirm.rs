//! The owner of an address agrees: a sign-up becomes a subscription.

use std::sync::Arc;

use serde_json::json;

use super::SubscriptionState;
use super::beginning;
use super::consent::{self, ConsentKind, NewEvent};
use super::email_address::EmailAddress;
use super::evidence::Evidence;
use super::notice::Barrier;
use super::selection::Selection;
use super::store::{self, NewSubscription};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries::Kind;
use crate::deliveries::enqueue::{self, NewNotice};
use crate::id::{NewsletterId, SignupId, SubscriberId, SubscriptionId};
use crate::newsletters::Cadence;
use crate::token::ConfirmToken;

/// How long the welcome is worth sending.
const WELCOME_LIFETIME: std::time::Duration = std::time::Duration::from_hours(48);

/// A sign-up as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Signup {
    /// Its id.
    pub id: SignupId,
    /// To what.
    pub newsletter_id: NewsletterId,
    /// The address as typed.
    pub email: EmailAddress,
    /// The language of the form.
    pub locale: String,
    /// What was chosen.
    #[sqlx(json)]
    pub selection: Selection,
    /// The random half of its token.
    pub token_salt: Vec<u8>,
    /// What its link is found by.
    pub token_hash: Vec<u8>,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Until when its link works.
    pub expires_at: Timestamp,
    /// When its link was used.
    pub confirmed_at: Option<Timestamp>,
    /// Where it came from.
    #[sqlx(json)]
    pub evidence: Evidence,
}

/// What became of a press on the button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// The subscription is active from now on.
    Now {
        /// To what.
        newsletter: NewsletterId,
        /// The subscription.
        subscription: SubscriptionId,
        /// The rhythm in force.
        cadence: Cadence,
    },
    /// The link was used before, or the address is subscribed by another; nothing changed.
    Before {
        /// To what.
        newsletter: NewsletterId,
    },
    /// The link is unknown or expired, or older than a decision of the owner against mails; nothing changed.
    Gone,
}

/// The sign-up that `token` belongs to, while its link works or after it was used; else `None`.
pub async fn find(db: &Db, token: &ConfirmToken, now: Timestamp) -> sqlx::Result<Option<Signup>> {
    let signup = store::signup_by_token(db, &token.hash()).await?;
    Ok(signup.filter(|signup| signup.works_at(now)))
}

/// Confirms the sign-up that `token` belongs to, in one transaction: the subscription, its interests, the record of
/// consent and the welcome. Again, or at the same time twice, is harmless.
pub async fn confirm(
    app: &Arc<App>,
    token: &ConfirmToken,
    evidence: Evidence,
) -> sqlx::Result<Confirmed> {
    let work = app.clone();
    let hash = token.hash();
    let outcome = app
        .db
        .write(move |tx| {
            Box::pin(async move { confirm_by_hash(tx, &work, &hash, &evidence).await })
        })
        .await;
    match outcome {
        Ok(confirmed) => {
            app.queued.notify_one();
            Ok(confirmed)
        }
        Err(Undone::Unchanged(confirmed)) => Ok(confirmed),
        Err(Undone::Db(error)) => Err(error),
    }
}

/// Why the transaction is undone.
enum Undone {
    /// Nothing was to change.
    Unchanged(Confirmed),
    Db(sqlx::Error),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error)
    }
}

impl Signup {
    fn works_at(&self, now: Timestamp) -> bool {
        self.confirmed_at.is_some() || now < self.expires_at
    }
}

async fn confirm_by_hash(
    tx: &mut Tx<'_>,
    app: &App,
    hash: &[u8; 32],
    evidence: &Evidence,
) -> Result<Confirmed, Undone> {
    let now = app.clock.now();
    let signup = store::signup_to_confirm(tx, hash).await?;
    let signup = signup
        .filter(|signup| signup.works_at(now))
        .ok_or(Undone::Unchanged(Confirmed::Gone))?;
    let newsletter = signup.newsletter_id;
    let before = || Undone::Unchanged(Confirmed::Before { newsletter });
    if signup.confirmed_at.is_some() {
        return Err(before());
    }
    lift_or_refuse(tx, app, &signup, now).await?;

    let subscriber = subscriber_of(tx, app, &signup, now).await?;
    let subscription = activate(tx, app, &signup, subscriber, now).await?;
    if !store::mark_confirmed(tx, signup.id, now).await? {
        return Err(before());
    }
    let cadence = beginning::begin(tx, newsletter, &signup.selection, subscription).await?;
    let welcome = NewNotice {
        id: app.ids.next(),
        kind: Kind::Welcome,
        newsletter_id: newsletter,
        signup_id: Some(signup.id),
        subscription_id: Some(subscription),
        recipient: signup.email.as_str().to_owned(),
        domain: signup.email.domain().to_owned(),
        payload: None,
        now,
        expires_at: now + WELCOME_LIFETIME,
    };
    enqueue::notice(tx, &welcome).await?;
    let event = NewEvent {
        subscriber,
        email_key: signup.email.key(),
        newsletter,
        kind: ConsentKind::Confirmed,
        evidence,
        detail: json!({
            "topics": signup.selection.topics,
            "cadence": cadence,
            "signup": signup.id,
            "requested_at": signup.requested_at,
            "request": signup.evidence,
        }),
    };
    consent::record(tx, app, event, now).await?;
    Ok(Confirmed::Now {
        newsletter,
        subscription,
        cadence,
    })
}

/// A fresh decision of the owner lifts what only kept mail from bouncing; a refusal of theirs stays.
async fn lift_or_refuse(
    tx: &mut Tx<'_>,
    app: &App,
    signup: &Signup,
    now: Timestamp,
) -> Result<(), Undone> {
    match Barrier::of(tx, app, signup.email.key(), signup.newsletter_id, now).await? {
        Some(Barrier::Lasting) => Err(Undone::Unchanged(Confirmed::Gone)),
        // It was confirmed, so a mail has arrived.
        Some(Barrier::RecentBounce) | None => {
            for key in app.keys.suppression_keys(signup.email.key().as_str()) {
                store::lift_suppression(tx, &key.hash).await?;
            }
            Ok(())
        }
    }
}

async fn subscriber_of(
    tx: &mut Tx<'_>,
    app: &App,
    signup: &Signup,
    now: Timestamp,
) -> sqlx::Result<SubscriberId> {
    let id = app.ids.next();
    store::insert_subscriber(tx, id, &signup.email, Some(&signup.locale), now).await?;
    store::subscriber_by_key(tx, signup.email.key()).await
}

async fn activate(
    tx: &mut Tx<'_>,
    app: &App,
    signup: &Signup,
    subscriber: SubscriberId,
    now: Timestamp,
) -> Result<SubscriptionId, Undone> {
    let newsletter = signup.newsletter_id;
    let new = NewSubscription {
        id: app.ids.next(),
        subscriber_id: subscriber,
        newsletter_id: newsletter,
        started_at: now,
    };
    if store::insert_subscription(tx, &new).await? {
        return Ok(new.id);
    }
    let existing = store::lock_subscription(tx, subscriber, newsletter).await?;
    match existing.state {
        SubscriptionState::Active => Err(Undone::Unchanged(Confirmed::Before { newsletter })),
        SubscriptionState::Complained => Err(Undone::Unchanged(Confirmed::Gone)),
        SubscriptionState::Unsubscribed | SubscriptionState::Bounced => {
            // Who left after asking has decided anew: an old link brings nobody back.
            if existing
                .ended_at
                .is_some_and(|ended_at| ended_at >= signup.requested_at)
            {
                return Err(Undone::Unchanged(Confirmed::Gone));
            }
            store::revive_subscription(tx, existing.id, now).await?;
            Ok(existing.id)
        }
    }
}
