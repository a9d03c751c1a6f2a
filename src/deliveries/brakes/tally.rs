//! What the brakes count. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::IssueId;
use crate::smtp::class::Class;
use crate::smtp::doubts::Doubts;

/// Domains and replies that are remembered, at most: those of an issue that goes wrong are few.
const MOST_KEYS: usize = 200;

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
    /// The latest messages, and whose final reply was lost.
    pub doubts: Doubts,
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

impl Tally {
    /// Adds one answer.
    pub fn count(&mut self, answer: &Answer, at: Timestamp) {
        match &answer.said {
            Said::Accepted => {
                self.answered(&answer.domain);
                self.transmitted(false, at);
            }
            Said::Deferred { transmitted } => {
                if *transmitted {
                    self.transmitted(false, at);
                }
            }
            Said::Refused {
                class,
                transmitted,
                reply,
            } => {
                self.answered(&answer.domain);
                if *transmitted {
                    self.transmitted(false, at);
                } else {
                    self.run.add(&answer.domain, at);
                }
                self.refused(*class, &answer.domain, reply);
            }
            Said::Lost => self.transmitted(true, at),
        }
    }

    fn answered(&mut self, domain: &str) {
        self.answers += 1;
        if let Some(tally) = self.domains.get_mut(domain) {
            tally.answers += 1;
        }
    }

    /// A message was written to its end, so its recipient had been accepted.
    fn transmitted(&mut self, is_doubt: bool, at: Timestamp) {
        self.run = Run::default();
        self.accepted_at = Some(at);
        self.doubts.transmitted(is_doubt);
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
            all.doubts.add(&one.doubts);
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
