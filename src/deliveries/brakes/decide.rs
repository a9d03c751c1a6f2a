//! When an issue must stop by itself, and when its operator must be told. Pure.

use std::fmt;

use super::tally::{DomainTally, Tally};

/// Rates say nothing below so many answers.
const ENOUGH: u64 = 100;
/// Percent of addresses that are not there.
const HARD_PERCENT: u64 = 5;
/// Percent of refusals by policy.
const POLICY_PERCENT: u64 = 10;
/// Refusals of the message in the same words.
const SAME_CONTENT: u64 = 3;
/// Recipients refused in a row, and their domains: the relay refuses everybody.
const RUN: (u64, usize) = (20, 3);
/// Refusals by policy of one domain, in all or in percent.
const DOMAIN: (u64, u64) = (20, 5);

/// Why an issue stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brake {
    /// Too many addresses are not there: the list is old, or not what it seems.
    HardBounces {
        /// How many.
        refused: u64,
        /// Of how many.
        answers: u64,
    },
    /// The sender's reputation or authentication does not suffice.
    Policy {
        /// How many.
        refused: u64,
        /// Of how many.
        answers: u64,
    },
    /// The message is not wanted.
    Content {
        /// How often.
        times: u64,
        /// In which words.
        reply: String,
    },
    /// The relay refuses everybody.
    EveryRecipient {
        /// How many in a row.
        refusals: u64,
        /// In how many domains.
        domains: usize,
    },
    /// The relay falls silent after messages: readers might get everything twice.
    Doubts {
        /// How many.
        doubts: u64,
        /// Of how many.
        transmissions: u64,
    },
}

impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardBounces { refused, answers } => write!(
                f,
                "{refused} of {answers} addresses do not exist (over {HARD_PERCENT} %)"
            ),
            Self::Policy { refused, answers } => write!(
                f,
                "{refused} of {answers} mails were refused by policy (over {POLICY_PERCENT} %)"
            ),
            Self::Content { times, reply } => {
                write!(f, "the message was refused {times} times: {reply}")
            }
            Self::EveryRecipient { refusals, domains } => write!(
                f,
                "{refusals} recipients in a row were refused, in {domains} domains"
            ),
            Self::Doubts {
                doubts,
                transmissions,
            } => write!(
                f,
                "the relay's final reply was lost for {doubts} of the last {transmissions} mails"
            ),
        }
    }
}

/// The brake that an issue's answers pull, if they do.
pub fn brakes(tally: &Tally) -> Option<Brake> {
    let answers = tally.answers;
    if tally.doubts.are_too_many() {
        return Some(Brake::Doubts {
            doubts: tally.doubts.doubts(),
            transmissions: tally.doubts.transmissions(),
        });
    }
    if tally.run.refusals >= RUN.0 && tally.run.domains.len() >= RUN.1 {
        return Some(Brake::EveryRecipient {
            refusals: tally.run.refusals,
            domains: tally.run.domains.len(),
        });
    }
    if let Some((reply, times)) = tally.content.iter().find(|(_, n)| **n >= SAME_CONTENT) {
        return Some(Brake::Content {
            times: *times,
            reply: reply.clone(),
        });
    }
    if answers >= ENOUGH && over(tally.hard, HARD_PERCENT, answers) {
        return Some(Brake::HardBounces {
            refused: tally.hard,
            answers,
        });
    }
    if answers >= ENOUGH && over(tally.policy, POLICY_PERCENT, answers) {
        return Some(Brake::Policy {
            refused: tally.policy,
            answers,
        });
    }
    None
}

/// Domains whose policy the operator must hear of: many refusals, whether the operator has been told or not.
pub fn alarms(tally: &Tally) -> impl Iterator<Item = (&str, DomainTally)> {
    tally.domains.iter().filter_map(|(domain, of)| {
        let many = of.policy >= DOMAIN.0;
        let much = of.answers >= ENOUGH && over(of.policy, DOMAIN.1, of.answers);
        (many || much).then_some((domain.as_str(), *of))
    })
}

fn over(part: u64, percent: u64, whole: u64) -> bool {
    part * 100 > whole * percent
}
