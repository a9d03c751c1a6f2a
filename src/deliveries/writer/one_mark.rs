//! One mark by itself: notices, and digests that a group's mark passed over. It finds out why, and what becomes of them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::claim::Ready;
use crate::deliveries::settlement::Settlement;
use crate::deliveries::store::group::{self, End};
use crate::deliveries::store::mark::{self, Times};
use crate::deliveries::store::revert::GivenBack;
use crate::deliveries::store::{claim, revert};
use crate::deliveries::{Kind, Reason};

/// How long a notice waits that may not be sent as what it was claimed.
const NOTICE_AGAIN: Duration = Duration::from_secs(5);

/// What became of one mark.
pub(super) enum One {
    /// It was made.
    Marked,
    /// It was not, for a reason of its own row.
    NotMarked,
    /// It was not, and nothing of its issue will be for now.
    IssueWaits,
}

/// Why a mark was not made.
enum WhyNot {
    /// The row ends.
    Skip(Reason),
    /// The row waits: what stands in the way may go.
    Wait,
    /// Its whole issue waits: it is paused.
    IssueWaits,
}

/// Marks, or skips, or lets wait.
pub(super) async fn mark_or_skip(
    tx: &mut Tx<'_>,
    ready: &Ready,
    relay: &str,
    times: Times,
) -> sqlx::Result<One> {
    let claimed = &ready.claimed;
    let why_not = match forbids(tx, ready, times.now).await? {
        None if mark::mark(tx, claimed, relay, times).await? => {
            return Ok(One::Marked);
        }
        None => WhyNot::Wait,
        Some(why_not) => why_not,
    };
    match why_not {
        WhyNot::IssueWaits => {
            revert::give_back(tx, &[GivenBack::of(claimed, times.now)]).await?;
            return Ok(One::IssueWaits);
        }
        WhyNot::Wait => {
            // A notice is decided about anew at its next claim, which may come to the same: not at once.
            let wait = match claimed.issue_id {
                Some(_) => Duration::ZERO,
                None => NOTICE_AGAIN,
            };
            revert::give_back(tx, &[GivenBack::of(claimed, times.now + wait)]).await?;
        }
        WhyNot::Skip(Reason::Cancelled) if claimed.doubt > 0 => {
            let end = End {
                settlement: Settlement::doubtful(claimed, times.now),
                was_marked: false,
            };
            group::write(tx, &[end], &[], times).await?;
        }
        WhyNot::Skip(reason) => {
            let skipped = claim::skip(tx, claimed, reason, times.now).await?;
            if !skipped {
                // Marked by a commit whose answer was lost, or not this claim's any more: the next claim skips it.
                revert::give_back(tx, &[GivenBack::of(claimed, times.now)]).await?;
            } else if matches!(reason, Reason::Cancelled | Reason::ReaderPaused) {
                revert::put_back(tx, claimed.id).await?;
            }
        }
    }
    Ok(One::NotMarked)
}

/// Looks once more at all that may have changed since the claim. Locks in the order that everybody keeps: issue,
/// subscription, sign-up; the delivery comes last.
async fn forbids(tx: &mut Tx<'_>, ready: &Ready, now: Timestamp) -> sqlx::Result<Option<WhyNot>> {
    let claimed = &ready.claimed;
    if let Some(issue) = claimed.issue_id {
        match mark::issue(tx, issue).await? {
            Some((state, None)) if state == "sending" => {}
            Some((state, _)) if state == "cancelled" => {
                return Ok(Some(WhyNot::Skip(Reason::Cancelled)));
            }
            Some(_) | None => return Ok(Some(WhyNot::IssueWaits)),
        }
    }
    let needs_subscription = match claimed.kind {
        Kind::Digest | Kind::Welcome | Kind::ManageLink => true,
        Kind::Confirmation | Kind::Alert | Kind::Test => false,
    };
    if needs_subscription {
        let found = match claimed.subscription_id {
            Some(id) => mark::subscription(tx, id).await?,
            None => None,
        };
        let pauses = |until: Option<Timestamp>| {
            claimed.kind == Kind::Digest && until.is_some_and(|until| until > now)
        };
        match found {
            Some((state, until)) if state == "active" && !pauses(until) => {}
            Some((state, _)) if state == "active" => {
                return Ok(Some(WhyNot::Skip(Reason::ReaderPaused)));
            }
            // A notice may become another one; the next claim decides.
            Some(_) | None if claimed.kind == Kind::ManageLink => return Ok(Some(WhyNot::Wait)),
            Some(_) | None => return Ok(Some(WhyNot::Skip(Reason::Unsubscribed))),
        }
    }
    if claimed.kind == Kind::Confirmation {
        let open = match claimed.signup_id {
            Some(id) => mark::signup_is_open(tx, id, now).await?,
            None => false,
        };
        if !open {
            return Ok(Some(WhyNot::Wait));
        }
    }
    for key in &ready.suppression_keys {
        if mark::is_suppressed_since(tx, key, claimed.newsletter_id, ready.decided_at).await? {
            return Ok(Some(WhyNot::Wait));
        }
    }
    Ok(None)
}
