//! The steps, and what each costs.

use super::state::{Said, State};
use super::worker::{Health, Reply};

/// One step of somebody. Workers and rows are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    // a worker and the relay
    Claim {
        worker: usize,
        row: usize,
    },
    Address {
        worker: usize,
    },
    Refuse {
        worker: usize,
        reply: Reply,
    },
    Mark {
        worker: usize,
    },
    Transmit {
        worker: usize,
        reply: Reply,
        accepted: bool,
    },
    Settle {
        worker: usize,
    },
    SettleAndMark {
        worker: usize,
    },
    LoseLine {
        worker: usize,
    },
    GiveUpMark {
        worker: usize,
    },
    GiveBack {
        worker: usize,
    },
    LateMark,
    StoreKept {
        worker: usize,
    },
    // a worker's life
    Kill {
        worker: usize,
    },
    Start {
        worker: usize,
    },
    LeaseEnds {
        worker: usize,
    },
    BeginAnew {
        worker: usize,
    },
    // the sweeper
    TakeBack {
        row: usize,
    },
    Doubt {
        row: usize,
    },
    DecideDoubt {
        row: usize,
    },
    Expire {
        row: usize,
    },
    CancelRow {
        row: usize,
    },
    Finish,
    // readers, operators, time
    Leave {
        row: usize,
    },
    Left {
        row: usize,
    },
    Pause,
    Resume,
    Cancel,
    Decide {
        row: usize,
        said: Said,
    },
    SendAgain {
        row: usize,
    },
    Retry {
        row: usize,
    },
    TimeIsOver {
        row: usize,
    },
    LaterIssue {
        row: usize,
    },
}

/// What a step is paid with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// It happens by itself, sooner or later: it is what the program does.
    Progress,
    /// It costs nothing and need not happen.
    Nothing,
    Fault,
    Person,
}

impl Action {
    pub(super) fn cost(self, state: &State) -> Cost {
        match self {
            Self::Claim { worker, .. } => match state.workers[worker].health {
                // it should know better
                Health::Zombie => Cost::Fault,
                Health::Up | Health::Down => Cost::Progress,
            },
            Self::Address { .. }
            | Self::Mark { .. }
            | Self::Settle { .. }
            | Self::SettleAndMark { .. }
            | Self::GiveBack { .. }
            | Self::LateMark
            | Self::StoreKept { .. }
            | Self::Start { .. }
            | Self::BeginAnew { .. }
            | Self::TakeBack { .. }
            | Self::DecideDoubt { .. }
            | Self::Expire { .. }
            | Self::CancelRow { .. }
            | Self::Finish
            | Self::Left { .. } => Cost::Progress,
            Self::Transmit { reply, .. } | Self::Refuse { reply, .. } => match reply {
                Reply::Accepted => Cost::Progress,
                Reply::Deferred | Reply::Refused | Reply::Lost => Cost::Fault,
            },
            Self::Doubt { row } => {
                // a lease that runs out under a connection that still waits
                if state.is_held_marked(row) {
                    Cost::Fault
                } else {
                    Cost::Progress
                }
            }
            Self::LoseLine { .. }
            | Self::GiveUpMark { .. }
            | Self::Kill { .. }
            | Self::LeaseEnds { .. }
            | Self::TimeIsOver { .. } => Cost::Fault,
            Self::Leave { .. }
            | Self::Pause
            | Self::Cancel
            | Self::Decide { .. }
            | Self::SendAgain { .. }
            | Self::Retry { .. } => Cost::Person,
            Self::Resume | Self::LaterIssue { .. } => Cost::Nothing,
        }
    }
}
