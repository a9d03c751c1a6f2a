//! A line's work: one delivery after another, over a connection that is kept while there is something to send.

use std::borrow::Borrow as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::pacer::Pacer;
use super::queue::{Queue, Taken};
use crate::deliveries::claim::Ready;
use crate::deliveries::send::Sending;
use crate::smtp::channel::{Channel, Line};
use crate::smtp::health::Health;
use crate::smtp::relay::Unavailable;
use crate::smtp::route::Wish;
use crate::telemetry::mask_emails;

/// How long a line waits where the relay allows no more connections.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// How long a row waits whose relay rests while others, which it may not use, are at work.
const RESTING_WAIT: Duration = Duration::from_secs(1);

/// One line's work.
pub(super) struct Seat {
    /// Where its work comes from.
    pub(super) queue: Arc<Queue>,
    /// Where it goes.
    pub(super) channel: Channel,
    /// How fast.
    pub(super) pacer: Arc<Pacer>,
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
        mut taken: Taken<'q>,
    ) -> (Option<Line>, Option<Taken<'q>>) {
        if self.is_stopped(taken.borrow(), taken.ticket()) {
            self.give_back(&taken, Duration::ZERO).await;
            return (line, None);
        }
        let mut line = match self.line_for(line, &mut taken).await {
            Ok(line) => line,
            Err(wait) => {
                self.give_back(&taken, wait).await;
                return (None, None);
            }
        };
        if !self.may_begin() || self.is_stopped(taken.borrow(), taken.ticket()) {
            self.give_back(&taken, Duration::ZERO).await;
            return (Some(line), None);
        }
        let relay = line.name();
        // each message of a relay whose pace is limited waits for a token of its own
        let is_limited = self.pacer.limits(&relay);
        let fits = |ready: &Ready, ticket| {
            !self.is_stopped(ready, ticket)
                && self.channel.keeps(&relay, &wish(ready, &sender(ready)))
        };
        let next = || {
            let may_follow = self.may_begin() && !is_limited;
            may_follow.then(|| self.queue.try_take_if(fits)).flatten()
        };
        let left = self.sending.send(&mut line, taken, next).await;
        (line.is_usable().then_some(line), left)
    }

    /// A line for what was taken, with a token where its relay's pace is limited; or how long it waits, where none is to be
    /// had.
    async fn line_for(&self, line: Option<Line>, taken: &mut Taken<'_>) -> Result<Line, Duration> {
        let mut line = line.filter(Line::is_usable);
        let mut paid_for: Option<Arc<str>> = None;
        loop {
            let ready: &Ready = (*taken).borrow();
            let sender = sender(ready);
            let wish = wish(ready, &sender);
            let kept = line
                .take()
                .filter(|line| self.channel.keeps(&line.name(), &wish));
            let found = match kept {
                Some(line) => line,
                None => self.open(&wish).await?,
            };
            let relay = found.name();
            if paid_for.as_ref() == Some(&relay) || self.pacer.try_take(&relay).await {
                return Ok(found);
            }
            // others may use the connection meanwhile, and it is looked at again before it is used
            drop(found);
            tokio::select! {
                () = self.pacer.take(&relay) => {}
                () = self.queue.until_closed() => return Err(Duration::ZERO),
            }
            paid_for = Some(relay);
            self.queue.notice_first(taken);
        }
    }

    /// Whether another envelope may be written: what cannot be recorded is not started.
    fn may_begin(&self) -> bool {
        let Sending { worker, ledger, .. } = &self.sending;
        worker.is_alive() && ledger.is_healthy() && !self.queue.is_closed()
    }

    /// Whether its issue was found paused after it was claimed.
    fn is_stopped(&self, ready: &Ready, ticket: u64) -> bool {
        let issue = ready.claimed.issue_id;
        issue.is_some_and(|issue| self.sending.ledger.is_stopped(issue, ticket))
    }

    async fn give_back(&self, taken: &Taken<'_>, wait: Duration) {
        let ready: &Ready = taken.borrow();
        let not_before = self.sending.clock.now() + wait;
        self.sending
            .ledger
            .give_back(&ready.claimed, not_before)
            .await;
    }

    /// Opens a line, or says how long the row waits where the relay is not to be had. Where others use all that it allows,
    /// it waits a little here, so that rows do not come and go at full speed.
    async fn open(&self, wish: &Wish<'_>) -> Result<Line, Duration> {
        let began = Instant::now();
        loop {
            match self.channel.open(wish).await {
                Ok(line) => return Ok(line),
                Err(Unavailable::Busy) if began.elapsed() < BUSY_WAIT * 10 => {
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Err(Unavailable::Resting { .. }) if self.channel.health() == Health::Ok => {
                    return Err(RESTING_WAIT);
                }
                // while all of them rest nothing is claimed
                Err(Unavailable::Busy | Unavailable::Resting { .. }) => return Err(Duration::ZERO),
                Err(Unavailable::Failed(failure)) => {
                    let error = mask_emails(&failure.to_string());
                    tracing::warn!(error, "A relay cannot be used now");
                    return Err(Duration::ZERO);
                }
            }
        }
    }
}

/// What a delivery asks of its way.
fn wish<'a>(ready: &'a Ready, sender: &'a str) -> Wish<'a> {
    Wish {
        sender,
        relay: ready.claimed.relay_in_doubt(),
    }
}

/// Relays that refuse one newsletter may take another.
fn sender(ready: &Ready) -> String {
    ready.claimed.newsletter_id.to_string()
}
