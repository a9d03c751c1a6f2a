//! The sweeper: takes back what dead workers left, decides about doubt, gives up what is over.
//!
//! Each step may run twice and takes no input but the database.

use super::Leases;
use super::store::{revert, sweep};
use crate::clock::Timestamp;
use crate::config::InDoubt;
use crate::db::{Db, Tx};

/// Rows of one transaction, so that others have their turn between.
const CHUNK: i64 = 500;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Claimed rows whose worker had died.
    pub taken_back: u64,
    /// Transmissions that nobody will hear the end of.
    pub doubted: u64,
    /// Doubts that were decided.
    pub decided: u64,
    /// Rows of cancelled issues.
    pub cancelled: u64,
}

/// Sweeps once.
pub async fn sweep(db: &Db, now: Timestamp, leases: &Leases) -> sqlx::Result<Swept> {
    let leases = *leases;
    let mut swept = db
        .write(move |tx| Box::pin(async move { sweep_owned(tx, now, &leases).await }))
        .await?;
    loop {
        let cancelled = cancel_rows(db, now).await?;
        if cancelled == 0 {
            break;
        }
        swept.cancelled += cancelled;
    }
    if swept != Swept::default() {
        tracing::info!(?swept, "Took back what was left behind");
    }
    Ok(swept)
}

async fn sweep_owned(tx: &mut Tx<'_>, now: Timestamp, leases: &Leases) -> sqlx::Result<Swept> {
    let (digests, notices) = (leases.grace, leases.notice_grace);
    let resend_notices = leases.in_doubt == InDoubt::Resend;
    let by_lease = leases.now(now);
    Ok(Swept {
        taken_back: sweep::take_back_claimed(tx, by_lease, leases.worker).await?,
        doubted: sweep::doubt_transmitting(tx, by_lease, digests, notices).await?,
        decided: sweep::decide_doubt(tx, now, resend_notices).await?,
        ..Swept::default()
    })
}

/// Gives up rows whose time is over; the articles of those that certainly did not arrive come again. Gives their number.
/// The time does not run while the issue waits for its release, nor while it, or all sending, is paused.
pub async fn expire(db: &Db, now: Timestamp) -> sqlx::Result<u64> {
    let mut all = 0;
    loop {
        let expired = db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    let expired = sweep::expire(tx, now, CHUNK).await?;
                    for id in &expired {
                        revert::put_back(tx, *id).await?;
                    }
                    Ok(expired.len())
                })
            })
            .await?;
        all += expired as u64;
        if expired < usize::try_from(CHUNK).unwrap_or(usize::MAX) {
            return Ok(all);
        }
    }
}

/// Skips some of what waits of cancelled issues; its articles come again. Gives their number, 0 when nothing is left.
pub(super) async fn cancel_rows(db: &Db, now: Timestamp) -> sqlx::Result<u64> {
    db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move {
            let Some(issue) = sweep::cancelled_issues(tx).await?.first().copied() else {
                return Ok(0);
            };
            let cancelled = sweep::cancel_rows(tx, issue, now, CHUNK).await?;
            for id in &cancelled {
                revert::put_back(tx, *id).await?;
            }
            Ok(cancelled.len() as u64)
        })
    })
    .await
}
