//! A dialogue with a relay: our own reading, writing and deadlines, on lettre's grammar.
//!
//! Every call takes the connection out of its state and puts it back only at its good end. So a dropped future, a
//! missed deadline and an unexpected byte leave a connection that refuses everything: it is closed, never reused.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use lettre::transport::smtp::commands::{Data, Quit, Rset};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

pub use super::opening::Connector;

use super::capabilities::Capabilities;
use super::deadlines::Deadlines;
use super::envelope::Envelope;
use super::input::Input;
use super::outcome::{Cause, Failure, Outcome, Phase};
use super::wire::Wire;

/// What a dialogue runs over: a socket, TLS on it, a pipe.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// How many commands may go out in one write, where the relay offers PIPELINING (RFC 2920).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipelining {
    /// MAIL, RCPT and DATA together.
    Full,
    /// MAIL and RCPT together, DATA by itself: for relays that answer DATA 354 after refusing the recipient.
    DataAlone,
    /// One command at a time.
    Off,
}

/// Whether the time is over within which a message may be ended.
pub type Fence = Box<dyn Fn() -> bool + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Ready for an envelope.
    Ready,
    /// The 354 has been read.
    Addressed,
    /// MAIL, RCPT and DATA went out with the message before; their replies have not been read.
    Attached,
    /// In a call, or not to be used again.
    Closed,
}

/// The commands of an envelope, in their order.
const ENVELOPE: [Phase; 3] = [Phase::Mail, Phase::Rcpt, Phase::Data];

/// One connection to a relay.
pub struct Connection {
    pub(super) stream: Box<dyn Stream>,
    pub(super) input: Input,
    pub(super) deadlines: Deadlines,
    /// Of the message that comes next.
    pub(super) fence: Option<Fence>,
    encrypted: bool,
    capabilities: Capabilities,
    pipelining: Pipelining,
    state: State,
    /// The relay may hold a sender or recipient of a group that was refused.
    needs_reset: bool,
    answered_data_after_refusal: bool,
}

impl Connection {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        encrypted: bool,
        deadlines: Deadlines,
        pipelining: Pipelining,
    ) -> Self {
        Self {
            stream,
            encrypted,
            input: Input::default(),
            capabilities: Capabilities::default(),
            deadlines,
            fence: None,
            pipelining,
            state: State::Closed,
            needs_reset: false,
            answered_data_after_refusal: false,
        }
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// The opening is over.
    pub(super) fn ready(&mut self) {
        self.state = State::Ready;
    }

    /// The stream, to be wrapped in TLS. `None` when something has been read that nobody asked for.
    pub(super) fn into_stream(self) -> Option<Box<dyn Stream>> {
        self.input.is_empty().then_some(self.stream)
    }

    /// Whether it is ready for an envelope.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether TLS protects it.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the relay answered DATA with 354 although it had refused the recipient.
    pub fn answered_data_after_refusal(&self) -> bool {
        self.answered_data_after_refusal
    }

    /// Sends MAIL, RCPT and DATA. `Ok` when the 354 has been read: the relay waits for the message, and nothing of it
    /// has been written. A refusal leaves the connection ready for the next envelope.
    pub async fn envelope(&mut self, envelope: &Envelope) -> Result<(), Failure> {
        self.take(State::Ready, Phase::Mail)?;
        if let Some(cause) = self.cannot_take(envelope) {
            self.state = State::Ready;
            return Err(Failure::new(Phase::Mail, cause));
        }
        let mut steps = Vec::with_capacity(4);
        if self.needs_reset {
            steps.push((Phase::Rset, Rset.to_string()));
        }
        steps.push((Phase::Mail, envelope.mail_command(&self.capabilities)));
        steps.push((Phase::Rcpt, envelope.rcpt_command()));
        steps.push((Phase::Data, Data.to_string()));
        let pipelining = if self.capabilities.pipelining {
            self.pipelining
        } else {
            Pipelining::Off
        };
        match pipelining {
            Pipelining::Full => self.run_group(&steps).await?,
            Pipelining::DataAlone => {
                let (before, data) = steps.split_at(steps.len() - 1);
                self.run_group(before).await?;
                self.run_group(data).await?;
            }
            Pipelining::Off => {
                for step in steps.chunks(1) {
                    self.run_group(step).await?;
                }
            }
        }
        self.needs_reset = false;
        self.state = State::Addressed;
        Ok(())
    }

    /// Whether the relay takes whole groups of commands, so that one may follow a message (RFC 2920, section 3.1).
    pub fn takes_groups(&self) -> bool {
        self.capabilities.pipelining && self.pipelining == Pipelining::Full
    }

    /// Whether the envelope may go out in one write with the message before it.
    pub fn may_attach(&self, envelope: &Envelope) -> bool {
        self.takes_groups() && !self.needs_reset && self.cannot_take(envelope).is_none()
    }

    /// The next message is broken off before its dot when `fence` says so: a process that stood still must not end what
    /// others may have taken over meanwhile. Once the dot is out its answer is awaited all the same.
    pub fn set_fence(&mut self, fence: Fence) {
        self.fence = Some(fence);
    }

    /// Writes the message and its final dot and hears the answer. Only after an `Ok` of [`Self::envelope`].
    ///
    /// An envelope that [may be attached](Self::may_attach) goes out in the same write, so that a message costs one
    /// round trip. [`Self::is_attached`] says whether it is still alive afterwards, [`Self::addressed`] hears of it.
    pub async fn transmit(&mut self, wire: &Wire, attached: Option<&Envelope>) -> Outcome {
        if let Err(failure) = self.take(State::Addressed, Phase::Body) {
            return Outcome::Failed(failure);
        }
        let group = attached.map(|envelope| self.group(envelope));
        if let Err(failure) = self.write_message(wire, group.as_deref()).await {
            return Outcome::Failed(failure);
        }
        let goes_on = match attached {
            Some(_) => State::Attached,
            None => State::Ready,
        };
        match self.read_reply(Phase::Dot, self.deadlines.dot).await {
            Ok(reply) if reply.is_done() => {
                if reply.code == 250 {
                    self.state = goes_on;
                }
                Outcome::Accepted(reply)
            }
            Ok(reply) => {
                if (reply.is_transient() || reply.is_permanent()) && reply.code != 421 {
                    self.state = goes_on;
                }
                Outcome::Failed(Failure::new(Phase::Dot, Cause::Reply(reply)))
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Whether an attached envelope waits for its replies.
    pub fn is_attached(&self) -> bool {
        self.state == State::Attached
    }

    /// Hears the replies to an attached envelope; as [`Self::envelope`] otherwise.
    pub async fn addressed(&mut self) -> Result<(), Failure> {
        self.take(State::Attached, Phase::Mail)?;
        self.hear_group(&ENVELOPE).await?;
        self.state = State::Addressed;
        Ok(())
    }

    fn group(&self, envelope: &Envelope) -> String {
        let mut lines = envelope.mail_command(&self.capabilities);
        lines.push_str(&envelope.rcpt_command());
        lines.push_str(&Data.to_string());
        lines
    }

    /// Says goodbye and closes. The answer changes nothing.
    pub async fn quit(mut self) {
        if self.state == State::Ready {
            let limit = self.deadlines.quit;
            let _ = timeout(limit, async {
                self.stream.write_all(Quit.to_string().as_bytes()).await?;
                self.stream.flush().await?;
                self.input.fill(&mut self.stream).await?;
                self.stream.shutdown().await
            })
            .await;
        }
    }

    /// Whether nothing has come in since the last reply. A parked connection that is not quiet was closed by the relay.
    pub async fn is_quiet(&mut self) -> bool {
        self.input.is_empty()
            && poll_fn(|context| Poll::Ready(self.poll_input(context).is_pending())).await
    }

    fn take(&mut self, expected: State, phase: Phase) -> Result<(), Failure> {
        let found = std::mem::replace(&mut self.state, State::Closed);
        if found == expected {
            return Ok(());
        }
        let reason = "this connection is closed".to_owned();
        Err(Failure::new(phase, Cause::Lost(reason)))
    }

    fn cannot_take(&self, envelope: &Envelope) -> Option<Cause> {
        if let Some(limit_bytes) = self.capabilities.size_limit()
            && envelope.size_bytes() > limit_bytes
        {
            return Some(Cause::TooLarge {
                size_bytes: envelope.size_bytes(),
                limit_bytes,
            });
        }
        (envelope.needs_smtputf8() && !self.capabilities.smtputf8).then_some(Cause::NeedsSmtpUtf8)
    }

    /// Sends `steps` in one write and reads a reply for each.
    async fn run_group(&mut self, steps: &[(Phase, String)]) -> Result<(), Failure> {
        let lines: String = steps.iter().map(|(_, line)| line.as_str()).collect();
        let phases: Vec<_> = steps.iter().map(|(phase, _)| *phase).collect();
        let first = phases.first().copied().unwrap_or(Phase::Mail);
        self.write_command(first, &lines).await?;
        self.hear_group(&phases).await
    }

    /// Reads a reply for each of `phases`. The first refusal decides; later ones follow from it.
    async fn hear_group(&mut self, phases: &[Phase]) -> Result<(), Failure> {
        let mut refusal = None;
        for phase in phases {
            let reply = match (self.read_reply(*phase, self.limit(*phase)).await, &refusal) {
                (Ok(reply), _) => reply,
                (Err(failure), None) => return Err(failure),
                (Err(_), Some(_)) => return refusal.map_or(Ok(()), Err),
            };
            let refused = reply.is_transient() || reply.is_permanent();
            let closing = reply.code == 421 || !(refused || is_expected(*phase, reply.code));
            match refusal {
                None if is_expected(*phase, reply.code) => {}
                None => {
                    let failure = Failure::new(*phase, Cause::Reply(reply));
                    if closing || *phase == Phase::Rset {
                        return Err(failure);
                    }
                    refusal = Some(failure);
                }
                Some(failure) if closing || reply.code == 354 => {
                    self.answered_data_after_refusal = reply.code == 354;
                    return Err(failure);
                }
                Some(_) => {}
            }
        }
        match refusal {
            None => Ok(()),
            Some(failure) => {
                self.needs_reset = true;
                self.state = State::Ready;
                Err(failure)
            }
        }
    }

    fn limit(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect => self.deadlines.connect,
            Phase::Tls => self.deadlines.tls,
            Phase::Greeting => self.deadlines.greeting,
            Phase::Ehlo => self.deadlines.ehlo,
            Phase::StartTls => self.deadlines.starttls,
            Phase::Auth => self.deadlines.auth,
            Phase::Mail => self.deadlines.mail,
            Phase::Rcpt => self.deadlines.rcpt,
            Phase::Data => self.deadlines.data,
            Phase::Body => self.deadlines.body,
            Phase::Dot => self.deadlines.dot,
            Phase::Rset => self.deadlines.rset,
        }
    }
}

fn is_expected(phase: Phase, code: u16) -> bool {
    match phase {
        Phase::Rcpt => matches!(code, 250 | 251),
        Phase::Data => code == 354,
        Phase::Connect
        | Phase::Tls
        | Phase::Greeting
        | Phase::Ehlo
        | Phase::StartTls
        | Phase::Auth
        | Phase::Mail
        | Phase::Body
        | Phase::Dot
        | Phase::Rset => code == 250,
    }
}

#[cfg(test)]
mod tests;
