//! The transactions of others than a sender: the sweeper, a reader who leaves, an operator.

use super::database::{end, fall_into_doubt};
use super::mutants::Mutant;
use super::state::{Articles, IssueState, Reader, Reason, RowState, Said, State};
use super::{Policy, Protocol};

impl Protocol {
    /// The sweeper, about a claimed row whose worker is dead.
    pub(super) fn take_back(state: &mut State, row: usize) {
        end(state, row, RowState::Pending, None);
    }

    /// The sweeper, about a transmission whose lease is over.
    pub(super) fn doubt(&self, state: &mut State, row: usize) {
        if self.has(Mutant::ExpiredTransmissionWaitsAgain) {
            end(state, row, RowState::Pending, None);
        } else {
            fall_into_doubt(state, row);
        }
    }

    /// Whether doubt may be decided now: that of a paused issue waits.
    pub(super) fn may_decide_doubt(state: &State, row: usize) -> bool {
        let waits = state.issue.state == IssueState::Sending && state.issue.is_paused;
        state.rows[row].state == RowState::InDoubt && !waits
    }

    /// The sweeper, about doubt whose grace is over.
    pub(super) fn decide_doubt(&self, state: &mut State, row: usize) {
        let now = &state.rows[row];
        let resend = self.policy == Policy::Resend || self.has(Mutant::HoldTakenForResend);
        let first = now.doubt <= 1 || self.has(Mutant::ResendWithoutLimit);
        let wanted = state.issue.state == IssueState::Sending && now.reader != Reader::Gone;
        let next = if resend && first && wanted && !now.is_over {
            RowState::Pending
        } else {
            RowState::Held
        };
        end(state, row, next, None);
    }

    /// The sweeper, about a waiting row whose time is over.
    pub(super) fn expire(&self, state: &mut State, row: usize) {
        if state.rows[row].doubt == 0 {
            end(state, row, RowState::Failed, Some(Reason::Expired));
        } else {
            end(state, row, RowState::Held, None);
        }
        self.put_back(state, row);
    }

    /// The sweeper, about a waiting row of a cancelled issue.
    pub(super) fn cancel_row(&self, state: &mut State, row: usize) {
        if state.rows[row].doubt == 0 {
            end(state, row, RowState::Skipped, Some(Reason::Cancelled));
        } else {
            end(state, row, RowState::Held, None);
        }
        self.put_back(state, row);
    }

    /// An unsubscribe up to its commit: the subscription is locked, what waits is skipped.
    pub(super) fn leave(state: &mut State, row: usize) {
        state.rows[row].reader = Reader::Leaving;
        if matches!(state.rows[row].state, RowState::Pending | RowState::Claimed) {
            end(state, row, RowState::Skipped, Some(Reason::Unsubscribed));
        }
    }

    /// An operator lets a row wait for its turn again.
    pub(super) fn send_again(&self, state: &mut State, row: usize) {
        if !self.has(Mutant::SendAgainForgetsTheIssue) {
            reopen(state);
        }
        end(state, row, RowState::Pending, None);
        state.rows[row].is_over = false;
        state.rows[row].seen.sent_again += 1;
    }

    /// An operator's "retry failed": not where a later issue gave the articles.
    pub(super) fn retry(&self, state: &mut State, row: usize) {
        let now = &mut state.rows[row];
        let was_put_back = now.reason == Some(Reason::Expired) && now.doubt == 0;
        if was_put_back && !self.has(Mutant::RetryIgnoresLaterIssues) {
            if now.articles != Articles::PutBack {
                reopen(state);
                return;
            }
            now.articles = Articles::Given;
        }
        self.send_again(state, row);
    }

    /// An operator decides about a held row.
    pub(super) fn decide(&self, state: &mut State, row: usize, said: Said) {
        state.rows[row].seen.operator_said = Some(said);
        match said {
            Said::Sent => end(state, row, RowState::Sent, None),
            Said::NotSent => {
                end(state, row, RowState::Skipped, Some(Reason::NotSent));
                state.rows[row].doubt = 0;
                self.put_back(state, row);
            }
        }
    }
}

/// An issue that was finished sends again.
fn reopen(state: &mut State) {
    if state.issue.state == IssueState::Finished {
        state.issue.state = IssueState::Sending;
    }
}
