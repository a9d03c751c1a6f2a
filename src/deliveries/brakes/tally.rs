//! What the brakes count. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::IssueId;
use crate::smtp::class::Class;

/// Domains and replies that are remembered, at most: those of an issue that goes wrong are few.
const MOST_KEYS: usize = 200;
/// Half of the transmissions that doubts are measured against.
const HALF_WINDOW: u64 = 250;

/// What an attempt at a digest was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of which issue.
    pub issue: IssueId,
    /// The recipient's domain, in lower case.
    pub domain: String,
    /// What was answered.
    pub said: Said,
}

/// The answer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The relay has taken the message.
    Accepted,
    /// Not now. `transmitted`: after the whole message.
    Deferred {
        /// Whether the relay had heard the whole message.
        transmitted: bool,
    },
    /// Never. `transmitted`: after the whole message, else at RCPT.
    Refused {
        /// About whom.
        class: Class,
        /// Whether the relay had heard the whole message.
        transmitted: bool,
        /// The reply without what differs from message to message.
        reply: String,
    },
    /// The relay fell silent after the final dot.
    Lost,
}

impl Said {
    /// Whether it can pull a brake.
    pub fn is_bad(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Lost => true,
            Self::Accepted | Self::Deferred { .. } => false,
        }
    }
}

/// Answers to one issue, as one worker heard them, or several together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Recipients for whom yes or no was said.
    pub answers: u64,
    /// Of these, addresses that are not there.
    pub hard: u64,
    /// Of these, refusals of the sender's reputation.
    pub policy: u64,
    /// Refusals of the message, by their words.
    pub content: BTreeMap<String, u64>,
    /// Domains that refused by policy.
    pub domains: BTreeMap<String, DomainTally>,
    /// Domains that the operator was told of.
    pub alarmed: BTreeSet<String>,
    /// Recipients refused in a row.
    pub run: Run,
    recent: Window,
    accepted_at: Option<Timestamp>,
}

/// One domain, from its first refusal by policy on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainTally {
    /// Recipients for whom yes or no was said.
    pub answers: u64,
    /// Of these, refusals by policy.
    pub policy: u64,
}

/// Recipients refused without one being accepted between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How many.
    pub refusals: u64,
    /// Their domains.
    pub domains: BTreeSet<String>,
    from: Option<Timestamp>,
}

/// The latest transmissions, in two halves: the older one goes when the newer one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    newer: Half,
    older: Half,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    transmissions: u64,
    doubts: u64,
}

impl Tally {
    /// Adds one answer.
    pub fn count(&mut self, answer: &Answer, at: Timestamp) {
        match &answer.said {
            Said::Accepted => {
                self.answered(&answer.domain);
                self.transmitted(0, at);
            }
            Said::Deferred { transmitted } => {
                if *transmitted {
                    self.transmitted(0, at);
                }
            }
            Said::Refused {
                class,
                transmitted,
                reply,
            } => {
                self.answered(&answer.domain);
                if *transmitted {
                    self.transmitted(0, at);
                } else {
                    self.run.add(&answer.domain, at);
                }
                self.refused(*class, &answer.domain, reply);
            }
            Said::Lost => self.transmitted(1, at),
        }
    }

    fn answered(&mut self, domain: &str) {
        self.answers += 1;
        if let Some(tally) = self.domains.get_mut(domain) {
            tally.answers += 1;
        }
    }

    /// A message was written to its end, so its recipient had been accepted.
    fn transmitted(&mut self, doubts: u64, at: Timestamp) {
        self.run = Run::default();
        self.accepted_at = Some(at);
        self.recent.add(doubts);
    }

    fn refused(&mut self, class: Class, domain: &str, reply: &str) {
        match class {
            Class::Hard => self.hard += 1,
            Class::Policy => {
                self.policy += 1;
                if self.domains.len() < MOST_KEYS || self.domains.contains_key(domain) {
                    let tally = self.domains.entry(domain.to_owned()).or_default();
                    tally.answers = tally.answers.max(1);
                    tally.policy += 1;
                }
            }
            Class::Content => {
                if self.content.len() < MOST_KEYS || self.content.contains_key(reply) {
                    *self.content.entry(reply.to_owned()).or_default() += 1;
                }
            }
            Class::Soft | Class::Relay => {}
        }
    }

    /// Messages of late whose final reply was lost.
    pub fn doubts(&self) -> u64 {
        self.recent.newer.doubts + self.recent.older.doubts
    }

    /// Messages of late that were written to their end.
    pub fn transmissions(&self) -> u64 {
        self.recent.newer.transmissions + self.recent.older.transmissions
    }

    /// What several workers heard together. Of the refusals in a row those count that no worker's success came after.
    pub fn together(tallies: &[Self]) -> Self {
        let mut all = Self::default();
        for (index, one) in tallies.iter().enumerate() {
            all.answers += one.answers;
            all.hard += one.hard;
            all.policy += one.policy;
            for (reply, count) in &one.content {
                *all.content.entry(reply.clone()).or_default() += count;
            }
            for (domain, tally) in &one.domains {
                let sum = all.domains.entry(domain.clone()).or_default();
                sum.answers += tally.answers;
                sum.policy += tally.policy;
            }
            all.alarmed.extend(one.alarmed.iter().cloned());
            all.recent.newer.sum(one.recent.newer);
            all.recent.older.sum(one.recent.older);
            let others = tallies.iter().enumerate().filter(|(at, _)| *at != index);
            let success = others.filter_map(|(_, other)| other.accepted_at).max();
            if one.run.from.is_some_and(|from| Some(from) >= success) {
                all.run.refusals += one.run.refusals;
                all.run.domains.extend(one.run.domains.iter().cloned());
            }
        }
        all
    }
}

impl Run {
    fn add(&mut self, domain: &str, at: Timestamp) {
        self.refusals += 1;
        if self.domains.len() < MOST_KEYS {
            self.domains.insert(domain.to_owned());
        }
        self.from.get_or_insert(at);
    }
}

impl Window {
    fn add(&mut self, doubts: u64) {
        if self.newer.transmissions >= HALF_WINDOW {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.transmissions += 1;
        self.newer.doubts += doubts;
    }
}

impl Half {
    fn sum(&mut self, other: Self) {
        self.transmissions += other.transmissions;
        self.doubts += other.doubts;
    }
}
