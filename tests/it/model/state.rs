//! What the model remembers: the rows as the database has them, what each worker has in its hands ([`super::worker`]),
//! and what only an observer sees.

use super::worker::{Health, Message, Owner, Worker};

/// Whole numbers are small here: everything is bounded by [`Budget`].
pub(super) type Count = u8;

/// One moment of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) rows: [Row; 2],
    pub(super) issue: Issue,
    pub(super) workers: [Worker; 2],
    /// A mark whose connection has given up waiting for it, and which the database may still carry out.
    pub(super) late_mark: Option<Message>,
    pub(super) budget: Budget,
}

/// What may still happen that nobody can do without end: this makes the space finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Faults: kills, lost replies, leases that run out, refusals for now.
    pub(super) faults: Count,
    /// What people do: leave, pause, cancel, decide.
    pub(super) people: Count,
}

/// The issue of both rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Issue {
    pub(super) state: IssueState,
    pub(super) is_paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IssueState {
    Sending,
    Finished,
    Cancelled,
}

/// A delivery, with its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) state: RowState,
    pub(super) reason: Option<Reason>,
    pub(super) owner: Option<Owner>,
    pub(super) attempt: Count,
    pub(super) doubt: Count,
    /// `expires_at` has passed.
    pub(super) is_over: bool,
    pub(super) reader: Reader,
    pub(super) articles: Articles,
    pub(super) seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowState {
    Pending,
    Claimed,
    Transmitting,
    InDoubt,
    Sent,
    Failed,
    Skipped,
    Held,
}

impl RowState {
    /// Whether something will still happen to it by itself.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Claimed | Self::Transmitting | Self::InDoubt => true,
            Self::Sent | Self::Failed | Self::Skipped | Self::Held => false,
        }
    }
}

/// Why a row ended as it did, where a rule depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    Unsubscribed,
    Cancelled,
    NotSent,
    Expired,
    Refused,
}

/// The reader's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reader {
    Active,
    /// The transaction that ends it has locked it and skipped what waits, and has not committed.
    Leaving,
    Gone,
}

/// Where the reader's articles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Articles {
    /// This issue gives them.
    Given,
    /// They were put back: the next issue gives them.
    PutBack,
    /// A later issue gave them.
    GivenLater,
}

/// What an observer saw of a row who looks at the relay and at every commit. No step looks at it, only properties do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// Copies that the relay accepted.
    pub(super) copies: Count,
    /// The last attempt of which the relay accepted a copy.
    pub(super) copied: Count,
    /// The last attempt that fell into doubt.
    pub(super) doubted: Count,
    /// Times that the row fell into doubt; an operator's decision clears [`Row::doubt`], not this.
    pub(super) doubts: Count,
    /// Times that an operator let it be sent again.
    pub(super) sent_again: Count,
    /// The last attempt that was marked.
    pub(super) marked: Count,
    /// The first mark that should not have been.
    pub(super) offence: Option<Offence>,
    /// An operator said that it was sent, or that it was not.
    pub(super) operator_said: Option<Said>,
    /// The relay's acknowledgement was heard, and no newer attempt was on the wire.
    pub(super) is_acknowledged: bool,
}

/// A mark that breaks a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Offence {
    AfterGoodbye,
    AfterCancel,
    WhilePaused,
    SameAttempt,
    /// A copy of an earlier attempt was accepted, and no doubt about that attempt is recorded.
    AfterCopy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Sent,
    NotSent,
}

impl State {
    /// An issue that was just released, two workers that have nothing to do. With one reader, the other one's row has
    /// been sent before.
    pub(super) fn new(readers: usize, budget: Budget) -> Self {
        let waits = Row {
            state: RowState::Pending,
            reason: None,
            owner: None,
            attempt: 0,
            doubt: 0,
            is_over: false,
            reader: Reader::Active,
            articles: Articles::Given,
            seen: Seen::default(),
        };
        let sent = Row {
            state: RowState::Sent,
            reader: Reader::Gone,
            seen: Seen {
                copies: 1,
                ..Seen::default()
            },
            ..waits
        };
        Self {
            rows: [waits, if readers == 1 { sent } else { waits }],
            issue: Issue {
                state: IssueState::Sending,
                is_paused: false,
            },
            workers: [Worker::default(); 2],
            late_mark: None,
            budget,
        }
    }

    /// Whether anybody holds the attempt that a row is in, marked.
    pub(super) fn is_held_marked(&self, row: usize) -> bool {
        self.workers
            .iter()
            .flat_map(Worker::messages)
            .any(|message| {
                message.row == row
                    && message.attempt == self.rows[row].attempt
                    && message.stage.may_be_marked()
            })
    }

    /// Whether a worker's id still counts as alive for those who take rows back. A life that ended by a kill may do so
    /// for a while; that it may be over at once is the worse case.
    pub(super) fn is_alive(&self, owner: Owner) -> bool {
        let worker = &self.workers[owner.worker];
        worker.life == owner.life && worker.health == Health::Up
    }

    /// Whether a worker's last sign of life may still be young enough for a mark.
    pub(super) fn may_mark(&self, owner: Owner) -> bool {
        let worker = &self.workers[owner.worker];
        worker.life == owner.life && worker.health != Health::Zombie
    }
}
