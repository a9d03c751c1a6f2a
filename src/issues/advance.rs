//! One tick: scheduled issues are frozen, frozen ones prepared, prepared ones released.

use std::sync::Arc;

use super::compose::{self, ComposeError, Frozen};
use super::prepare::{self, Preparation, PrepareError, Step};
use super::release::{self, Released};
use super::render::Renderer;
use super::{Issue, IssueState, store};
use crate::app::App;
use crate::id::IssueId;

/// Takes every issue as far as it goes now, oldest first. How many steps were done.
///
/// A failure of one issue does not hold up the others. It may run twice, or in two processes: every step compares
/// and sets.
pub async fn advance(app: &App, renderer: &Arc<Renderer>) -> sqlx::Result<usize> {
    let mut steps = 0;
    for issue in store::issues::to_advance(&app.db).await? {
        steps += match issue.state {
            IssueState::Scheduled => {
                if freeze(app, &issue).await {
                    1 + prepare(app, renderer, issue.id).await
                } else {
                    0
                }
            }
            IssueState::Preparing => prepare(app, renderer, issue.id).await,
            IssueState::Draft
            | IssueState::Sending
            | IssueState::Finished
            | IssueState::Cancelled
            | IssueState::Failed
            | IssueState::Skipped => 0,
        };
    }
    Ok(steps)
}

async fn freeze(app: &App, issue: &Issue) -> bool {
    let (id, now) = (issue.id, app.clock.now());
    let frozen = app
        .db
        .write(move |tx| Box::pin(async move { compose::freeze(tx, id, now).await }))
        .await;
    match frozen {
        Ok(Frozen::Yes) => true,
        Ok(Frozen::Waits | Frozen::NotScheduled) | Err(ComposeError::Settled) => false,
        Err(error @ (ComposeError::NoPostalAddress(_) | ComposeError::NoNewsletter)) => {
            fail(app, id, IssueState::Scheduled, error.to_string()).await;
            false
        }
        Err(ComposeError::Db(error)) => {
            tracing::warn!(issue.id = %id, %error, "Issue {id} could not be frozen; it is tried again");
            false
        }
    }
}

/// Prepares to the end and releases. How many steps were done.
async fn prepare(app: &App, renderer: &Arc<Renderer>, id: IssueId) -> usize {
    let mut steps = 0;
    let mut preparation = Preparation::new(app, renderer, id, prepare::CHUNK);
    loop {
        match preparation.step().await {
            Ok(Step::Chunk(_)) => steps += 1,
            Ok(Step::Prepared | Step::Nothing) => break,
            Ok(Step::Elsewhere) => return steps,
            Err(PrepareError::Variant(error)) => {
                fail(app, id, IssueState::Preparing, error.to_string()).await;
                return steps;
            }
            Err(error @ (PrepareError::Contended | PrepareError::Db(_))) => {
                tracing::warn!(issue.id = %id, error = &error as &dyn std::error::Error,
                    "Preparing issue {id} stopped; it goes on");
                return steps;
            }
        }
    }
    match release::release(app, id).await {
        Ok(Released::Sending | Released::Skipped) => steps + 1,
        Ok(Released::NotYet) => steps,
        Err(error) => {
            tracing::warn!(issue.id = %id, %error, "Issue {id} could not be released; it is tried again");
            steps
        }
    }
}

async fn fail(app: &App, id: IssueId, from: IssueState, reason: String) {
    let now = app.clock.now();
    tracing::error!(issue.id = %id, reason, "Issue {id} failed: {reason}");
    let ended = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                store::issues::end(tx, id, from, IssueState::Failed, &reason, now).await
            })
        })
        .await;
    if let Err(error) = ended {
        let error: sqlx::Error = error;
        tracing::warn!(issue.id = %id, %error, "The failure of issue {id} could not be stored; it is tried again");
    }
}
