//! From what the relay did to what the row becomes. Pure.

use std::time::Duration;

use super::brakes::tally::{Answer, Said};
use super::retry;
use super::{Claimed, Leases, Reason, State};
use crate::clock::Timestamp;
use crate::id::{DeliveryId, IssueId, WorkerId};
use crate::smtp::class::classify;
use crate::smtp::outcome::{Cause, Failure, Outcome, Phase, Verdict};
use crate::smtp::reply::Reply;

/// What is written about one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which delivery.
    pub id: DeliveryId,
    /// Which attempt.
    pub attempt: i64,
    /// Whose.
    pub owner: WorkerId,
    /// What it becomes: sent, pending, failed, held or in doubt.
    pub state: State,
    /// Why, if it is not sent.
    pub reason: Option<Reason>,
    /// Nothing happens before then.
    pub not_before: Timestamp,
    /// When it was settled.
    pub at: Timestamp,
    /// Whether a reply about this recipient or message was heard.
    pub is_counted: bool,
    /// Whether it fell into doubt.
    pub is_doubt: bool,
    /// The reply's code.
    pub reply_code: Option<i64>,
    /// The reply's enhanced code.
    pub enhanced_code: Option<String>,
    /// The reply's text, or what happened instead.
    pub reply_text: Option<String>,
    /// The issue that pauses because of it, and why.
    pub pause: Option<(IssueId, String)>,
    /// What the brakes count.
    pub answer: Option<Answer>,
}

/// Circumstances of a settlement.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: Timestamp,
    /// 0.8 to 1.2.
    pub jitter: f64,
    /// The graces.
    pub leases: &'a Leases,
}

impl Settlement {
    /// For a message that was transmitted, or broke off on the way.
    pub fn of_outcome(claimed: &Claimed, outcome: &Outcome, with: Circumstances<'_>) -> Self {
        match outcome {
            Outcome::Accepted(reply) => Self {
                state: State::Sent,
                is_counted: true,
                answer: answer(claimed, Said::Accepted),
                ..Self::blank(claimed, with.now).with_reply(reply)
            },
            Outcome::Failed(failure) => Self::of_failure(claimed, failure, with),
        }
    }

    /// For a message whose dialogue failed, before or after the mark.
    pub fn of_failure(claimed: &Claimed, failure: &Failure, with: Circumstances<'_>) -> Self {
        let blank = Self {
            reply_text: Some(said(failure)),
            answer: heard(failure).and_then(|said| answer(claimed, said)),
            ..Self::blank(claimed, with.now)
        };
        let blank = match failure.reply() {
            Some(reply) => blank.with_reply(reply),
            None => blank,
        };
        let later = |wait: Duration| with.now + wait;
        match failure.verdict() {
            Verdict::Sent => Self {
                state: State::Sent,
                is_counted: true,
                ..blank
            },
            Verdict::Deferred => {
                let not_before = later(retry::delay(claimed.tries + 1, with.jitter));
                blank.counted().again_at(not_before, claimed)
            }
            Verdict::Refused => Self {
                state: State::Failed,
                reason: Some(match failure.cause {
                    Cause::NeedsSmtpUtf8 => Reason::Relay,
                    Cause::Reply(_)
                    | Cause::Lost(_)
                    | Cause::TimedOut
                    | Cause::Fenced
                    | Cause::Protocol(_)
                    | Cause::Unfit(_)
                    | Cause::TooLarge { .. } => Reason::Refused,
                }),
                ..blank.counted()
            },
            Verdict::RelayBackOff(_) | Verdict::RelayHalted => blank,
            Verdict::IssuePaused => match claimed.issue_id {
                Some(issue) => Self {
                    pause: Some((issue, failure.to_string())),
                    ..blank
                },
                None => Self {
                    not_before: later(retry::AFTER_SENDER_REFUSED),
                    ..blank
                },
            },
            Verdict::NotSent => Self {
                not_before: later(retry::AFTER_LOSS),
                ..blank
            },
            Verdict::InDoubt => Self {
                state: State::InDoubt,
                is_doubt: true,
                not_before: later(with.leases.grace_of(claimed)),
                ..blank
            },
        }
    }

    /// The same, but for the brakes: the relay was given no time to answer.
    #[must_use]
    pub fn unheard(self) -> Self {
        Self {
            answer: None,
            ..self
        }
    }

    /// For a message that was not begun: the same again, at once.
    pub fn untouched(claimed: &Claimed, now: Timestamp) -> Self {
        Self::blank(claimed, now)
    }

    /// For a message that cannot be made.
    pub fn unrenderable(claimed: &Claimed, why: &str, now: Timestamp) -> Self {
        Self {
            state: State::Held,
            reason: Some(Reason::Unrenderable),
            reply_text: Some(why.to_owned()),
            ..Self::blank(claimed, now)
        }
    }

    /// For a message that is not sent any more and may have arrived before: an operator decides, not the next issue.
    pub fn doubtful(claimed: &Claimed, now: Timestamp) -> Self {
        Self {
            state: State::Held,
            reason: Some(Reason::Doubt),
            ..Self::blank(claimed, now)
        }
    }

    fn blank(claimed: &Claimed, now: Timestamp) -> Self {
        Self {
            id: claimed.id,
            attempt: claimed.attempt,
            owner: claimed.owner,
            state: State::Pending,
            reason: None,
            not_before: now,
            at: now,
            is_counted: false,
            is_doubt: false,
            reply_code: None,
            enhanced_code: None,
            reply_text: None,
            pause: None,
            answer: None,
        }
    }

    fn with_reply(self, reply: &Reply) -> Self {
        Self {
            reply_code: Some(i64::from(reply.code)),
            enhanced_code: reply.enhanced.map(|code| code.to_string()),
            reply_text: Some(reply.text()),
            ..self
        }
    }

    fn counted(self) -> Self {
        Self {
            is_counted: true,
            ..self
        }
    }

    /// Pending until `not_before`, or failed if that is too late.
    fn again_at(self, not_before: Timestamp, claimed: &Claimed) -> Self {
        if not_before < claimed.expires_at {
            return Self { not_before, ..self };
        }
        // What may have arrived is not given up as if it had not.
        let (state, reason) = match claimed.doubt {
            0 => (State::Failed, Reason::Expired),
            _ => (State::Held, Reason::Doubt),
        };
        Self {
            state,
            reason: Some(reason),
            ..self
        }
    }
}

fn said(failure: &Failure) -> String {
    match &failure.partial {
        Some(partial) => format!("{failure}; heard: {partial}"),
        None => failure.to_string(),
    }
}

fn answer(claimed: &Claimed, said: Said) -> Option<Answer> {
    let issue = claimed.issue_id?;
    let domain = claimed
        .recipient
        .rsplit_once('@')
        .map_or("", |(_, domain)| domain);
    Some(Answer {
        issue,
        domain: domain.to_lowercase(),
        said,
    })
}

/// What a failure says about its recipient or message, if it says anything.
fn heard(failure: &Failure) -> Option<Said> {
    let transmitted = failure.phase == Phase::Dot;
    match failure.verdict() {
        Verdict::Sent => Some(Said::Accepted),
        Verdict::Deferred => Some(Said::Deferred { transmitted }),
        Verdict::Refused => failure.reply().map(|reply| Said::Refused {
            class: classify(failure.phase, reply),
            transmitted: failure.phase != Phase::Rcpt,
            reply: same_words(reply),
        }),
        Verdict::InDoubt => Some(Said::Lost),
        Verdict::RelayBackOff(_)
        | Verdict::RelayHalted
        | Verdict::IssuePaused
        | Verdict::NotSent => None,
    }
}

/// A reply without the words that differ from message to message: ids, addresses, links.
fn same_words(reply: &Reply) -> String {
    let text = reply.text();
    let mut words = text.split_whitespace();
    let code = words.next().filter(|_| reply.enhanced.is_some());
    let rest = match code {
        Some(_) => words,
        None => text.split_whitespace(),
    };
    let mut same = reply.code.to_string();
    for word in code.into_iter().chain(rest.filter(|word| is_same(word))) {
        same.push(' ');
        same.push_str(word);
    }
    same.truncate(same.floor_char_boundary(200));
    same
}

fn is_same(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_digit() || matches!(c, '@' | '/'))
}

#[cfg(test)]
mod tests;
