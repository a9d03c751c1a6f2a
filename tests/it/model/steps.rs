//! What each step does.

use super::Protocol;
use super::actions::{Action, Cost};
use super::mutants::Mutant;
use super::state::{Articles, IssueState, Reader, State};
use super::worker::{Health, Message, Owner, Stage};

impl Protocol {
    /// The world after `action`.
    pub(super) fn after(&self, before: &State, action: Action) -> State {
        let mut state = *before;
        match action.cost(before) {
            Cost::Progress | Cost::Nothing => {}
            Cost::Fault => state.budget.faults -= 1,
            Cost::Person => state.budget.people -= 1,
        }
        match action {
            Action::Claim { worker, row } => self.take(&mut state, worker, row),
            Action::Address { worker } => self.address(&mut state, worker),
            Action::Refuse { worker, reply } => {
                let message = state.workers[worker].at_envelope().expect(ENABLED);
                self.refuse(&mut state, message, reply);
                state.workers[worker].let_go(message);
            }
            Action::Mark { worker } => self.mark_current(&mut state, worker),
            Action::Transmit {
                worker,
                reply,
                accepted,
            } => {
                let message = current(&state, worker);
                if accepted && !self.has(Mutant::BodyBeforeMark) {
                    accept(&mut state, message);
                }
                state.workers[worker].advance(message, Stage::Answered(reply));
            }
            Action::Settle { worker } => self.settle_current(&mut state, worker),
            Action::SettleAndMark { worker } => {
                self.credit(&mut state, worker);
                self.settle_current(&mut state, worker);
                self.mark_current(&mut state, worker);
            }
            Action::LoseLine { worker } => {
                let message = current(&state, worker);
                state.workers[worker].advance(message, Stage::GivingBack);
            }
            Action::GiveUpMark { worker } => {
                let message = current(&state, worker);
                state.late_mark = Some(message);
                state.workers[worker].advance(message, Stage::GivingBack);
            }
            Action::GiveBack { worker } => {
                let message = current(&state, worker);
                self.give_back(&mut state, message);
                state.workers[worker].let_go(message);
            }
            Action::LateMark => {
                let message = state.late_mark.take().expect(ENABLED);
                self.mark(&mut state, message);
            }
            Action::StoreKept { worker } => {
                let message = state.workers[worker].kept.take().expect(ENABLED);
                self.store(&mut state, message);
            }
            Action::Kill { worker } => state.workers[worker].die(),
            Action::Start { worker } | Action::BeginAnew { worker } => {
                state.workers[worker].begin();
            }
            Action::LeaseEnds { worker } => state.workers[worker].health = Health::Zombie,
            Action::TakeBack { row } => Self::take_back(&mut state, row),
            Action::Doubt { row } => self.doubt(&mut state, row),
            Action::DecideDoubt { row } => self.decide_doubt(&mut state, row),
            Action::Expire { row } => self.expire(&mut state, row),
            Action::CancelRow { row } => self.cancel_row(&mut state, row),
            Action::Leave { row } => Self::leave(&mut state, row),
            Action::Left { row } => state.rows[row].reader = Reader::Gone,
            Action::Finish => state.issue.state = IssueState::Finished,
            Action::Pause => state.issue.is_paused = true,
            Action::Resume => resume(&mut state),
            Action::Cancel => state.issue.state = IssueState::Cancelled,
            Action::Decide { row, said } => self.decide(&mut state, row, said),
            Action::SendAgain { row } => self.send_again(&mut state, row),
            Action::Retry { row } => self.retry(&mut state, row),
            Action::TimeIsOver { row } => state.rows[row].is_over = true,
            Action::LaterIssue { row } => state.rows[row].articles = Articles::GivenLater,
        }
        state
    }

    fn take(&self, state: &mut State, worker: usize, row: usize) {
        let life = state.workers[worker].life;
        let claimed = self.claim(state, row, Owner { worker, life });
        let hands = &mut state.workers[worker];
        if hands.current.is_none() {
            hands.current = claimed;
        } else {
            hands.next = claimed;
        }
    }

    fn address(&self, state: &mut State, worker: usize) {
        let message = state.workers[worker].at_envelope().expect(ENABLED);
        state.workers[worker].advance(message, Stage::Addressed);
        if self.has(Mutant::BodyBeforeMark) {
            accept(state, message);
        }
    }

    fn mark_current(&self, state: &mut State, worker: usize) {
        let message = current(state, worker);
        if self.mark(state, message) {
            state.workers[worker].advance(message, Stage::Marked);
        } else {
            state.workers[worker].let_go(message);
        }
    }

    fn settle_current(&self, state: &mut State, worker: usize) {
        let message = current(state, worker);
        if self.has(Mutant::SettleKeptBack) && state.workers[worker].kept.is_none() {
            state.workers[worker].kept = Some(message);
        } else {
            self.store(state, message);
        }
        state.workers[worker].let_go(message);
    }

    /// A mutant takes the first reply of a pipelined group for the second message's.
    fn credit(&self, state: &mut State, worker: usize) {
        let hands = &state.workers[worker];
        if let (true, Some(current), Some(next)) = (
            self.has(Mutant::ReplyCreditedToTheNext),
            hands.current,
            hands.next,
        ) {
            let credited = Message {
                stage: current.stage,
                ..next
            };
            self.store(state, credited);
        }
    }

    fn store(&self, state: &mut State, message: Message) {
        if let Stage::Answered(reply) = message.stage {
            self.settle(state, message, reply);
        }
    }
}

/// The relay accepts a copy.
fn accept(state: &mut State, message: Message) {
    let seen = &mut state.rows[message.row].seen;
    seen.copies += 1;
    seen.copied = seen.copied.max(message.attempt);
}

const ENABLED: &str = "only what is possible happens";

fn current(state: &State, worker: usize) -> Message {
    state.workers[worker].current.expect(ENABLED)
}

/// What is open has its whole time again.
fn resume(state: &mut State) {
    state.issue.is_paused = false;
    for row in &mut state.rows {
        row.is_over &= !row.state.is_open();
    }
}
