//! A person leaves. From the commit on, no transmission of theirs starts.

use std::sync::Arc;

use serde_json::json;

use super::consent::{self, ConsentKind, NewEvent};
use super::evidence::Evidence;
use super::store;
use super::{Subscription, SubscriptionState};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::deliveries;
use crate::id::NewsletterId;
use crate::token::ReaderToken;

/// What became of a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It ended with this request.
    Now(NewsletterId),
    /// It had ended before; nothing changed.
    Before(NewsletterId),
    /// The database knows no such subscription: there is nobody to mail.
    Unknown,
}

/// The subscription behind a link, with its address.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Membership {
    /// The subscription.
    #[sqlx(flatten)]
    pub subscription: Subscription,
    /// The address as written; empty once erased.
    pub email: String,
    /// The subscriber's language, where it is known.
    pub locale: Option<String>,
}

/// What the page before the button shows; `None` where there is nothing to end.
pub async fn find(db: &Db, token: ReaderToken) -> sqlx::Result<Option<Membership>> {
    store::membership(db, token.subscription).await
}

impl Membership {
    /// Whether mails come.
    pub fn is_active(&self) -> bool {
        self.subscription.state == SubscriptionState::Active
    }
}

/// Ends the subscription that `token` names, skips what waits for it and records the withdrawal, in one transaction.
///
/// The subscription comes first: a mark that is on its way re-reads it, so either the mark sees the goodbye, or the
/// goodbye waits for a mark that was earlier. Again is harmless, and leaves no second event.
pub async fn unsubscribe(
    app: &Arc<App>,
    token: ReaderToken,
    evidence: Evidence,
) -> sqlx::Result<Left> {
    let work = app.clone();
    app.db
        .write(move |tx| Box::pin(async move { leave(tx, &work, token, &evidence).await }))
        .await
}

async fn leave(
    tx: &mut Tx<'_>,
    app: &App,
    token: ReaderToken,
    evidence: &Evidence,
) -> sqlx::Result<Left> {
    let now = app.clock.now();
    let id = token.subscription;
    let ended = store::end_subscription(tx, id, now, evidence.channel).await?;
    let Some((subscriber, newsletter)) = ended else {
        let known = store::newsletter_of_subscription(tx, id).await?;
        return Ok(known.map_or(Left::Unknown, Left::Before));
    };
    deliveries::operate::skip_of_subscription(tx, id, now).await?;
    let event = NewEvent {
        subscriber,
        email_key: &store::key_of_subscriber(tx, subscriber).await?,
        newsletter,
        kind: ConsentKind::Withdrawn,
        evidence,
        detail: json!({ "issue": token.issue }),
    };
    consent::record(tx, app, event, now).await?;
    Ok(Left::Now(newsletter))
}
