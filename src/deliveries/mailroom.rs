//! What this room asks of others: what a notice becomes, and the bytes of a mail.

use futures_util::future::BoxFuture;
use lettre::Address;

use super::{Claimed, Kind, Reason};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::SubscriptionId;
use crate::smtp::wire::Wire;

/// What a notice becomes at its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is sent, perhaps as another kind than it was queued as.
    Send {
        /// As what.
        kind: Kind,
        /// About which subscription.
        subscription_id: Option<SubscriptionId>,
        /// Keys under which the address would be suppressed; a suppression between claim and mark stops the notice.
        suppression_keys: Vec<Vec<u8>>,
    },
    /// It is not.
    Skip(Reason),
}

/// A mail, ready to be handed over.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope sender.
    pub sender: Address,
    /// The one recipient.
    pub recipient: Address,
    /// The message.
    pub wire: Wire,
}

/// Why a mail was not made.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The next attempt may succeed: the database did not answer.
    #[error("the mail cannot be made now: {0}")]
    Retry(String),
    /// It cannot be made: the row is held for a person.
    #[error("the mail cannot be made: {0}")]
    Fail(String),
}

/// Decides about notices and makes mails.
pub trait Mailroom: Send + Sync {
    /// What becomes of `notice`, in the transaction that claimed it. A notice may be asked about again: limits count it
    /// once, when its `attempt` is 1.
    fn decide<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        notice: &'a Claimed,
        now: Timestamp,
    ) -> BoxFuture<'a, sqlx::Result<Decision>>;

    /// The mail for a claimed delivery: the same bytes at each attempt.
    fn mail<'a>(&'a self, claimed: &'a Claimed) -> BoxFuture<'a, Result<Mail, MailError>>;
}
