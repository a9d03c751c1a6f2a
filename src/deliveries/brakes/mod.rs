//! Brakes: an issue that goes wrong stops by itself, and says why.
//!
//! The delivery writer counts each bad answer in the transaction that settles it (`record`), and with it the good ones
//! before it; then it looks whether the answers pull a brake (`check`) before it marks anything else: what still leaves is
//! what was marked already, one message of each open connection at most. The counts stand in the database, one row for
//! each worker, so they survive a restart and workers see each other's. Resuming starts them anew.

pub mod decide;
pub mod tally;
pub mod uncounted;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::decide::{Brake, alarms, brakes};
use self::tally::{DomainTally, Tally};
use self::uncounted::{Heard, Uncounted};
use super::store;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{IssueId, WorkerId};
use crate::telemetry::mask_emails;

/// A pause that is over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Pause {
    /// Since when.
    pub paused_at: Timestamp,
    /// Why.
    pub pause_reason: Option<String>,
    /// Until when.
    pub resumed_at: Timestamp,
    /// Why it went on.
    pub resume_reason: String,
}

/// Counts answers whose settlements took effect. The last rows that its transaction writes.
pub(super) async fn record(tx: &mut Tx<'_>, heard: &[Heard]) -> sqlx::Result<()> {
    let mut of_each: BTreeMap<(IssueId, WorkerId), Vec<&Heard>> = BTreeMap::new();
    for heard in heard {
        of_each.entry(heard.of_which()).or_default().push(heard);
    }
    for ((issue, worker), heard) in of_each {
        let mut tally = store::brakes::tally(tx, issue, worker).await?;
        for heard in heard {
            tally.count(&heard.answer, heard.at);
        }
        store::brakes::save(tx, issue, worker, &tally).await?;
    }
    Ok(())
}

/// Counts what was not counted yet.
pub async fn count(db: &Db, uncounted: &Uncounted) -> sqlx::Result<()> {
    let heard = uncounted.take();
    if heard.is_empty() {
        return Ok(());
    }
    let again = heard.clone();
    let counted = db.write(move |tx| Box::pin(async move { record(tx, &heard).await }));
    counted.await.inspect_err(|_| uncounted.add(again))
}

/// Pauses the issue if its answers pull a brake, and tells the operator of domains that refuse by policy. Whether a brake
/// is pulled.
pub(super) async fn check(
    db: &Db,
    issue: IssueId,
    worker: WorkerId,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let tally = so_far(db, issue).await?;
    let news: Vec<_> = alarms(&tally)
        .filter(|(domain, _)| !tally.alarmed.contains(*domain))
        .map(|(domain, of)| (domain.to_owned(), of))
        .collect();
    for (domain, of) in &news {
        tracing::error!(
            issue.id = %issue, domain, refused = of.policy,
            "Issue {issue}: {domain} refused {} of {} mails by policy", of.policy, of.answers
        );
    }
    let brake = brakes(&tally);
    let is_pulled = brake.is_some();
    if !is_pulled && news.is_empty() {
        return Ok(false);
    }
    let domains = news.into_iter().map(|(domain, _)| domain).collect();
    db.write(move |tx| {
        Box::pin(async move { act(tx, (issue, worker), brake, domains, now).await })
    })
    .await?;
    Ok(is_pulled)
}

async fn act(
    tx: &mut Tx<'_>,
    (issue, worker): (IssueId, WorkerId),
    brake: Option<Brake>,
    told: Vec<String>,
    now: Timestamp,
) -> sqlx::Result<()> {
    if let Some(brake) = brake {
        let reason = mask_emails(&brake.to_string());
        if store::brakes::pause_issue(tx, issue, &reason, now).await? {
            tracing::error!(issue.id = %issue, reason, "Issue {issue} is paused: {reason}");
        }
    }
    if told.is_empty() {
        return Ok(());
    }
    let mut own = store::brakes::tally(tx, issue, worker).await?;
    own.alarmed.extend(told);
    store::brakes::save(tx, issue, worker, &own).await
}

/// Counts what was not counted yet, and looks at all issues that are sending: at what other workers counted, and at what a
/// crash kept from being looked at.
pub async fn check_all(
    db: &Db,
    uncounted: &Uncounted,
    worker: WorkerId,
    now: Timestamp,
) -> sqlx::Result<()> {
    count(db, uncounted).await?;
    for issue in store::brakes::moving_issues(db).await? {
        check(db, issue, worker, now).await?;
    }
    Ok(())
}

/// All workers' counts since the issue began, or was resumed last.
pub async fn so_far(db: &Db, issue: IssueId) -> sqlx::Result<Tally> {
    Ok(Tally::together(&store::brakes::tallies(db, issue).await?))
}

/// Domains that refused the issue by policy, so often that the operator must know.
pub async fn refusing_domains(db: &Db, issue: IssueId) -> sqlx::Result<Vec<(String, DomainTally)>> {
    let tally = so_far(db, issue).await?;
    Ok(alarms(&tally)
        .map(|(domain, of)| (domain.to_owned(), of))
        .collect())
}

/// The issue's pauses that are over, in order.
pub async fn pauses(db: &Db, issue: IssueId) -> sqlx::Result<Vec<Pause>> {
    store::brakes::pauses(db, issue).await
}
