//! What can happen next.

use super::Protocol;
use super::actions::{Action, Cost};
use super::mutants::Mutant;
use super::state::{Articles, IssueState, Reader, RowState, Said, State};
use super::worker::{Health, Message, Reply, Stage, Worker};

impl Protocol {
    /// All that can happen, within the budget.
    pub(super) fn possible(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for (number, worker) in state.workers.iter().enumerate() {
            if worker.acts() {
                claims(state, number, &mut actions);
                dialogue(state, number, &mut actions);
            }
            life(number, worker, &mut actions);
        }
        if state
            .late_mark
            .is_some_and(|mark| !Self::mark_waits(state, mark))
        {
            actions.push(Action::LateMark);
        }
        for row in 0..state.rows.len() {
            self.sweeps(state, row, &mut actions);
            people(state, row, &mut actions);
        }
        issue(state, &mut actions);
        actions.retain(|action| match action.cost(state) {
            Cost::Progress | Cost::Nothing => true,
            Cost::Fault => state.budget.faults > 0,
            Cost::Person => state.budget.people > 0,
        });
        actions
    }

    fn sweeps(&self, state: &State, row: usize, actions: &mut Vec<Action>) {
        let now = &state.rows[row];
        let is_orphan = now.owner.is_some_and(|owner| !state.is_alive(owner));
        match now.state {
            RowState::Pending if now.is_over && !state.issue.is_paused => {
                actions.push(Action::Expire { row });
            }
            RowState::Claimed if is_orphan => actions.push(Action::TakeBack { row }),
            RowState::Transmitting => {
                actions.push(Action::Doubt { row });
                if is_orphan && self.has(Mutant::TakeBackTakesTransmitting) {
                    actions.push(Action::TakeBack { row });
                }
            }
            RowState::InDoubt if Self::may_decide_doubt(state, row) => {
                actions.push(Action::DecideDoubt { row });
            }
            RowState::Pending
            | RowState::Claimed
            | RowState::InDoubt
            | RowState::Sent
            | RowState::Failed
            | RowState::Skipped
            | RowState::Held => {}
        }
        let waits = matches!(now.state, RowState::Pending | RowState::Claimed);
        if waits && state.issue.state == IssueState::Cancelled {
            actions.push(Action::CancelRow { row });
        }
    }
}

fn claims(state: &State, worker: usize, actions: &mut Vec<Action>) {
    let hands = &state.workers[worker];
    let is_open = state.issue.state == IssueState::Sending && !state.issue.is_paused;
    if !is_open || (hands.current.is_some() && hands.next.is_some()) {
        return;
    }
    for (row, now) in state.rows.iter().enumerate() {
        if now.state == RowState::Pending && !now.is_over {
            actions.push(Action::Claim { worker, row });
        }
    }
}

fn dialogue(state: &State, worker: usize, actions: &mut Vec<Action>) {
    let hands = &state.workers[worker];
    if hands.at_envelope().is_some() {
        actions.push(Action::Address { worker });
        for reply in [Reply::Deferred, Reply::Refused] {
            actions.push(Action::Refuse { worker, reply });
        }
    }
    if hands.kept.is_some() {
        actions.push(Action::StoreKept { worker });
    }
    let Some(current) = hands.current else { return };
    let free = |message: Message| !Protocol::mark_waits(state, message);
    match current.stage {
        Stage::Claimed => actions.push(Action::LoseLine { worker }),
        Stage::Addressed => {
            if free(current) {
                actions.push(Action::Mark { worker });
            }
            if state.late_mark.is_none() {
                actions.push(Action::GiveUpMark { worker });
            }
            actions.push(Action::LoseLine { worker });
        }
        Stage::Marked => {
            actions.push(Action::LoseLine { worker });
            for (reply, accepted) in [
                (Reply::Accepted, true),
                (Reply::Deferred, false),
                (Reply::Refused, false),
                (Reply::Lost, true),
                (Reply::Lost, false),
            ] {
                actions.push(Action::Transmit {
                    worker,
                    reply,
                    accepted,
                });
            }
        }
        Stage::Answered(_) => match hands.next {
            Some(next) if next.stage == Stage::Addressed => {
                if free(next) {
                    actions.push(Action::SettleAndMark { worker });
                }
            }
            Some(_) | None => actions.push(Action::Settle { worker }),
        },
        Stage::GivingBack => actions.push(Action::GiveBack { worker }),
    }
}

fn life(number: usize, worker: &Worker, actions: &mut Vec<Action>) {
    if worker.acts() {
        actions.push(Action::Kill { worker: number });
    }
    actions.push(match worker.health {
        Health::Up => Action::LeaseEnds { worker: number },
        Health::Zombie => Action::BeginAnew { worker: number },
        Health::Down => Action::Start { worker: number },
    });
}

fn people(state: &State, row: usize, actions: &mut Vec<Action>) {
    let now = &state.rows[row];
    match now.reader {
        Reader::Active => actions.push(Action::Leave { row }),
        Reader::Leaving => actions.push(Action::Left { row }),
        Reader::Gone => {}
    }
    match now.state {
        RowState::Held => {
            for said in [Said::Sent, Said::NotSent] {
                actions.push(Action::Decide { row, said });
            }
            actions.push(Action::SendAgain { row });
        }
        RowState::Failed => actions.push(Action::Retry { row }),
        RowState::Pending
        | RowState::Claimed
        | RowState::Transmitting
        | RowState::InDoubt
        | RowState::Sent
        | RowState::Skipped => {}
    }
    if now.state.is_open() && !now.is_over {
        actions.push(Action::TimeIsOver { row });
    }
    if now.articles == Articles::PutBack {
        actions.push(Action::LaterIssue { row });
    }
}

fn issue(state: &State, actions: &mut Vec<Action>) {
    if state.issue.state == IssueState::Sending {
        actions.push(Action::Cancel);
        if !state.issue.is_paused {
            actions.push(Action::Pause);
        }
        if state.rows.iter().all(|row| !row.state.is_open()) {
            actions.push(Action::Finish);
        }
    }
    if state.issue.is_paused {
        actions.push(Action::Resume);
    }
}
