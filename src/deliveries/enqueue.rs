//! Queueing notices. Digests are queued where they are prepared, with all that goes with them (`issues::prepare`).

use super::{Kind, store};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{DeliveryId, NewsletterId, SignupId, SubscriptionId};

/// A notice to be queued.
#[derive(Clone, Debug)]
pub struct NewNotice {
    /// A new id.
    pub id: DeliveryId,
    /// What it is meant to be; the claim may decide otherwise.
    pub kind: Kind,
    /// Of which newsletter.
    pub newsletter_id: NewsletterId,
    /// The sign-up it is about.
    pub signup_id: Option<SignupId>,
    /// The subscription it is about.
    pub subscription_id: Option<SubscriptionId>,
    /// The address, as it was written.
    pub recipient: String,
    /// Its domain, as A-labels in lower case.
    pub domain: String,
    /// What its template needs beyond other rows.
    pub payload: Option<serde_json::Value>,
    /// The time.
    pub now: Timestamp,
    /// No attempt starts after it: for a confirmation, the expiry of its token.
    pub expires_at: Timestamp,
}

/// Queues a notice. It leaves when the transaction has committed; wake the sender then.
pub async fn notice(tx: &mut Tx<'_>, notice: &NewNotice) -> sqlx::Result<()> {
    notices(tx, std::slice::from_ref(notice)).await
}

/// Queues notices, by one statement.
pub async fn notices(tx: &mut Tx<'_>, notices: &[NewNotice]) -> sqlx::Result<()> {
    store::enqueue::notices(tx, notices).await
}
