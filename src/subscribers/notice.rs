//! What a mail about a sign-up becomes, decided in the transaction that claims it.
//!
//! The form's handler knows nothing about people. Here is the one place that does, where nobody can measure it.

use std::time::Duration;

use super::SubscriptionState;
use super::email_address::EmailKey;
use super::limits::{self, Counted, mailbox_of};
use super::store;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Limit;
use crate::db::Tx;
use crate::deliveries::Reason;
use crate::id::{NewsletterId, SignupId, SubscriptionId};
use crate::text_enum;

/// How long a hard bounce keeps confirmations away.
const BOUNCE_REST: Duration = Duration::from_hours(30 * 24);

/// The name of [`MANAGE_LINK_LIMIT`].
const MANAGE_LINK: &str = "manage_link";
/// "You are subscribed already" is said so often to one subscription.
const MANAGE_LINK_LIMIT: Limit = Limit {
    most: 1,
    per: Duration::from_hours(7 * 24),
};

text_enum! {
    /// A mail to one person that belongs to no issue.
    pub enum NoticeKind {
        /// Asks whether a sign-up was meant.
        Confirmation = "confirmation",
        /// Says that a subscription began.
        Welcome = "welcome",
        /// Says that there is a subscription already.
        ManageLink = "manage_link",
    }
}

text_enum! {
    /// Why an address is not to be mailed.
    pub enum SuppressionReason {
        /// The mailbox does not exist.
        HardBounce = "hard_bounce",
        /// The owner reported spam.
        Complaint = "complaint",
        /// The owner asked never to be mailed.
        Request = "request",
        /// The owner's data was erased; a new confirmed sign-up is welcome.
        Erased = "erased",
        /// An operator decided it.
        Operator = "operator",
    }
}

/// A notice that was just claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claimed {
    /// What it is so far.
    pub kind: NoticeKind,
    /// About which newsletter.
    pub newsletter: NewsletterId,
    /// By which sign-up.
    pub signup: Option<SignupId>,
    /// About which subscription.
    pub subscription: Option<SubscriptionId>,
    /// Whether it was never claimed before: only then it counts against limits.
    pub is_first_claim: bool,
}

/// What a notice becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send it as this kind, about this subscription.
    Send(NoticeKind, Option<SubscriptionId>),
    /// Send nothing, for this reason.
    Skip(Reason),
}

/// Decides what `claimed` becomes by how things stand now.
///
/// | state of the address | result |
/// |---|---|
/// | new, unsubscribed, erased, active elsewhere only | confirmation |
/// | active in this newsletter | "you are subscribed already", once in 7 days |
/// | hard bounce | nothing for 30 days, then a confirmation |
/// | complaint, operator's or owner's "never" | nothing |
/// | over the address's limits | nothing |
pub async fn decide(tx: &mut Tx<'_>, app: &App, claimed: Claimed) -> sqlx::Result<Decision> {
    match claimed.kind {
        NoticeKind::Confirmation | NoticeKind::ManageLink => about_signup(tx, app, claimed).await,
        NoticeKind::Welcome => welcome(tx, app, claimed).await,
    }
}

async fn about_signup(tx: &mut Tx<'_>, app: &App, claimed: Claimed) -> sqlx::Result<Decision> {
    let now = app.clock.now();
    let signup = match claimed.signup {
        Some(id) => store::signup_by_id(tx, id).await?,
        None => None,
    };
    let Some(signup) = signup.filter(|signup| now < signup.expires_at) else {
        return Ok(Decision::Skip(Reason::Expired));
    };
    if signup.confirmed_at.is_some() {
        return Ok(Decision::Skip(Reason::NothingToConfirm));
    }
    let key = signup.email.key();
    let barrier = Barrier::of(tx, app, key, claimed.newsletter, now).await?;
    if barrier.is_some() {
        return Ok(Decision::Skip(Reason::Suppressed));
    }
    let membership = store::membership_state(tx, key, claimed.newsletter).await?;
    let decision = match membership {
        Some((_, SubscriptionState::Complained, _)) => Decision::Skip(Reason::Suppressed),
        Some((_, SubscriptionState::Bounced, ended_at)) if is_recent(ended_at, now) => {
            Decision::Skip(Reason::Suppressed)
        }
        Some((id, SubscriptionState::Active, _)) => {
            Decision::Send(NoticeKind::ManageLink, Some(id))
        }
        Some((_, SubscriptionState::Unsubscribed | SubscriptionState::Bounced, _)) | None => {
            Decision::Send(NoticeKind::Confirmation, None)
        }
    };
    match decision {
        Decision::Send(_, subscription) if claimed.is_first_claim => {
            let exceeded = keep_to_limits(tx, app, key, subscription, now).await?;
            Ok(exceeded.map_or(decision, Decision::Skip))
        }
        Decision::Send(..) | Decision::Skip(_) => Ok(decision),
    }
}

/// Counts the notice; what stands against it, if a limit is used up: then nothing is counted.
async fn keep_to_limits(
    tx: &mut Tx<'_>,
    app: &App,
    key: &EmailKey,
    subscription: Option<SubscriptionId>,
    now: Timestamp,
) -> sqlx::Result<Option<Reason>> {
    let mailbox = mailbox_of(key);
    let mut all = vec![Counted {
        name: "signup_address",
        subject: &mailbox,
        limits: &app.config.signup.address_limits,
    }];
    let subscription = subscription.map(|id| id.to_string());
    all.extend(subscription.as_deref().map(|subject| Counted {
        name: MANAGE_LINK,
        subject,
        limits: &[MANAGE_LINK_LIMIT],
    }));
    let counted = limits::count(tx, &app.keys, &all, now).await?;
    Ok(counted.err().map(|used_up| match used_up.name {
        MANAGE_LINK => Reason::ToldAlready,
        _ => Reason::AddressLimit,
    }))
}

async fn welcome(tx: &mut Tx<'_>, app: &App, claimed: Claimed) -> sqlx::Result<Decision> {
    let now = app.clock.now();
    let signup = match claimed.signup {
        Some(id) => store::signup_by_id(tx, id).await?,
        None => None,
    };
    let Some(signup) = signup else {
        return Ok(Decision::Skip(Reason::Expired));
    };
    let key = signup.email.key();
    let barrier = Barrier::of(tx, app, key, claimed.newsletter, now).await?;
    if barrier.is_some() {
        return Ok(Decision::Skip(Reason::Suppressed));
    }
    match store::membership_state(tx, key, claimed.newsletter).await? {
        Some((id, SubscriptionState::Active, _)) => {
            Ok(Decision::Send(NoticeKind::Welcome, Some(id)))
        }
        _ => Ok(Decision::Skip(Reason::Unsubscribed)),
    }
}

/// What stands against mailing an address at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barrier {
    /// Its owner, or an operator, said no.
    Lasting,
    /// Its mailbox did not exist a short while ago.
    RecentBounce,
}

impl Barrier {
    /// The strongest barrier of an address for a newsletter at `now`.
    pub(super) async fn of(
        tx: &mut Tx<'_>,
        app: &App,
        key: &EmailKey,
        newsletter: NewsletterId,
        now: Timestamp,
    ) -> sqlx::Result<Option<Self>> {
        let mut barrier = None;
        for key in app.keys.suppression_keys(key.as_str()) {
            for (reason, at) in store::suppressions(tx, &key.hash, newsletter).await? {
                match reason {
                    SuppressionReason::Complaint
                    | SuppressionReason::Request
                    | SuppressionReason::Operator => return Ok(Some(Self::Lasting)),
                    SuppressionReason::HardBounce if is_recent(Some(at), now) => {
                        barrier = Some(Self::RecentBounce);
                    }
                    SuppressionReason::HardBounce | SuppressionReason::Erased => {}
                }
            }
        }
        Ok(barrier)
    }
}

fn is_recent(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_some_and(|at| now.since(at) < BOUNCE_REST)
}
