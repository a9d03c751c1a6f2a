//! Queueing: notices one at a time, digests by the chunk.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::{Kind, store};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{DeliveryId, IssueId, NewsletterId, SignupId, SubscriptionId, TopicId, VariantId};

/// An interest that a digest moves, and where it stood before.
///
/// As JSON it is what `issues::due::Move` writes beside a delivery: that one says where to as well, which the issue's
/// cutoff says here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct GivenFrom {
    /// The interest's topic.
    pub topic_id: TopicId,
    /// Where the interest began.
    pub start_seq: i64,
    /// Its `given_seq` before the issue.
    #[serde(rename = "given_from")]
    pub given_seq: i64,
}

/// A digest to be queued for one reader.
#[derive(Clone, Debug)]
pub struct NewDigest {
    /// A new id.
    pub id: DeliveryId,
    /// For whom.
    pub subscription_id: SubscriptionId,
    /// The rendered message.
    pub variant_id: VariantId,
    /// The address, as it was written.
    pub recipient: String,
    /// Its domain, as A-labels in lower case.
    pub domain: String,
    /// The interests that it moves.
    pub given_from: Vec<GivenFrom>,
}

/// What all digests of a chunk share.
#[derive(Clone, Copy, Debug)]
pub struct DigestBatch {
    /// Of which issue.
    pub issue_id: IssueId,
    /// Of which newsletter.
    pub newsletter_id: NewsletterId,
    /// The time.
    pub now: Timestamp,
    /// No attempt starts after it.
    pub expires_at: Timestamp,
}

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
    store::enqueue::notice(tx, notice, notice.payload.as_ref().map(Json)).await
}

/// Queues digests. Gives the subscriptions that were queued: those that had a delivery of this issue already are not
/// among them.
pub async fn digests(
    tx: &mut Tx<'_>,
    batch: DigestBatch,
    digests: &[NewDigest],
) -> sqlx::Result<Vec<SubscriptionId>> {
    let mut queued = Vec::with_capacity(digests.len());
    for chunk in digests.chunks(store::enqueue::MOST_ROWS) {
        queued.extend(store::enqueue::digests(tx, batch, chunk).await?);
    }
    Ok(queued)
}
