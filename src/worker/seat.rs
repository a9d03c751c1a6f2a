//! A line's work: one delivery after another, over a connection that is kept while there is something to send.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::queue::Queue;
use crate::deliveries::claim::Ready;
use crate::deliveries::send::Sending;
use crate::deliveries::settlement::Settlement;
use crate::deliveries::worker::Worker;
use crate::smtp::channel::{Channel, Line};
use crate::smtp::relay::Unavailable;

/// How long a line waits where the relay allows no more connections.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// One line's work.
pub(super) struct Seat {
    /// Where its work comes from.
    pub(super) queue: Arc<Queue>,
    /// Where it goes.
    pub(super) channel: Channel,
    /// For whom.
    pub(super) worker: Worker,
    /// How.
    pub(super) sending: Sending,
}

impl Seat {
    /// Works until the queue is closed.
    pub(super) async fn work(self) {
        let mut line: Option<Line> = None;
        loop {
            let taken = if let Some(taken) = self.queue.try_take() {
                Some(taken)
            } else {
                // Given back while nothing waits, so that others may use it and it is closed in time.
                line = None;
                self.queue.take().await
            };
            let Some((ready, in_hand)) = taken else {
                return;
            };
            let sent = AssertUnwindSafe(self.send(line.take(), &ready)).catch_unwind();
            line = if let Ok(line) = sent.await {
                line
            } else {
                self.hold(&ready).await;
                None
            };
            drop(in_hand);
        }
    }

    async fn send(&self, line: Option<Line>, ready: &Ready) -> Option<Line> {
        let usable = line.filter(Line::is_usable);
        let opened = match usable {
            Some(line) => Some(line),
            None => self.open().await,
        };
        let Some(mut line) = opened else {
            self.give_back(ready).await;
            return None;
        };
        if !self.worker.is_alive() || !self.sending.ledger.is_healthy() {
            self.give_back(ready).await;
            return Some(line);
        }
        self.sending.send(&mut line, ready).await;
        line.is_usable().then_some(line)
    }

    /// A message whose making panics is for a person; the panic has been reported where it happened. What was marked
    /// before it is not touched here: it falls into doubt.
    async fn hold(&self, ready: &Ready) {
        let now = self.sending.clock.now();
        let settlement =
            Settlement::unrenderable(&ready.claimed, "the program failed at this message", now);
        self.sending.ledger.refuse(settlement).await;
    }

    async fn give_back(&self, ready: &Ready) {
        let now = self.sending.clock.now();
        self.sending.ledger.give_back(&ready.claimed, now).await;
    }

    /// Opens a line; `None` where the relay is not to be had. Where others use all that it allows, it waits a little,
    /// so that rows do not come and go at full speed.
    async fn open(&self) -> Option<Line> {
        let began = Instant::now();
        loop {
            match self.channel.open().await {
                Ok(line) => return Some(line),
                Err(Unavailable::Busy) if began.elapsed() < BUSY_WAIT * 10 => {
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Err(Unavailable::Busy | Unavailable::Resting { .. }) => return None,
                Err(Unavailable::Failed(failure)) => {
                    let relay = self.channel.name();
                    tracing::warn!(relay, error = %failure, "Relay {relay} cannot be used now");
                    return None;
                }
            }
        }
    }
}
