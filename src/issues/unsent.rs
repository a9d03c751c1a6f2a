//! What older issues have not sent to the readers of a chunk: taken over, or waited for.
//!
//! A reader has one digest of a newsletter on its way at a time. Until it has come to its end it may still be given
//! up, and its articles then come again, which the watermark can say only while no later mail has moved it. So an
//! older mail that nobody has claimed is taken over, where this issue serves every interest that it moved. Else its
//! reader waits: nothing of theirs moves, and everything comes with an issue after that mail.

use super::due::Move;
use super::store::{prepared, readers};
use super::walk::Reader;
use super::{Issue, IssueState};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::deliveries::State;
use crate::id::{DeliveryId, IssueId, SubscriptionId};
use crate::newsletters::Cadences;

/// A mail of an older issue that has not come to its end.
#[derive(Clone, Debug)]
pub(in crate::issues) struct Unsent {
    pub(in crate::issues) id: DeliveryId,
    pub(in crate::issues) subscription: SubscriptionId,
    pub(in crate::issues) state: State,
    pub(in crate::issues) doubt: i64,
    /// What it moved.
    pub(in crate::issues) given_from: Vec<Move>,
}

impl Unsent {
    /// Whether an issue of these cadences takes it over from one that stands at `older`, for this reader.
    fn is_taken_over(&self, older: IssueState, cadences: Cadences, reader: &Reader) -> bool {
        if self.doubt > 0 {
            return false;
        }
        match self.state {
            // of an issue that is over nothing is marked any more, whoever has claimed it
            State::Pending | State::Claimed if !older.is_open() => true,
            State::Pending => {
                let mut moves = self.given_from.iter();
                moves.all(|moved| cadences.contains(reader.cadence_of(moved)))
            }
            _ => false,
        }
    }
}

/// The mails of one older issue that have not come to their end.
pub(in crate::issues) struct Older {
    issue: IssueId,
    state: IssueState,
    mails: Vec<Unsent>,
}

/// What issues before `issue` have not sent to the readers from `first` to `last`.
///
/// To be read before the interests of these readers. What is given up afterwards is among it, and so is known to its
/// reader; what was given up before has been put back already where the interests are read.
pub(in crate::issues) async fn read(
    db: &Db,
    issue: &Issue,
    (first, last): (SubscriptionId, SubscriptionId),
) -> sqlx::Result<Vec<Older>> {
    let mut older = Vec::new();
    for (id, state) in prepared::unsent_issues(db, issue.newsletter_id, issue.id).await? {
        let mails = prepared::unsent(db, id, (first, last)).await?;
        older.push(Older {
            issue: id,
            state,
            mails,
        });
    }
    older.retain(|older| !older.mails.is_empty());
    Ok(older)
}

/// Says which of these readers wait; what is left of `older` is to be taken over. Changes nothing.
pub(in crate::issues) fn decide(issue: &Issue, readers: &mut [Reader], older: &mut Vec<Older>) {
    for Older { state, mails, .. } in &mut *older {
        mails.retain(|mail| {
            let Some(reader) = reader_of(readers, mail.subscription) else {
                return false;
            };
            let is_taken_over = mail.is_taken_over(*state, issue.cadences.0, reader);
            reader.waits |= !is_taken_over;
            is_taken_over
        });
    }
    older.retain(|older| !older.mails.is_empty());
}

/// Takes them over: they are skipped, their interests are put back and read again.
///
/// Only while nobody has prepared these readers, for afterwards what is put back would come with no issue: `false`,
/// and nothing more is done, where another process was faster.
pub(in crate::issues) async fn take_over(
    app: &App,
    issue: &Issue,
    readers: &mut [Reader],
    older: Vec<Older>,
    now: Timestamp,
) -> sqlx::Result<bool> {
    if older.is_empty() {
        return Ok(true);
    }
    let (this, from) = (issue.id, issue.prepared_to);
    for older in older {
        let (id, state) = (older.issue, older.state);
        let ids: Vec<DeliveryId> = older.mails.iter().map(|mail| mail.id).collect();
        let work = app.db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                if !prepared::stands_at(tx, this, from).await? {
                    return Ok(None);
                }
                let skipped = prepared::supersede(tx, state, &ids, now).await?;
                Ok(Some(skipped))
            })
        });
        let skipped: Option<Vec<SubscriptionId>> = work.await?;
        let Some(skipped) = skipped else {
            return Ok(false);
        };
        // one that was claimed meanwhile is on its way
        for mail in &older.mails {
            if !skipped.contains(&mail.subscription)
                && let Some(reader) = reader_of(readers, mail.subscription)
            {
                reader.waits = true;
            }
        }
        let count = skipped.len();
        tracing::info!(issue.id = %id, "{count} unsent mails of issue {id} come with issue {this}");
    }
    readers::with_interests(&app.db, issue.newsletter_id, readers).await?;
    Ok(true)
}

/// The same in memory alone, for the dry run.
pub(in crate::issues) fn imagine(readers: &mut [Reader], older: &[Older]) {
    for mail in older.iter().flat_map(|older| &older.mails) {
        let Some(reader) = reader_of(readers, mail.subscription) else {
            continue;
        };
        for moved in &mail.given_from {
            for interest in &mut reader.interests {
                moved.put_back(interest);
            }
        }
    }
}

/// Readers stand in the order of their subscriptions.
fn reader_of(readers: &mut [Reader], subscription: SubscriptionId) -> Option<&mut Reader> {
    let found = readers.binary_search_by_key(&subscription, |reader| reader.subscription);
    found.ok().map(|index| &mut readers[index])
}
