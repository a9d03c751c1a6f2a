//! What an operator decides about deliveries that wait for them: held ones, and failed ones.
//!
//! Only an issue that is being sent, or has been, sends a mail again: one that was cancelled or that failed is over.

use uuid::Uuid;

use super::store::{brakes, operate, revert};
use super::{Reason, State};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{DeliveryId, IssueId};

/// Deliveries decided in one transaction.
const CHUNK: i64 = 500;

/// What an operator decides about a held delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldDecision {
    /// It did arrive.
    Sent,
    /// It did not arrive; send it again. A second copy is the operator's responsibility.
    SendAgain,
    /// It did not arrive, and is not sent; its articles come again with the next issue.
    NotSent,
}

/// Why a decision was refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The issue is not being sent and is not finished: its state.
    #[error("the issue is {0}, so none of its mails is sent again")]
    IssueState(String),
    /// Nothing failed, or a later issue brought the same articles.
    #[error("none of its mails failed, or a later issue brought the same articles")]
    NothingFailed,
    /// The delivery is of another issue, or of none.
    #[error("the issue has no mail with the id {0}")]
    NotOfTheIssue(DeliveryId),
    /// There is nothing to decide about the delivery: its state.
    #[error("the mail is not held, it is {0}")]
    NotHeld(State),
    /// The database answered an error.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Decides about a held delivery of `issue`.
pub async fn decide(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: DeliveryId,
    decision: HeldDecision,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Refusal> {
    if decision == HeldDecision::SendAgain {
        send_again(tx, issue, now).await?;
    }
    if carry_out(tx, issue, id, decision, now, expires_at).await? {
        return Ok(());
    }
    match operate::state_of(tx, issue, id).await? {
        Some(state) => Err(Refusal::NotHeld(state)),
        None => Err(Refusal::NotOfTheIssue(id)),
    }
}

/// Decides about all that is held of `issue`, in chunks. Gives the number of mails.
pub async fn decide_all(
    db: &Db,
    issue: IssueId,
    decision: HeldDecision,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<usize, Refusal> {
    let mut decided = 0;
    loop {
        let chunk = db
            .write(move |tx| {
                Box::pin(async move { decide_chunk(tx, issue, decision, now, expires_at).await })
            })
            .await?;
        if chunk == 0 {
            return Ok(decided);
        }
        decided += chunk;
    }
}

async fn decide_chunk(
    tx: &mut Tx<'_>,
    issue: IssueId,
    decision: HeldDecision,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<usize, Refusal> {
    let held = operate::in_state(tx, issue, State::Held, DeliveryId(Uuid::nil()), CHUNK).await?;
    if decision == HeldDecision::SendAgain && !held.is_empty() {
        send_again(tx, issue, now).await?;
    }
    let mut decided = 0;
    for id in held {
        decided += usize::from(carry_out(tx, issue, id, decision, now, expires_at).await?);
    }
    Ok(decided)
}

/// Lets the failed deliveries of an issue wait for their turn again, and the issue send again. Those whose articles a
/// later issue gave stay failed. Gives the number that waits again.
pub async fn retry_failed(
    tx: &mut Tx<'_>,
    issue: IssueId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<u64, Refusal> {
    let mut after = DeliveryId(Uuid::nil());
    let mut again = 0;
    send_again(tx, issue, now).await?;
    brakes::clear(tx, issue).await?;
    loop {
        let failed = operate::in_state(tx, issue, State::Failed, after, CHUNK).await?;
        let Some(last) = failed.last() else {
            break;
        };
        after = *last;
        for id in failed {
            let free = !operate::was_put_back(tx, id).await? || revert::move_again(tx, id).await?;
            if free && operate::retry(tx, id, now, expires_at).await? {
                again += 1;
            }
        }
    }
    // a finished issue that has nothing to send stays finished: what was done is undone with the transaction
    if again == 0 {
        return Err(Refusal::NothingFailed);
    }
    Ok(again)
}

/// A finished issue sends again, also where it was paused with its last mails; refused for one that never will.
async fn send_again(tx: &mut Tx<'_>, issue: IssueId, now: Timestamp) -> Result<(), Refusal> {
    let state = operate::issue_state(tx, issue).await?;
    if !operate::send_again(tx, issue).await? {
        return Err(Refusal::IssueState(state));
    }
    if state == "finished" {
        // only what waits anew is open, and has its time already
        super::operate::resume_in(tx, issue, "its mails are sent again", now).await?;
    }
    Ok(())
}

/// `false` when the delivery is not a held one of `issue`.
async fn carry_out(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: DeliveryId,
    decision: HeldDecision,
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<bool> {
    match decision {
        HeldDecision::Sent => operate::decide(tx, issue, id, State::Sent, None, now).await,
        HeldDecision::SendAgain => operate::decide_again(tx, issue, id, now, expires_at).await,
        HeldDecision::NotSent => {
            let reason = Some(Reason::NotSent);
            let decided = operate::decide(tx, issue, id, State::Skipped, reason, now).await?;
            if decided {
                operate::clear_doubt(tx, id).await?;
                revert::put_back(tx, id).await?;
            }
            Ok(decided)
        }
    }
}
