//! Readers of one chunk, read in an order in which nothing that is given up meanwhile gets lost.

use super::Issue;
use super::store::readers;
use super::unsent::{self, Older};
use super::walk::Reader;
use crate::db::Db;
use crate::id::SubscriptionId;

/// Readers of one chunk, as they stood when they were read.
pub(in crate::issues) struct Page {
    /// They follow this one.
    pub(in crate::issues) after: SubscriptionId,
    readers: Vec<Reader>,
    older: Vec<Older>,
}

impl Page {
    /// At most `limit` active readers after `after`, what issues before `issue` have not sent to them, and their
    /// interests.
    pub(in crate::issues) async fn read(
        db: &Db,
        issue: &Issue,
        after: SubscriptionId,
        limit: usize,
    ) -> sqlx::Result<Self> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut readers = readers::page(db, issue.newsletter_id, after, limit).await?;
        let mut older = Vec::new();
        if let (Some(first), Some(last)) = (readers.first(), readers.last()) {
            older = unsent::read(db, issue, (first.subscription, last.subscription)).await?;
            readers::with_interests(db, issue.newsletter_id, &mut readers).await?;
        }
        Ok(Self {
            after,
            readers,
            older,
        })
    }

    /// The last of them; `None`: there are no more readers.
    pub(in crate::issues) fn last(&self) -> Option<SubscriptionId> {
        self.readers.last().map(|reader| reader.subscription)
    }

    /// Whether it may be used some time after it was read: nothing that can be given up or sent meanwhile is on its
    /// way to these readers. What they themselves change is found when the chunk is written, or when their mail is sent.
    pub(in crate::issues) fn keeps(&self) -> bool {
        self.older.is_empty()
    }

    /// The readers, who know whether they wait, and what is to be taken over from older issues.
    pub(in crate::issues) fn decide(mut self, issue: &Issue) -> (Vec<Reader>, Vec<Older>) {
        unsent::decide(issue, &mut self.readers, &mut self.older);
        (self.readers, self.older)
    }
}
