//! A worker, its connection, and the messages in its hands.

use super::state::Count;

/// A worker's id: every life has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) worker: usize,
    pub(super) life: Count,
}

/// A worker process, with its one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) life: Count,
    /// Lives below this number ended by a kill, with their connections.
    pub(super) killed: Count,
    pub(super) health: Health,
    /// What the connection is about.
    pub(super) current: Option<Message>,
    /// What comes next; on a pipelined connection its envelope is answered behind the current message's dot.
    pub(super) next: Option<Message>,
    /// A settlement that was answered before its commit. Only a mutant has it.
    pub(super) kept: Option<Message>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Health {
    #[default]
    Up,
    /// It acts, but its lease is over: others take it for dead.
    Zombie,
    Down,
}

/// A claimed delivery in a worker's hands: what it knew at its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) row: usize,
    pub(super) attempt: Count,
    pub(super) doubt: Count,
    pub(super) owner: Owner,
    pub(super) stage: Stage,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Claimed,
    /// The relay has said 354; nothing of the body is written.
    Addressed,
    /// The mark is durable; the body may be written.
    Marked,
    /// The dot has left, and this came back. It is not settled.
    Answered(Reply),
    /// The connection is closed without the dot; that is not written down yet.
    GivingBack,
}

impl Stage {
    /// Whether a connection in this stage may stand behind a row that is marked.
    pub(super) fn may_be_marked(self) -> bool {
        match self {
            Self::Marked | Self::Answered(_) | Self::GivingBack => true,
            Self::Claimed | Self::Addressed => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// 2xx.
    Accepted,
    /// 4xx.
    Deferred,
    /// 5xx.
    Refused,
    /// None, or half of one.
    Lost,
}

impl Worker {
    pub(super) fn acts(&self) -> bool {
        self.health != Health::Down
    }

    /// The process is gone, with its connections.
    pub(super) fn die(&mut self) {
        *self = Self {
            life: self.life,
            killed: self.life + 1,
            health: Health::Down,
            ..Self::default()
        };
    }

    /// A new life, with an id of its own. What is in its hands keeps the old one.
    pub(super) fn begin(&mut self) {
        self.health = Health::Up;
        self.life += 1;
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Message> {
        [self.current, self.next].into_iter().flatten()
    }

    /// The message whose envelope the relay answers now: the next one's only after the current one's dot, on a
    /// connection that lives.
    pub(super) fn at_envelope(&self) -> Option<Message> {
        let current = self.current?;
        match current.stage {
            Stage::Claimed => Some(current),
            Stage::Answered(Reply::Accepted | Reply::Deferred | Reply::Refused) => {
                self.next.filter(|next| next.stage == Stage::Claimed)
            }
            Stage::Answered(Reply::Lost) | Stage::Addressed | Stage::Marked | Stage::GivingBack => {
                None
            }
        }
    }

    /// Takes `message` out of its hands; what comes next moves up.
    pub(super) fn let_go(&mut self, message: Message) {
        if self.current == Some(message) {
            self.current = self.next.take();
        } else if self.next == Some(message) {
            self.next = None;
        }
    }

    /// Writes down how far `message` has come.
    pub(super) fn advance(&mut self, message: Message, stage: Stage) {
        for held in [&mut self.current, &mut self.next] {
            if *held == Some(message) {
                *held = Some(Message { stage, ..message });
                return;
            }
        }
    }
}
