//! Release: the set of deliveries is closed, and they may be claimed.

use std::time::Duration;

use super::{Issue, IssueState, store};
use crate::app::App;
use crate::deliveries::operate;
use crate::id::IssueId;
use crate::instance;

/// An issue that was frozen so short a time ago has mails with nearly their whole time before them.
const YOUNG: Duration = Duration::from_hours(1);

/// What [`release`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Its deliveries may be claimed now.
    Sending,
    /// It had nothing for anyone.
    Skipped,
    /// It is not prepared, is paused, or waits for an operator.
    NotYet,
}

/// Releases a prepared issue, unless it is paused or waits for an operator.
pub async fn release(app: &App, id: IssueId) -> sqlx::Result<Released> {
    let issue = store::issues::by_id(&app.db, id).await?;
    let ready = |issue: &Issue| {
        issue.state == IssueState::Preparing
            && issue.prepared_at.is_some()
            && issue.release_when_prepared
            && issue.paused_at.is_none()
    };
    let Some(issue) = issue.filter(ready) else {
        return Ok(Released::NotYet);
    };
    let now = app.clock.now();
    if issue.queued == 0 {
        let ended = app
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let (from, to) = (IssueState::Preparing, IssueState::Skipped);
                    let reason = "it had nothing new for any of its readers";
                    store::issues::end(tx, id, from, to, reason, now).await
                })
            })
            .await?;
        return Ok(if ended {
            Released::Skipped
        } else {
            Released::NotYet
        });
    }
    // what waited for an operator must not have grown old meanwhile
    if issue.frozen_at.is_some_and(|at| now.since(at) >= YOUNG) {
        operate::renew(&app.db, id, now + app.config.delivery.give_up_after).await?;
    }
    let sending = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                if !store::issues::release(tx, id, now).await? {
                    return Ok::<_, sqlx::Error>(None);
                }
                // a copy of the database from before this commit must not release it again
                Ok(Some(instance::raise_in(tx).await?))
            })
        })
        .await?;
    let Some(epoch) = sending else {
        return Ok(Released::NotYet);
    };
    instance::publish(app, epoch).await;
    app.queued.notify_one();
    let (number, queued) = (issue.number, issue.queued);
    tracing::info!(issue.id = %id, queued, "Issue {number} ({id}) goes to {queued} readers");
    Ok(Released::Sending)
}

/// An operator's word: the issue is released as soon as it is prepared. `false` when it is past that.
pub async fn allow(app: &App, id: IssueId) -> sqlx::Result<bool> {
    app.db
        .write(move |tx| Box::pin(async move { store::issues::allow_release(tx, id).await }))
        .await
}
