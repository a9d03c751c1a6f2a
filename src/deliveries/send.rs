//! One delivery over one line: envelope, mark, transmit, settle.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::claim::Ready;
use super::mailroom::{MailError, Mailroom};
use super::retry;
use super::settlement::{Circumstances, Settlement};
use super::writer::{Ledger, MARK_DEADLINE, Marked};
use super::{Leases, State};
use crate::clock::Clock;
use crate::id::Entropy;
use crate::smtp::channel::Line;
use crate::smtp::envelope::Envelope;
use crate::smtp::health::jitter;
use crate::smtp::outcome::{Cause, Failure, Outcome, Phase};

/// What sending needs besides a line.
#[derive(Clone)]
pub struct Sending {
    /// Marks and settles.
    pub ledger: Ledger,
    /// Makes mails.
    pub mailroom: Arc<dyn Mailroom>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub entropy: Arc<dyn Entropy>,
    /// How long things last.
    pub leases: Leases,
    /// The relay's name, for the rows.
    pub relay: String,
    /// When it is cancelled, replies are awaited no longer: what is on the wire is in doubt.
    pub give_up: CancellationToken,
}

impl Sending {
    /// Sends one claimed delivery over `line`, and writes down what became of it. A line whose 354 was not followed by
    /// a message is not usable afterwards, and is closed when it is dropped.
    pub async fn send(&self, line: &mut Line, ready: &Ready) {
        let claimed = &ready.claimed;
        let mail = match self.mailroom.mail(claimed).await {
            Ok(mail) => mail,
            Err(MailError::Retry(why)) => {
                tracing::warn!(delivery.id = %claimed.id, why, "Delivery {} waits: its mail cannot be made now", claimed.id);
                let not_before = self.clock.now() + retry::AFTER_LOSS;
                self.ledger.give_back(claimed, not_before).await;
                return;
            }
            Err(MailError::Fail(why)) => return self.hold(ready, &why).await,
        };
        let envelope = match Envelope::new(mail.sender, mail.recipient, &mail.wire) {
            Ok(envelope) => envelope,
            Err(error) => return self.hold(ready, &error.to_string()).await,
        };
        let addressed = tokio::select! {
            addressed = line.envelope(&envelope) => addressed,
            () = self.give_up.cancelled() => {
                self.ledger.give_back(claimed, self.clock.now()).await;
                return;
            }
        };
        if let Err(failure) = addressed {
            let settlement = Settlement::of_failure(claimed, &failure, self.circumstances());
            log(&settlement, &failure.to_string());
            self.ledger.refuse(settlement).await;
            return;
        }
        let until = match timeout(MARK_DEADLINE, self.ledger.mark(ready, &self.relay)).await {
            Ok(Ok(Marked::Yes { until })) => until,
            Ok(Ok(Marked::No)) => {
                tracing::debug!(delivery.id = %claimed.id, "Delivery {} is not sent: it may not be any more", claimed.id);
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(delivery.id = %claimed.id, error = %error, "Delivery {} waits: its mark failed", claimed.id);
                self.ledger.give_back(claimed, self.clock.now()).await;
                return;
            }
            Err(_) => {
                tracing::warn!(delivery.id = %claimed.id, "Delivery {} waits: its mark took too long", claimed.id);
                self.ledger.give_back(claimed, self.clock.now()).await;
                return;
            }
        };
        // A machine that slept may have outlived its lease, and somebody else may be sending this by now.
        if self.clock.now() + self.leases.margin > until {
            self.ledger.give_back(claimed, self.clock.now()).await;
            return;
        }
        let outcome = tokio::select! {
            outcome = line.transmit(&mail.wire) => outcome,
            () = self.give_up.cancelled() => Outcome::Failed(Failure::new(Phase::Dot, Cause::TimedOut)),
        };
        let settlement = Settlement::of_outcome(claimed, &outcome, self.circumstances());
        match &outcome {
            Outcome::Accepted(reply) => log(&settlement, &reply.to_string()),
            Outcome::Failed(failure) => log(&settlement, &failure.to_string()),
        }
        self.ledger.settle(settlement).await;
    }

    async fn hold(&self, ready: &Ready, why: &str) {
        let id = ready.claimed.id;
        tracing::error!(delivery.id = %id, why, "Delivery {id} is held: its mail cannot be made");
        let now = self.clock.now();
        self.ledger
            .refuse(Settlement::unrenderable(&ready.claimed, why, now))
            .await;
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            now: self.clock.now(),
            jitter: jitter(&*self.entropy),
            leases: &self.leases,
        }
    }
}

fn log(settlement: &Settlement, what: &str) {
    let (id, state) = (settlement.id, settlement.state);
    if state == State::InDoubt {
        tracing::warn!(delivery.id = %id, what, "Delivery {id} is in doubt");
    } else {
        tracing::debug!(delivery.id = %id, state = %state, what, "Delivery {id} is {state}");
    }
}
