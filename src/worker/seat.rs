//! A line's work: one delivery after another, over a connection that is kept while there is something to send.

use std::borrow::Borrow as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::queue::{Queue, Taken};
use crate::deliveries::claim::Ready;
use crate::deliveries::send::Sending;
use crate::smtp::channel::{Channel, Line};
use crate::smtp::relay::Unavailable;
use crate::telemetry::mask_emails;

/// How long a line waits where the relay allows no more connections.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// One line's work.
pub(super) struct Seat {
    /// Where its work comes from.
    pub(super) queue: Arc<Queue>,
    /// Where it goes.
    pub(super) channel: Channel,
    /// How.
    pub(super) sending: Sending,
}

impl Seat {
    /// Works until the queue is closed.
    pub(super) async fn work(self) {
        let (mut line, mut left) = (None, None);
        loop {
            let taken = if let Some(taken) = left.take().or_else(|| self.queue.try_take()) {
                Some(taken)
            } else {
                // Given back while nothing waits, so that others may use it and it is closed in time.
                line = None;
                self.queue.take().await
            };
            let Some(taken) = taken else {
                return;
            };
            let sent = AssertUnwindSafe(self.send(line.take(), taken)).catch_unwind();
            if let Ok(after) = sent.await {
                (line, left) = after;
            } else {
                // What was in hand stays claimed by a life that is over, and is taken back as that of a dead worker.
                self.sending.worker.begin_anew().await;
            }
        }
    }

    /// Sends what was taken, and what can go along with it.
    async fn send<'q>(
        &'q self,
        line: Option<Line>,
        taken: Taken<'q>,
    ) -> (Option<Line>, Option<Taken<'q>>) {
        let opened = match line.filter(Line::is_usable) {
            Some(line) => Some(line),
            None => self.open().await,
        };
        let Some(mut line) = opened else {
            self.give_back(&taken).await;
            return (None, None);
        };
        if !self.may_begin() {
            self.give_back(&taken).await;
            return (Some(line), None);
        }
        let next = || self.may_begin().then(|| self.queue.try_take()).flatten();
        let left = self.sending.send(&mut line, taken, next).await;
        (line.is_usable().then_some(line), left)
    }

    /// Whether another envelope may be written: what cannot be recorded is not started.
    fn may_begin(&self) -> bool {
        let Sending { worker, ledger, .. } = &self.sending;
        worker.is_alive() && ledger.is_healthy() && !self.queue.is_closed()
    }

    async fn give_back(&self, taken: &Taken<'_>) {
        let ready: &Ready = taken.borrow();
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
                    let error = mask_emails(&failure.to_string());
                    tracing::warn!(relay, error, "Relay {relay} cannot be used now");
                    return None;
                }
            }
        }
    }
}
