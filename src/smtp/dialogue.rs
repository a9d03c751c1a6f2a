//! Reading and writing on a connection: whole replies, counted bytes, one deadline for each.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{Connection, Fence};
use super::outcome::{Cause, Failure, Phase};
use super::reply::Reply;
use super::wire::Wire;

/// The end of a message (RFC 5321, section 4.1.1.4).
const DOT: &str = ".\r\n";

/// How long an early reply may take to become complete.
const EARLY_REPLY: Duration = Duration::from_secs(20);

/// A deadline that is noticed so much too late was missed by a process that stood still.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// What happened first while the message was being written.
enum Step {
    Wrote(io::Result<usize>),
    Heard(io::Result<usize>),
    Fenced,
}

impl Connection {
    /// Writes one command and reads its reply.
    pub(super) async fn ask(
        &mut self,
        phase: Phase,
        command: &str,
        limit: Duration,
    ) -> Result<Reply, Failure> {
        self.write_command(phase, command).await?;
        self.read_reply(phase, limit).await
    }

    /// Reads one complete reply within `limit`.
    pub(super) async fn read_reply(
        &mut self,
        phase: Phase,
        limit: Duration,
    ) -> Result<Reply, Failure> {
        let mut deadline = Instant::now() + limit;
        let cause = loop {
            match self.input.next_reply() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => break Cause::Protocol(error.to_string()),
            }
            match timeout_at(deadline, self.input.fill(&mut self.stream)).await {
                Ok(Ok(0)) => break Cause::Lost("the relay closed the connection".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => break Cause::Lost(error.to_string()),
                // The process stood still past its deadline: what has come meanwhile was not looked at yet.
                Err(_) if deadline.elapsed() > STOOD_STILL => {
                    deadline = Instant::now() + STOOD_STILL;
                }
                Err(_) => break Cause::TimedOut,
            }
        };
        Err(Failure {
            phase,
            cause,
            partial: self.input.partial(),
        })
    }

    /// Writes command lines. Where that fails, a farewell that the relay sent before it closed is the better reason.
    pub(super) async fn write_command(&mut self, phase: Phase, lines: &str) -> Result<(), Failure> {
        let limit = self.deadlines.rset;
        let write = async {
            self.stream.write_all(lines.as_bytes()).await?;
            self.stream.flush().await
        };
        let cause = match timeout(limit, write).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Cause::Lost(error.to_string()),
            Err(_) => Cause::TimedOut,
        };
        let cause = match self.read_reply(phase, self.deadlines.quit).await {
            Ok(farewell) => Cause::Reply(farewell),
            Err(_) => cause,
        };
        Err(Failure::new(phase, cause))
    }

    /// Writes the message with its dot, and in the same write the commands that are `attached` to it. `Ok` when the dot's
    /// last byte was taken: the reply to it tells the rest. A failure of phase `Body` means that it was not, so the relay
    /// cannot have accepted the message.
    pub(super) async fn write_message(
        &mut self,
        wire: &Wire,
        attached: Option<&str>,
    ) -> Result<(), Failure> {
        let message = wire.as_bytes();
        let end = [DOT, attached.unwrap_or_default()].concat();
        let dot_end = message.len() + DOT.len();
        let mut parts = [IoSlice::new(message), IoSlice::new(end.as_bytes())];
        let mut rest = &mut parts[..];
        let whole = Instant::now() + self.deadlines.body;
        let fence = self.fence.take();
        let mut written = 0;
        while written < dot_end {
            if !self.input.is_empty() {
                return Err(self.early_reply().await);
            }
            let stalled = Instant::now() + self.deadlines.body_stalled;
            let step = timeout_at(
                whole.min(stalled),
                poll_fn(|context| self.poll_step(context, rest, fence.as_ref())),
            );
            match step.await {
                Ok(Step::Wrote(Ok(0))) => {
                    return Err(body(Cause::Lost("the stream takes no more".to_owned())));
                }
                Ok(Step::Wrote(Ok(count))) => {
                    written += count;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Ok(Step::Heard(Ok(0))) => {
                    return Err(body(Cause::Lost(
                        "the relay closed the connection".to_owned(),
                    )));
                }
                Ok(Step::Heard(Ok(_))) => {}
                Ok(Step::Fenced) => return Err(body(Cause::Fenced)),
                Ok(Step::Wrote(Err(error)) | Step::Heard(Err(error))) => {
                    return Err(body(Cause::Lost(error.to_string())));
                }
                Err(_) => return Err(body(Cause::TimedOut)),
            }
        }
        let unwritten = &end.as_bytes()[written - message.len()..];
        let rest = async {
            self.stream.write_all(unwritten).await?;
            self.stream.flush().await
        };
        // Every byte of the message has been taken. Whether the rest was or not, what the relay says next decides.
        let _whether_written = timeout_at(whole, rest).await;
        Ok(())
    }

    /// Listens first: whatever comes before the dot stops the writing. The fence is asked each time, for the process may
    /// have stood still while the stream took no more.
    fn poll_step(
        &mut self,
        context: &mut Context<'_>,
        rest: &[IoSlice<'_>],
        fence: Option<&Fence>,
    ) -> Poll<Step> {
        if let Poll::Ready(heard) = self.poll_input(context) {
            return Poll::Ready(Step::Heard(heard));
        }
        if fence.is_some_and(|is_over| is_over()) {
            return Poll::Ready(Step::Fenced);
        }
        Pin::new(&mut self.stream)
            .poll_write_vectored(context, rest)
            .map(Step::Wrote)
    }

    pub(super) fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; 512];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.input.push(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// The failure that a reply before the dot makes.
    async fn early_reply(&mut self) -> Failure {
        let limit = EARLY_REPLY.min(self.deadlines.dot);
        match self.read_reply(Phase::Body, limit).await {
            Ok(reply) if reply.is_transient() || reply.is_permanent() => body(Cause::Reply(reply)),
            Ok(reply) => body(Cause::Protocol(format!(
                "the relay answered {reply} before the final dot"
            ))),
            Err(failure) => failure,
        }
    }
}

fn body(cause: Cause) -> Failure {
    Failure::new(Phase::Body, cause)
}
