//! What a subscription begins with: one interest for each chosen topic, or one in `all`, from the newest article on.

use super::selection::Selection;
use super::store::{self, NewInterest};
use crate::db::Tx;
use crate::id::{NewsletterId, SubscriptionId};
use crate::newsletters::{self, Cadence, Topic};

/// What a newsletter's subscriptions begin with now.
pub(super) struct Beginning {
    topics: Vec<Topic>,
    default_cadence: Cadence,
    newest_seq: i64,
}

impl Beginning {
    /// As the transaction sees it.
    pub(super) async fn of(tx: &mut Tx<'_>, newsletter: NewsletterId) -> sqlx::Result<Self> {
        let found = newsletters::store::by_id_in(tx, newsletter).await?;
        let default_cadence = found.ok_or(sqlx::Error::RowNotFound)?.default_cadence;
        Ok(Self {
            topics: newsletters::store::topics_in(tx, newsletter).await?,
            default_cadence,
            newest_seq: newsletters::store::newest_seq(tx, newsletter).await?,
        })
    }

    /// The rhythm in force: that of the topic that comes most often.
    pub(super) fn cadence(&self, selection: &Selection) -> Cadence {
        selection.in_force(&self.topics, self.default_cadence)
    }

    /// The interests of a subscription with this selection.
    pub(super) fn interests(
        &self,
        selection: &Selection,
        subscription: SubscriptionId,
    ) -> Vec<NewInterest> {
        let interest = |topic: &Topic| NewInterest {
            subscription,
            topic: topic.id,
            newest_seq: self.newest_seq,
            cadence: selection.cadence_of(topic, self.default_cadence),
        };
        let meant = selection.meant(&self.topics).into_iter();
        meant.map(interest).collect()
    }
}

/// Begins, or begins anew, and gives the rhythm in force. Earlier interests stay as the memory of what was given.
pub(super) async fn begin(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    selection: &Selection,
    subscription: SubscriptionId,
) -> sqlx::Result<Cadence> {
    let beginning = Beginning::of(tx, newsletter).await?;
    let interests = beginning.interests(selection, subscription);
    store::end_interests(tx, subscription).await?;
    store::start_interests(tx, &interests).await?;
    Ok(beginning.cadence(selection))
}
