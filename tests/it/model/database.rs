//! The transactions of a sender, each in one step, as the statements of `src/deliveries/store/` make them.

use super::Protocol;
use super::mutants::Mutant;
use super::state::{Articles, IssueState, Offence, Reader, Reason, RowState, State};
use super::worker::{Message, Owner, Reply, Stage};

/// Why a mark was not made.
enum WhyNot {
    Skip(Reason),
    Wait,
}

impl Protocol {
    /// Claims a row. A row whose reader has left is skipped and not given.
    pub(super) fn claim(&self, state: &mut State, row: usize, owner: Owner) -> Option<Message> {
        let row_now = &mut state.rows[row];
        if !self.has(Mutant::ClaimKeepsTheAttempt) || row_now.attempt == 0 {
            row_now.attempt += 1;
        }
        row_now.state = RowState::Claimed;
        row_now.owner = Some(owner);
        if row_now.reader == Reader::Gone && !self.has(Mutant::SubscriptionCheckedWhenListed) {
            end(state, row, RowState::Skipped, Some(Reason::Unsubscribed));
            return None;
        }
        Some(Message {
            row,
            attempt: row_now.attempt,
            doubt: row_now.doubt,
            owner,
            stage: Stage::Claimed,
        })
    }

    /// Whether a mark waits for a lock: the transaction that ends the subscription holds it until it commits.
    pub(super) fn mark_waits(state: &State, message: Message) -> bool {
        state.rows[message.row].reader == Reader::Leaving
    }

    /// Marks; or the row is skipped or waits again, if it is still this claim's.
    pub(super) fn mark(&self, state: &mut State, message: Message) -> bool {
        let why_not = match self.forbids(state, message) {
            None if self.may_mark(state, message) => {
                Self::mark_now(state, message);
                return true;
            }
            None => WhyNot::Wait,
            Some(why_not) => why_not,
        };
        match why_not {
            WhyNot::Wait => self.give_back(state, message),
            WhyNot::Skip(reason) => self.skip(state, message, reason),
        }
        false
    }

    fn forbids(&self, state: &State, message: Message) -> Option<WhyNot> {
        let looks_at_issue = !self.has(Mutant::MarkIgnoresTheIssue);
        if looks_at_issue && state.issue.state == IssueState::Cancelled {
            return Some(WhyNot::Skip(Reason::Cancelled));
        }
        let is_paused = state.issue.is_paused && !self.has(Mutant::MarkIgnoresThePause);
        if looks_at_issue && (is_paused || state.issue.state != IssueState::Sending) {
            return Some(WhyNot::Wait);
        }
        let looks_at_reader = !self.has(Mutant::SubscriptionCheckedWhenListed)
            && !self.has(Mutant::MarkIgnoresTheSubscription);
        if looks_at_reader && state.rows[message.row].reader != Reader::Active {
            return Some(WhyNot::Skip(Reason::Unsubscribed));
        }
        None
    }

    fn may_mark(&self, state: &State, message: Message) -> bool {
        let row = &state.rows[message.row];
        let unfenced = self.has(Mutant::MarkWithoutCompareAndSet);
        let same_attempt =
            row.attempt == message.attempt || unfenced || self.has(Mutant::MarkIgnoresTheAttempt);
        let same_owner =
            row.owner == Some(message.owner) || unfenced || self.has(Mutant::MarkIgnoresTheOwner);
        let alive =
            state.may_mark(message.owner) || unfenced || self.has(Mutant::MarkIgnoresTheLease);
        row.state == RowState::Claimed && same_attempt && same_owner && alive
    }

    fn mark_now(state: &mut State, message: Message) {
        let issue = state.issue;
        let row = &mut state.rows[message.row];
        row.state = RowState::Transmitting;
        let offence = if row.reader == Reader::Gone {
            Some(Offence::AfterGoodbye)
        } else if issue.state == IssueState::Cancelled {
            Some(Offence::AfterCancel)
        } else if issue.is_paused {
            Some(Offence::WhilePaused)
        } else if message.attempt <= row.seen.marked {
            Some(Offence::SameAttempt)
        } else if row.seen.copied > row.seen.doubted {
            Some(Offence::AfterCopy)
        } else {
            None
        };
        row.seen.offence = row.seen.offence.or(offence);
        row.seen.marked = message.attempt;
    }

    fn skip(&self, state: &mut State, message: Message, reason: Reason) {
        let row = &state.rows[message.row];
        if !is_own(row.attempt, row.owner, message) || row.state != RowState::Claimed {
            return;
        }
        // what may have arrived is for an operator, as it is for the sweeper
        let is_doubtful = reason == Reason::Cancelled && row.doubt > 0;
        if is_doubtful && !self.has(Mutant::MarkSkipsWhatIsDoubtful) {
            end(state, message.row, RowState::Held, None);
        } else {
            end(state, message.row, RowState::Skipped, Some(reason));
            if reason == Reason::Cancelled {
                self.put_back(state, message.row);
            }
        }
    }

    /// Puts back a row of which certainly nothing was transmitted in this attempt.
    pub(super) fn give_back(&self, state: &mut State, message: Message) {
        let row = &state.rows[message.row];
        let own =
            is_own(row.attempt, row.owner, message) || self.has(Mutant::GiveBackIgnoresTheOwner);
        if own && matches!(row.state, RowState::Claimed | RowState::Transmitting) {
            end(state, message.row, RowState::Pending, None);
        }
    }

    /// Settles what was refused before the mark.
    pub(super) fn refuse(&self, state: &mut State, message: Message, reply: Reply) {
        let row = &state.rows[message.row];
        let own = is_own(row.attempt, row.owner, message) && row.state == RowState::Claimed;
        let unfenced = self.has(Mutant::RefusalIgnoresTheOwner)
            && matches!(row.state, RowState::Claimed | RowState::Transmitting);
        if own || unfenced {
            self.end_refused(state, message, reply);
        }
    }

    /// Settles what was transmitted.
    pub(super) fn settle(&self, state: &mut State, message: Message, reply: Reply) {
        let row = &mut state.rows[message.row];
        let same_attempt =
            row.attempt == message.attempt || self.has(Mutant::SettleIgnoresTheAttempt);
        let marked = matches!(row.state, RowState::Transmitting | RowState::InDoubt);
        let reply = match reply {
            Reply::Lost if self.has(Mutant::LostReplyTakenForYes) => Reply::Accepted,
            Reply::Lost if self.has(Mutant::LostReplyTakenForNo) => Reply::Refused,
            Reply::Accepted | Reply::Deferred | Reply::Refused | Reply::Lost => reply,
        };
        match reply {
            Reply::Accepted => {
                // a newer attempt on the wire settles the row itself
                let newer = row.attempt > message.attempt && row.state == RowState::Transmitting;
                let late = row.attempt >= message.attempt && row.state != RowState::Transmitting;
                row.seen.is_acknowledged |= !newer;
                let late_counts = late && !self.has(Mutant::LateAcknowledgementIgnored);
                let in_time = same_attempt && row.state == RowState::Transmitting;
                if in_time || late_counts {
                    end(state, message.row, RowState::Sent, None);
                }
            }
            Reply::Deferred | Reply::Refused if same_attempt && marked => {
                self.end_refused(state, message, reply);
            }
            Reply::Lost if same_attempt && row.state == RowState::Transmitting => {
                fall_into_doubt(state, message.row);
            }
            Reply::Deferred | Reply::Refused | Reply::Lost => {}
        }
    }

    fn end_refused(&self, state: &mut State, message: Message, reply: Reply) {
        let row = message.row;
        if reply == Reply::Refused {
            end(state, row, RowState::Failed, Some(Reason::Refused));
        } else if !state.rows[row].is_over {
            end(state, row, RowState::Pending, None);
        } else if message.doubt == 0 {
            end(state, row, RowState::Failed, Some(Reason::Expired));
            self.put_back(state, row);
        } else {
            end(state, row, RowState::Held, None);
        }
    }

    /// Gives the articles back, unless they may have arrived.
    pub(super) fn put_back(&self, state: &mut State, row: usize) {
        let row = &mut state.rows[row];
        let certain = row.doubt == 0 || self.has(Mutant::PutBackDespiteDoubt);
        let moved = row.articles == Articles::Given && !self.has(Mutant::NothingIsPutBack);
        if certain && moved {
            row.articles = Articles::PutBack;
        }
    }
}

fn is_own(attempt: u8, owner: Option<Owner>, message: Message) -> bool {
    attempt == message.attempt && owner == Some(message.owner)
}

pub(super) fn fall_into_doubt(state: &mut State, row: usize) {
    end(state, row, RowState::InDoubt, None);
    let row = &mut state.rows[row];
    row.doubt += 1;
    row.seen.doubts += 1;
    row.seen.doubted = row.attempt;
}

/// Ends an attempt: the row becomes `next`, and nobody's.
pub(super) fn end(state: &mut State, row: usize, next: RowState, reason: Option<Reason>) {
    let row = &mut state.rows[row];
    row.state = next;
    row.reason = reason;
    row.owner = None;
}
