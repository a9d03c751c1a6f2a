//! Somebody asks for a newsletter.
//!
//! Nothing here reads a table about people: what is answered, and how fast, cannot depend on whether the address is
//! known. That is decided when the confirmation is claimed, in [`notice`](super::notice).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::email_address::EmailAddress;
use super::evidence::Evidence;
use super::limits::{self, Counted};
use super::network::Network;
use super::selection::Selection;
use super::store::{self, NewSignup};
use crate::app::App;
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

/// Why a sign-up was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SignupError {
    /// The client or its network asked too often.
    #[error("too many sign-ups from one network")]
    TooMany(Duration),
    /// All together asked too often.
    #[error("too many sign-ups in all")]
    UsedUp(Duration),
    /// The database did not take it.
    #[error("the sign-up could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Stores the sign-up and queues its confirmation, in one transaction.
pub async fn sign_up(app: &Arc<App>, request: Request) -> Result<(), SignupError> {
    let work = app.clone();
    app.db
        .write(move |tx| Box::pin(async move { store_signup(tx, &work, &request).await }))
        .await?;
    app.queued.notify_one();
    Ok(())
}

async fn store_signup(tx: &mut Tx<'_>, app: &App, request: &Request) -> Result<(), SignupError> {
    let now = app.clock.now();
    keep_to_limits(tx, app, request.client).await?;
    if request.is_trapped {
        return Ok(());
    }
    let id: SignupId = app.ids.next();
    let salt = random_bytes::<16>(&*app.entropy);
    let expires_at = now + app.config.signup.confirm_lifetime;
    let signup = NewSignup {
        id,
        newsletter_id: request.newsletter,
        email: &request.email,
        locale: &request.locale,
        selection: &request.selection,
        token_salt: salt,
        token_hash: app.keys.confirm_token(id, &salt).hash(),
        requested_at: now,
        expires_at,
        evidence: &request.evidence,
    };
    store::insert_signup(tx, &signup).await?;
    let notice = NewNotice {
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
    };
    enqueue::notice(tx, &notice).await?;
    Ok(())
}

async fn keep_to_limits(tx: &mut Tx<'_>, app: &App, client: IpAddr) -> Result<(), SignupError> {
    let now = app.clock.now();
    let (own, wide) = (
        Network::of(client).to_string(),
        Network::wide(client).to_string(),
    );
    let limits = &app.config.signup;
    let counted = [
        Counted {
            name: "signup_client",
            subject: &own,
            limits: &limits.client_limits,
        },
        Counted {
            name: "signup_network",
            subject: &wide,
            limits: &limits.network_limits,
        },
        Counted {
            name: INSTANCE,
            subject: "",
            limits: &limits.instance_limits,
        },
    ];
    let counted = limits::count(tx, &app.keys, &counted, now).await?;
    counted.map_err(|used_up| match used_up.name {
        INSTANCE => SignupError::UsedUp(used_up.wait),
        _ => SignupError::TooMany(used_up.wait),
    })
}
