//! What a dialogue ended in, and who is to be punished for it. Pure.

use std::fmt;
use std::time::Duration;

use super::reply::{EnhancedCode, Reply, leading_code};

/// How far a dialogue had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Finding the address and connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO.
    Ehlo,
    /// STARTTLS, up to its reply.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, up to the 354.
    Data,
    /// The message is being written; the last byte of its final dot has not left.
    Body,
    /// The final dot has left; its reply has not been understood.
    Dot,
    /// RSET.
    Rset,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Greeting => "the greeting",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Body => "the message",
            Self::Dot => "the final dot",
            Self::Rset => "RSET",
        })
    }
}

/// Why a dialogue did not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A complete reply that is not the one hoped for.
    #[error("the relay answered {0}")]
    Reply(Reply),
    /// The connection broke, or was never made.
    #[error("{0}")]
    Lost(String),
    /// The deadline passed.
    #[error("no complete answer in time")]
    TimedOut,
    /// The time was over within which the message might be ended; it was not.
    #[error("the lease was over before the end of the message")]
    Fenced,
    /// The relay said what nobody may say there.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The relay cannot be used as it is configured: certificate, STARTTLS, log-in. Waiting does not help.
    #[error("{0}")]
    Unfit(String),
    /// The message is larger than the relay takes (RFC 1870).
    #[error("the message has {size_bytes} bytes, the relay takes at most {limit_bytes}")]
    TooLarge {
        /// Size of the message.
        size_bytes: u64,
        /// The relay's limit.
        limit_bytes: u64,
    },
    /// An address needs SMTPUTF8 and the relay does not have it (RFC 6531).
    #[error("the address is not ASCII and the relay does not offer SMTPUTF8")]
    NeedsSmtpUtf8,
}

/// The end of a dialogue, or of one message in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{phase}: {cause}")]
pub struct Failure {
    /// How far it had come.
    pub phase: Phase,
    /// Why it did not go on.
    pub cause: Cause,
    /// What had been heard of a reply that never became complete: printable, at most 1 KiB.
    pub partial: Option<String>,
}

impl Failure {
    /// A failure without half a reply.
    pub fn new(phase: Phase, cause: Cause) -> Self {
        Self {
            phase,
            cause,
            partial: None,
        }
    }

    /// Nobody announced a message.
    pub(super) fn nothing_attached() -> Self {
        let reason = "no message was announced".to_owned();
        Self::new(Phase::Mail, Cause::Lost(reason))
    }

    /// Whether the relay answered 4xx.
    pub(crate) fn is_transient(&self) -> bool {
        self.reply().is_some_and(Reply::is_transient)
    }

    /// The relay's complete reply, if it gave one.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.cause {
            Cause::Reply(reply) => Some(reply),
            Cause::Lost(_)
            | Cause::TimedOut
            | Cause::Fenced
            | Cause::Protocol(_)
            | Cause::Unfit(_)
            | Cause::TooLarge { .. }
            | Cause::NeedsSmtpUtf8 => None,
        }
    }
}

/// What became of a message whose 354 had been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The relay has acknowledged it.
    Accepted(Reply),
    /// It has not, as far as was heard.
    Failed(Failure),
}

impl Outcome {
    /// What is to be done.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Accepted(_) => Verdict::Sent,
            Self::Failed(failure) => failure.verdict(),
        }
    }

    /// The relay's complete reply, if it gave one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) => Some(reply),
            Self::Failed(failure) => failure.reply(),
        }
    }
}

/// What is to be done about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The relay has taken responsibility for the message.
    Sent,
    /// This recipient or message, not now: try again later, and count the try.
    Deferred,
    /// This recipient or message, never.
    Refused,
    /// The relay rests, at least this long where it said so; nothing was sent and no try is counted.
    RelayBackOff(Option<Duration>),
    /// The relay needs a person; nothing was sent and no try is counted.
    RelayHalted,
    /// The sender or the content is not wanted: the issue pauses, and no recipient is touched.
    IssuePaused,
    /// Certainly not sent, and nobody is to blame: the same again.
    NotSent,
    /// The relay may have accepted it.
    InDoubt,
}

/// RFC 4954 names 454 4.7.0 for a log-in that fails for a while.
const LOGIN_REST: Duration = Duration::from_mins(30);

impl Failure {
    /// What is to be done. Retry follows the basic code; the enhanced code only tells whom a reply is about.
    pub fn verdict(&self) -> Verdict {
        match self.phase {
            Phase::Connect | Phase::Tls | Phase::Greeting | Phase::Ehlo | Phase::StartTls => {
                self.opening()
            }
            Phase::Auth => self.login(),
            Phase::Mail => self.sender(),
            Phase::Rcpt => self.recipient(),
            Phase::Data => self.before_the_body(),
            Phase::Body => self.within_the_body(),
            Phase::Dot => self.after_the_dot(),
            Phase::Rset => Verdict::NotSent,
        }
    }

    /// Whether the relay said that it does not take this sender; another one may.
    pub fn is_about_sender(&self) -> bool {
        self.phase == Phase::Mail
            && matches!(self.replied(), Some(Class::Permanent))
            && !self.is_about_size()
    }

    fn opening(&self) -> Verdict {
        match self.cause {
            Cause::Unfit(_) => Verdict::RelayHalted,
            Cause::Reply(_)
            | Cause::Lost(_)
            | Cause::TimedOut
            | Cause::Fenced
            | Cause::Protocol(_)
            | Cause::TooLarge { .. }
            | Cause::NeedsSmtpUtf8 => Verdict::RelayBackOff(None),
        }
    }

    fn login(&self) -> Verdict {
        match self.replied() {
            Some(Class::Permanent) => Verdict::RelayHalted,
            Some(Class::Transient) => {
                let told = self.reply().is_some_and(|reply| reply.code == 454);
                Verdict::RelayBackOff(told.then_some(LOGIN_REST))
            }
            Some(Class::Other) | None => self.opening(),
        }
    }

    fn sender(&self) -> Verdict {
        match (self.replied(), &self.cause) {
            (Some(Class::Transient), _) => Verdict::RelayBackOff(None),
            (Some(Class::Permanent), _) | (_, Cause::TooLarge { .. }) => Verdict::IssuePaused,
            (_, Cause::NeedsSmtpUtf8) => Verdict::Refused,
            (Some(Class::Other), _)
            | (
                None,
                Cause::Reply(_)
                | Cause::Lost(_)
                | Cause::TimedOut
                | Cause::Fenced
                | Cause::Protocol(_)
                | Cause::Unfit(_),
            ) => Verdict::NotSent,
        }
    }

    fn recipient(&self) -> Verdict {
        // x.5.3, too many recipients, says nothing about this one.
        let too_many = |code: EnhancedCode| (code.subject, code.detail) == (5, 3);
        match self.replied() {
            Some(Class::Transient) => Verdict::Deferred,
            Some(Class::Permanent) if self.enhanced().is_some_and(too_many) => Verdict::Deferred,
            Some(Class::Permanent) => Verdict::Refused,
            Some(Class::Other) | None => Verdict::NotSent,
        }
    }

    fn before_the_body(&self) -> Verdict {
        match self.replied() {
            Some(Class::Transient) => Verdict::RelayBackOff(None),
            Some(Class::Permanent) => Verdict::IssuePaused,
            Some(Class::Other) | None => Verdict::NotSent,
        }
    }

    fn within_the_body(&self) -> Verdict {
        match self.replied() {
            Some(Class::Transient) => Verdict::Deferred,
            Some(Class::Permanent) if self.is_about_size() => Verdict::IssuePaused,
            Some(Class::Permanent) => Verdict::Refused,
            Some(Class::Other) | None => Verdict::NotSent,
        }
    }

    fn after_the_dot(&self) -> Verdict {
        match (self.replied(), &self.cause) {
            (Some(Class::Transient), _) => Verdict::Deferred,
            (Some(Class::Permanent), _) => Verdict::Refused,
            // Three digits that say yes are a yes, even where the rest of the line was lost.
            (None, Cause::Lost(_) | Cause::TimedOut) if self.half_a_yes() => Verdict::Sent,
            (Some(Class::Other), _)
            | (
                None,
                Cause::Reply(_)
                | Cause::Lost(_)
                | Cause::TimedOut
                | Cause::Fenced
                | Cause::Protocol(_)
                | Cause::Unfit(_)
                | Cause::TooLarge { .. }
                | Cause::NeedsSmtpUtf8,
            ) => Verdict::InDoubt,
        }
    }

    fn replied(&self) -> Option<Class> {
        self.reply().map(|reply| match reply.code {
            400..=499 => Class::Transient,
            500..=599 => Class::Permanent,
            _ => Class::Other,
        })
    }

    fn enhanced(&self) -> Option<EnhancedCode> {
        self.reply().and_then(|reply| reply.enhanced)
    }

    fn is_about_size(&self) -> bool {
        match self.enhanced() {
            Some(code) => {
                (code.subject, code.detail) == (3, 4) || (code.subject, code.detail) == (2, 3)
            }
            None => self.reply().is_some_and(|reply| reply.code == 552),
        }
    }

    fn half_a_yes(&self) -> bool {
        self.partial
            .as_ref()
            .and_then(|partial| leading_code(partial.as_bytes()))
            .is_some_and(|code| code / 100 == 2)
    }
}

enum Class {
    Transient,
    Permanent,
    Other,
}

#[cfg(test)]
mod tests;
