//! An issue is finished when nothing of it is left to send.

use super::store::sweep;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::IssueId;

/// Finishes issues that have nothing pending, claimed, transmitting or in doubt. Gives those that it finished.
pub async fn finish_issues(db: &Db, now: Timestamp) -> sqlx::Result<Vec<IssueId>> {
    let finished = db
        .write(move |tx| Box::pin(async move { sweep::finish(tx, now).await }))
        .await?;
    for issue in &finished {
        tracing::info!(issue.id = %issue, "Issue {issue} is finished");
    }
    Ok(finished)
}
