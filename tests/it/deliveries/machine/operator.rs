//! What operators do: truthful ones, who asked the relay before they decide.

use std::time::Duration;

use paperround::deliveries::State;
use paperround::deliveries::decide::{HeldDecision, Refusal, decide, retry_failed};
use rand::RngExt as _;

use super::Machine;
use crate::deliveries::Press;

impl Machine {
    pub(super) async fn all_sending_is_paused_or_not(&mut self, press: &Press) {
        if self.all_is_paused {
            self.let_everything_go_on(press).await;
        } else if self.random.random_ratio(1, 3) {
            press.pause_sending().await;
            self.all_is_paused = true;
        }
    }

    pub(super) async fn let_everything_go_on(&mut self, press: &Press) {
        press.resume_sending().await;
        self.all_is_paused = false;
    }

    /// Everything that failed waits again.
    pub(super) async fn operator_retries(&mut self, press: &Press) {
        let (issue, now) = (self.edition.issue, press.now());
        let expires_at = now + Duration::from_hours(48);
        let retried = press
            .db
            .write(move |tx| {
                Box::pin(async move { retry_failed(tx, issue, now, expires_at).await })
            })
            .await;
        let cancelled = press.issue_state(issue).await == "cancelled";
        match retried {
            Ok(again) => assert!(again > 0 && !cancelled),
            Err(Refusal::IssueState(_)) => assert!(cancelled),
            Err(Refusal::NothingFailed) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// One mail that is held: it did arrive, it did not, or it is sent again whatever became of it.
    pub(super) async fn operator_decides(&mut self, press: &Press) {
        let index = self.random.random_range(0..self.edition.deliveries.len());
        let id = self.edition.deliveries[index];
        let arrived = self.copies.get(&id).is_some_and(|copies| *copies > 0);
        let decision = match (self.random.random_bool(0.5), arrived) {
            (true, _) => HeldDecision::SendAgain,
            (false, true) => HeldDecision::Sent,
            (false, false) => HeldDecision::NotSent,
        };
        let was_held = press.state(id).await == State::Held;
        let now = press.now();
        let expires_at = now + Duration::from_hours(48);
        let issue = self.edition.issue;
        let decided = press
            .db
            .write(move |tx| {
                Box::pin(async move { decide(tx, issue, id, decision, now, expires_at).await })
            })
            .await;
        let is_over = press.issue_state(issue).await == "cancelled";
        let may_be = was_held && !(is_over && decision == HeldDecision::SendAgain);
        let decided = decided.is_ok();
        assert_eq!(decided, may_be);
        match decision {
            _ if !decided => {}
            HeldDecision::Sent => {}
            HeldDecision::SendAgain => *self.sent_again.entry(id).or_default() += 1,
            HeldDecision::NotSent => {
                self.said_not_sent.insert(id);
            }
        }
    }
}
