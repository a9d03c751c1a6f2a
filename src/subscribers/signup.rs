//! Somebody asks for a newsletter.
//!
//! Nothing here reads a table about people: what is answered, and how fast, cannot depend on whether the address is
//! known. That is decided when the confirmation is claimed, in [`notice`](super::notice).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;

use super::email_address::EmailAddress;
use super::evidence::Evidence;
use super::limits::{self, Counted, UsedUp};
use super::network::Network;
use super::selection::Selection;
use super::store::{self, NewSignup};
use crate::app::App;
use crate::config::SignupConfig;
use crate::db::Tx;
use crate::deliveries::Kind;
use crate::deliveries::enqueue::{self, NewNotice};
use crate::id::{NewsletterId, SignupId, random_bytes};

/// The limit of all sign-ups together.
const INSTANCE: &str = "signup_instance";

/// One request to be subscribed.
#[derive(Debug, Clone)]
pub struct Request {
    /// To what.
    pub newsletter: NewsletterId,
    /// With which address.
    pub email: EmailAddress,
    /// What was chosen.
    pub selection: Selection,
    /// The language of the form, for the mail.
    pub locale: String,
    /// Where it came from.
    pub evidence: Evidence,
    /// Whose limits it counts against.
    pub client: IpAddr,
    /// A field that people do not see was filled in: counted and answered like any other, and nothing else.
    pub is_trapped: bool,
}

/// Why a sign-up was not taken. Nothing of it was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignupError {
    /// The client or its network asked too often.
    #[error("too many sign-ups from one network")]
    TooMany(Duration),
    /// All together asked too often.
    #[error("too many sign-ups in all")]
    UsedUp(Duration),
    /// The database did not take it, nor those that were to be stored with it.
    #[error("the sign-up could not be stored")]
    Db(#[source] Arc<sqlx::Error>),
}

impl From<UsedUp> for SignupError {
    fn from(used_up: UsedUp) -> Self {
        match used_up.name {
            INSTANCE => Self::UsedUp(used_up.wait),
            _ => Self::TooMany(used_up.wait),
        }
    }
}

/// Stores the sign-up and queues its confirmation, in one transaction, which sign-ups that wait share. A caller that is
/// dropped does not stop it.
pub async fn sign_up(app: &Arc<App>, request: Request) -> Result<(), SignupError> {
    app.intake.take(app, request).await
}

/// Stores several, each unless it is over a limit.
pub(super) async fn store(
    app: &Arc<App>,
    requests: Vec<Request>,
) -> sqlx::Result<Vec<Result<(), SignupError>>> {
    let work = app.clone();
    let stored = app
        .db
        .write(move |tx| Box::pin(async move { store_signups(tx, &work, &requests).await }))
        .await?;
    if stored.iter().any(Result::is_ok) {
        app.queued.notify_one();
    }
    Ok(stored)
}

async fn store_signups(
    tx: &mut Tx<'_>,
    app: &App,
    requests: &[Request],
) -> sqlx::Result<Vec<Result<(), SignupError>>> {
    let now = app.clock.now();
    let networks: Vec<_> = requests.iter().map(Networks::of).collect();
    let limited: Vec<_> = networks
        .iter()
        .map(|networks| networks.counted(&app.config.signup))
        .collect();
    let limited = limited.iter().map(<[Counted<'_>; 3]>::as_slice);
    let counted = limits::count_each(tx, &app.keys, limited, now).await?;
    let (mut signups, mut notices) = (Vec::new(), Vec::new());
    for (request, counted) in requests.iter().zip(&counted) {
        if counted.is_err() || request.is_trapped {
            continue;
        }
        let id: SignupId = app.ids.next();
        let salt = random_bytes::<16>(&*app.entropy);
        let expires_at = now + app.config.signup.confirm_lifetime;
        signups.push(NewSignup {
            id,
            newsletter_id: request.newsletter,
            email: request.email.as_str(),
            email_key: request.email.key().as_str(),
            locale: &request.locale,
            selection: &request.selection,
            token_salt: HEXLOWER.encode(&salt),
            token_hash: HEXLOWER.encode(&app.keys.confirm_token(id, &salt).hash()),
            requested_at: now.as_micros(),
            expires_at: expires_at.as_micros(),
            evidence: &request.evidence,
        });
        notices.push(NewNotice {
            id: app.ids.next(),
            kind: Kind::Confirmation,
            newsletter_id: request.newsletter,
            signup_id: Some(id),
            subscription_id: None,
            recipient: request.email.as_str().to_owned(),
            domain: request.email.domain().to_owned(),
            payload: None,
            now,
            expires_at,
        });
    }
    if !signups.is_empty() {
        store::insert_signups(tx, &signups).await?;
        enqueue::notices(tx, &notices).await?;
    }
    let answers = counted.into_iter();
    Ok(answers
        .map(|counted| counted.map_err(SignupError::from))
        .collect())
}

/// Whose limits a sign-up counts against.
struct Networks {
    own: String,
    wide: String,
}

impl Networks {
    fn of(request: &Request) -> Self {
        Self {
            own: Network::of(request.client).to_string(),
            wide: Network::wide(request.client).to_string(),
        }
    }

    fn counted<'a>(&'a self, limits: &'a SignupConfig) -> [Counted<'a>; 3] {
        [
            Counted {
                name: "signup_client",
                subject: &self.own,
                limits: &limits.client_limits,
            },
            Counted {
                name: "signup_network",
                subject: &self.wide,
                limits: &limits.network_limits,
            },
            Counted {
                name: INSTANCE,
                subject: "",
                limits: &limits.instance_limits,
            },
        ]
    }
}
