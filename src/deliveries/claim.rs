//! Claiming: a worker takes rows for itself. Notices are decided about in the same transaction.

use std::sync::Arc;

use super::Claimed;
use super::mailroom::{Decision, Mailroom};
use super::store::claim::{self, Pick};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{IssueId, NewsletterId, WorkerId};

/// A claimed delivery with what its claim was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The row.
    pub claimed: Claimed,
    /// Keys under which a suppression would stop it.
    pub suppression_keys: Vec<Vec<u8>>,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// Whose claim, when, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The worker.
    pub owner: WorkerId,
    /// The time.
    pub now: Timestamp,
    /// At most so many rows.
    pub limit: usize,
    /// Instead of all others, rows that were being worked on when the process died, more than once.
    pub suspects: bool,
}

impl Terms {
    fn pick(self) -> Pick {
        Pick {
            limit: i64::try_from(self.limit).unwrap_or(i64::MAX),
            suspects: self.suspects,
            owner: self.owner,
            now: self.now,
        }
    }
}

/// Claims notices. Those that became nothing are skipped and not given.
pub async fn notices(
    db: &Db,
    mailroom: &Arc<dyn Mailroom>,
    terms: Terms,
) -> sqlx::Result<Vec<Ready>> {
    let mailroom = mailroom.clone();
    db.write(move |tx| Box::pin(async move { claim_notices(tx, &*mailroom, terms).await }))
        .await
}

async fn claim_notices(
    tx: &mut Tx<'_>,
    mailroom: &dyn Mailroom,
    terms: Terms,
) -> sqlx::Result<Vec<Ready>> {
    let mut ready = Vec::new();
    for mut claimed in claim::notices(tx, terms.pick()).await? {
        match mailroom.decide(tx, &claimed, terms.now).await? {
            Decision::Skip(reason) => {
                claim::skip(tx, &claimed, reason, terms.now).await?;
            }
            Decision::Send {
                kind,
                subscription_id,
                suppression_keys,
            } => {
                if (kind, subscription_id) != (claimed.kind, claimed.subscription_id) {
                    claim::become_kind(tx, &claimed, kind, subscription_id).await?;
                    claimed.kind = kind;
                    claimed.subscription_id = subscription_id;
                }
                ready.push(Ready {
                    claimed,
                    suppression_keys,
                    decided_at: terms.now,
                });
            }
        }
    }
    Ok(ready)
}

/// Claims digests of one issue.
pub async fn digests(db: &Db, issue: IssueId, terms: Terms) -> sqlx::Result<Vec<Ready>> {
    let claimed = db
        .write(move |tx| Box::pin(async move { claim::digests(tx, issue, terms.pick()).await }))
        .await?;
    let ready = |claimed| Ready {
        claimed,
        suppression_keys: Vec::new(),
        decided_at: terms.now,
    };
    Ok(claimed.into_iter().map(ready).collect())
}

/// Whether a notice waits to be claimed.
pub async fn notices_wait(db: &Db, now: Timestamp) -> sqlx::Result<bool> {
    claim::notices_wait(db, now).await
}

/// Issues that have something to claim, each with its newsletter.
pub async fn open_issues(db: &Db, now: Timestamp) -> sqlx::Result<Vec<(IssueId, NewsletterId)>> {
    claim::open_issues(db, now).await
}
