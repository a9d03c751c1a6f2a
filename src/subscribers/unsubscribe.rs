//! A person leaves. From the commit on, no transmission of theirs starts.

use std::sync::Arc;

use serde_json::json;

use super::consent::{self, ConsentKind, NewEvent};
use super::email_address::EmailKey;
use super::evidence::{Channel, Evidence};
use super::store;
use super::{Subscription, SubscriptionState};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries;
use crate::id::{IssueId, NewsletterId, SubscriptionId};
use crate::suppressions::journal::{Entry, Kind};
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

/// What ends, since when, and by the mail of which issue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goodbye {
    pub(super) subscription: SubscriptionId,
    pub(super) issue: Option<IssueId>,
    pub(super) at: Timestamp,
}

/// Ends the subscription that `token` names, skips what waits for it and records the withdrawal, in one transaction;
/// then notes it in the suppression journal.
///
/// The subscription comes first: a mark that is on its way re-reads it, so either the mark sees the goodbye, or the
/// goodbye waits for a mark that was earlier. Again is harmless, and leaves no second event. It runs in a task of its
/// own: a caller that goes away does not come between the commit and the journal.
pub async fn unsubscribe(
    app: &Arc<App>,
    token: ReaderToken,
    evidence: Evidence,
) -> sqlx::Result<Left> {
    let app = app.clone();
    let done = tokio::spawn(async move {
        let goodbye = Goodbye {
            subscription: token.subscription,
            issue: token.issue,
            at: app.clock.now(),
        };
        let work = app.clone();
        let left = app
            .db
            .write(move |tx| Box::pin(async move { leave(tx, &work, goodbye, &evidence).await }))
            .await?;
        note(&app, goodbye, &left).await;
        Ok(left.into())
    });
    match done.await {
        Ok(left) => left,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // the runtime is going down
            Err(_) => Err(sqlx::Error::WorkerCrashed),
        },
    }
}

/// What became of a goodbye in the database.
pub(super) enum Ended {
    Now(NewsletterId, EmailKey),
    Before(NewsletterId),
    Unknown,
}

impl Ended {
    pub(super) fn is_now(&self) -> bool {
        matches!(self, Self::Now(..))
    }
}

impl From<Ended> for Left {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Now(newsletter, _) => Self::Now(newsletter),
            Ended::Before(newsletter) => Self::Before(newsletter),
            Ended::Unknown => Self::Unknown,
        }
    }
}

/// Ends it, as of `goodbye.at`.
pub(super) async fn leave(
    tx: &mut Tx<'_>,
    app: &App,
    goodbye: Goodbye,
    evidence: &Evidence,
) -> sqlx::Result<Ended> {
    let Goodbye {
        subscription,
        issue,
        at,
    } = goodbye;
    let ended = store::end_subscription(tx, subscription, at, evidence.channel).await?;
    let Some((subscriber, newsletter)) = ended else {
        let known = store::newsletter_of_subscription(tx, subscription).await?;
        return Ok(known.map_or(Ended::Unknown, Ended::Before));
    };
    let now = app.clock.now();
    deliveries::operate::skip_of_subscription(tx, subscription, now).await?;
    let email_key = store::key_of_subscriber(tx, subscriber).await?;
    let event = NewEvent {
        subscriber,
        email_key: &email_key,
        newsletter,
        kind: ConsentKind::Withdrawn,
        evidence,
        detail: match evidence.channel {
            Channel::Journal => json!({ "left_at": at }),
            _ => json!({ "issue": issue }),
        },
    };
    consent::record(tx, app, event, now).await?;
    Ok(Ended::Now(newsletter, email_key))
}

/// Writes what ended to the journal, and what the database does not know: it applies should the row come back.
///
/// The goodbye is stored already; a journal that cannot be written is for a person, and the next line or the next start
/// makes up for it.
async fn note(app: &App, goodbye: Goodbye, ended: &Ended) {
    let address = match ended {
        Ended::Now(_, key) => Some(app.keys.suppression_key(key.as_str())),
        Ended::Unknown => None,
        Ended::Before(_) => return,
    };
    let Some(journal) = &app.journal else {
        return;
    };
    let entry = Entry {
        kind: Kind::Unsubscribe,
        at: goodbye.at,
        subscription: goodbye.subscription,
        address,
    };
    if let Err(error) = journal.append(&[entry]).await {
        let path = journal.path().display();
        tracing::error!(%path, error = %error, "An unsubscribe is stored in the database, but not in the journal {path}: {error}");
    }
}
