//! Deliveries over one line, one after another: envelope, mark, transmit, settle.
//!
//! Where the relay takes commands in groups, the next envelope goes out with the message before it, so that a message
//! costs one round trip; and one commit settles the message before and marks the next.

use std::borrow::Borrow;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::claim::Ready;
use super::mailroom::{Mail, MailError, Mailroom};
use super::retry;
use super::settlement::{Circumstances, Settlement};
use super::worker::Worker;
use super::writer::{Ledger, MARK_DEADLINE, Marked};
use super::{Leases, State};
use crate::clock::{Clock, Deadline};
use crate::id::Entropy;
use crate::smtp::channel::{Channel, Line};
use crate::smtp::connection::Fence;
use crate::smtp::envelope::Envelope;
use crate::smtp::health::jitter;
use crate::smtp::outcome::{Cause, Failure, Outcome, Phase};
use crate::smtp::wire::Wire;
use crate::telemetry::mask_emails;

/// How long a settlement waits for the replies to the envelope that went out with its message, to share a commit with
/// the next mark.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long a message that is marked waits for the mail that goes along with it.
const ALONG: Duration = Duration::from_millis(50);

/// What sending needs besides a line.
#[derive(Clone)]
pub struct Sending {
    /// Marks and settles.
    pub ledger: Ledger,
    /// Makes mails.
    pub mailroom: Arc<dyn Mailroom>,
    /// For whom.
    pub worker: Worker,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub entropy: Arc<dyn Entropy>,
    /// How long things last.
    pub leases: Leases,
    /// The relays.
    pub channel: Channel,
    /// When it is cancelled, replies are awaited no longer: what is on the wire is in doubt.
    pub give_up: CancellationToken,
}

/// A claimed delivery with what goes on the wire.
struct Loaded<W> {
    work: W,
    envelope: Envelope,
    wire: Wire,
}

impl Sending {
    /// Sends `first` over `line`, then what `next` gives for as long as each can be announced along with the message
    /// before it, and writes down what became of each. Gives back the work that was taken and could not go along.
    ///
    /// A line whose 354 was not followed by a message is not usable afterwards, and is closed when it is dropped.
    pub async fn send<W: Borrow<Ready>>(
        &self,
        line: &mut Line,
        first: W,
        mut next: impl FnMut() -> Option<W>,
    ) -> Option<W> {
        let mut current = self.load(first).await?;
        if !self.address(line, &current).await {
            return None;
        }
        let mut settled = None;
        loop {
            let relay = line.name();
            // the next mail is made, and signed, while this one's mark is committed
            let mut making = pin!(self.following(line.takes_groups(), &mut next));
            let advance = self.advance(&relay, settled.take(), &current);
            let (fence, made) = both(advance, making.as_mut()).await;
            let following = match made {
                Some(Some(made)) if line.may_attach(&made.envelope) => made,
                made => {
                    // what is marked leaves alone, and does not wait for what takes longer
                    if let Some(fence) = fence {
                        self.transmit_alone(line, &current, fence).await;
                    }
                    let made = match made {
                        Some(made) => made,
                        None => making.await,
                    };
                    return made.map(|made| made.work);
                }
            };
            let Some(fence) = fence else {
                self.give_back(Some(&following)).await;
                return None;
            };
            let is_over = self.fence(&current, fence);
            if is_over() {
                self.give_back(Some(&current)).await;
                self.give_back(Some(&following)).await;
                return None;
            }
            line.set_fence(is_over);
            let settlement = self.transmit(line, &current, Some(&following)).await;
            if !line.is_attached() {
                self.ledger.settle(settlement).await;
                self.give_back(Some(&following)).await;
                return None;
            }
            match self.hear(line, settlement, &mut settled).await {
                Some(Ok(())) => current = following,
                Some(Err(failure)) => {
                    tokio::join!(
                        self.settle(settled.take()),
                        self.refuse(line, &following, &failure)
                    );
                    return None;
                }
                None => {
                    tokio::join!(
                        self.settle(settled.take()),
                        self.give_back(Some(&following))
                    );
                    return None;
                }
            }
        }
    }

    /// Makes the mail. What cannot be made waits or is held, and is not given.
    async fn load<W: Borrow<Ready>>(&self, work: W) -> Option<Loaded<W>> {
        let claimed = &work.borrow().claimed;
        if !self.worker.is_still(claimed.owner) {
            // claimed in an earlier life: its mark would be refused
            self.ledger.give_back(claimed, self.clock.now()).await;
            return None;
        }
        let made = match self.make(work.borrow()).await {
            Ok(mail) => Envelope::new(mail.sender, mail.recipient, &mail.wire)
                .map(|envelope| (envelope, mail.wire))
                .map_err(|error| MailError::Fail(error.to_string())),
            Err(error) => Err(error),
        };
        match made {
            Ok((envelope, wire)) => Some(Loaded {
                work,
                envelope,
                wire,
            }),
            Err(MailError::Retry(why)) => {
                tracing::warn!(delivery.id = %claimed.id, why, "Delivery {} waits: its mail cannot be made now", claimed.id);
                let not_before = self.clock.now() + retry::AFTER_LOSS;
                self.ledger.give_back(claimed, not_before).await;
                None
            }
            Err(MailError::Fail(why)) => {
                let id = claimed.id;
                tracing::error!(delivery.id = %id, why, "Delivery {id} is held: its mail cannot be made");
                let settlement = Settlement::unrenderable(claimed, &why, self.clock.now());
                self.ledger.refuse(settlement).await;
                None
            }
        }
    }

    /// A message whose making panics is for a person; the panic has been reported where it happened.
    async fn make(&self, ready: &Ready) -> Result<Mail, MailError> {
        let made = AssertUnwindSafe(self.mailroom.mail(&ready.claimed)).catch_unwind();
        made.await.unwrap_or_else(|_panic| {
            Err(MailError::Fail(
                "the program failed at this message".to_owned(),
            ))
        })
    }

    /// Whether the relay waits for the message.
    async fn address<W: Borrow<Ready>>(&self, line: &mut Line, loaded: &Loaded<W>) -> bool {
        let addressed = tokio::select! {
            addressed = line.envelope(&loaded.envelope) => addressed,
            () = self.give_up.cancelled() => {
                self.give_back(Some(loaded)).await;
                return false;
            }
        };
        if let Err(failure) = &addressed {
            self.refuse(line, loaded, failure).await;
        }
        addressed.is_ok()
    }

    /// The next mail, where the line takes another announcement along with a message.
    async fn following<W: Borrow<Ready>>(
        &self,
        takes_groups: bool,
        next: &mut impl FnMut() -> Option<W>,
    ) -> Option<Loaded<W>> {
        if !takes_groups {
            return None;
        }
        while let Some(work) = next() {
            if let Some(loaded) = self.load(work).await {
                return Some(loaded);
            }
        }
        None
    }

    /// Transmits what is marked, and settles it.
    async fn transmit_alone<W: Borrow<Ready>>(
        &self,
        line: &mut Line,
        current: &Loaded<W>,
        fence: Deadline,
    ) {
        let is_over = self.fence(current, fence);
        if is_over() {
            return self.give_back(Some(current)).await;
        }
        line.set_fence(is_over);
        let settlement = self.transmit(line, current, None).await;
        self.ledger.settle(settlement).await;
    }

    /// Whether a marked message may not be ended any more. A machine that slept may have outlived its lease, and somebody
    /// else may be sending this by now; and a worker that was taken for dead closes before the dot.
    fn fence<W: Borrow<Ready>>(&self, loaded: &Loaded<W>, lease: Deadline) -> Fence {
        let (clock, worker) = (self.clock.clone(), self.worker.clone());
        let owner = loaded.work.borrow().claimed.owner;
        Box::new(move || lease.is_over(&*clock) || !worker.is_still(owner))
    }

    /// Settles what went before and marks. The end of the lease, or `None`: the message may not be written.
    async fn advance<W: Borrow<Ready>>(
        &self,
        relay: &Arc<str>,
        settled: Option<Settlement>,
        loaded: &Loaded<W>,
    ) -> Option<Deadline> {
        let ready = loaded.work.borrow();
        let id = ready.claimed.id;
        let advanced = self.ledger.advance(settled, ready, relay);
        match timeout(MARK_DEADLINE, advanced).await {
            Ok(Ok(Marked::Yes { fence })) => return Some(fence),
            Ok(Ok(Marked::No)) => {
                tracing::debug!(delivery.id = %id, "Delivery {id} is not sent: it may not be any more");
                return None;
            }
            Ok(Err(error)) => {
                tracing::warn!(delivery.id = %id, error = %error, "Delivery {id} waits: its mark failed");
            }
            Err(_) => {
                tracing::warn!(delivery.id = %id, "Delivery {id} waits: its mark took too long");
            }
        }
        self.give_back(Some(loaded)).await;
        None
    }

    async fn transmit<W: Borrow<Ready>>(
        &self,
        line: &mut Line,
        current: &Loaded<W>,
        following: Option<&Loaded<W>>,
    ) -> Settlement {
        let attached = following.map(|loaded| &loaded.envelope);
        let heard = tokio::select! {
            outcome = line.transmit(&current.wire, attached) => Some(outcome),
            () = self.give_up.cancelled() => None,
        };
        let claimed = &current.work.borrow().claimed;
        let Some(outcome) = heard else {
            let failure = Failure::new(Phase::Dot, Cause::TimedOut);
            let settlement = Settlement::of_failure(claimed, &failure, self.circumstances());
            log(&settlement, &"the service stops before the relay's answer");
            return settlement.unheard();
        };
        let settlement = Settlement::of_outcome(claimed, &outcome, self.circumstances());
        match &outcome {
            Outcome::Accepted(reply) => log(&settlement, reply),
            Outcome::Failed(failure) => log(&settlement, failure),
        }
        settlement
    }

    /// Hears what became of the attached envelope; `None` when it is awaited no longer. The settlement of the message
    /// before is left in `settled` to share the next commit, unless the replies take their time.
    async fn hear(
        &self,
        line: &mut Line,
        settlement: Settlement,
        settled: &mut Option<Settlement>,
    ) -> Option<Result<(), Failure>> {
        let mut addressed = pin!(self.give_up.run_until_cancelled(line.addressed()));
        if let Ok(addressed) = timeout(TOGETHER, &mut addressed).await {
            *settled = Some(settlement);
            return addressed;
        }
        let ((), addressed) = tokio::join!(self.ledger.settle(settlement), addressed);
        addressed
    }

    async fn settle(&self, settlement: Option<Settlement>) {
        if let Some(settlement) = settlement {
            self.ledger.settle(settlement).await;
        }
    }

    async fn refuse<W: Borrow<Ready>>(&self, line: &Line, loaded: &Loaded<W>, failure: &Failure) {
        let claimed = &loaded.work.borrow().claimed;
        let (relay, sender) = (line.name(), claimed.newsletter_id.to_string());
        if failure.is_about_sender() && self.channel.refuses(&relay, &sender) {
            let why = mask_emails(&failure.to_string());
            tracing::error!(
                relay = &*relay,
                newsletter.id = sender,
                why,
                "Relay {relay} refuses newsletter {sender}; the next relay is used"
            );
            return self.give_back(Some(loaded)).await;
        }
        let settlement = Settlement::of_failure(claimed, failure, self.circumstances());
        log(&settlement, failure);
        self.ledger.refuse(settlement).await;
    }

    /// Certainly nothing of it was transmitted.
    async fn give_back<W: Borrow<Ready>>(&self, loaded: Option<&Loaded<W>>) {
        if let Some(loaded) = loaded {
            let claimed = &loaded.work.borrow().claimed;
            self.ledger.give_back(claimed, self.clock.now()).await;
        }
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            now: self.clock.now(),
            jitter: jitter(&*self.entropy),
            leases: &self.leases,
        }
    }
}

/// Waits for `mark`, and then no longer than [`ALONG`] for `mail`.
async fn both<A, B>(
    mark: impl Future<Output = A>,
    mail: Pin<&mut impl Future<Output = B>>,
) -> (A, Option<B>) {
    match select(pin!(mark), mail).await {
        Either::Left((marked, mail)) => (marked, timeout(ALONG, mail).await.ok()),
        Either::Right((mail, mark)) => (mark.await, Some(mail)),
    }
}

fn log(settlement: &Settlement, what: &impl Display) {
    let (id, state) = (settlement.id, settlement.state);
    let what = || mask_emails(&what.to_string());
    if state == State::InDoubt {
        tracing::warn!(delivery.id = %id, what = what(), "Delivery {id} is in doubt");
    } else {
        tracing::debug!(delivery.id = %id, state = %state, what = what(), "Delivery {id} is {state}");
    }
}
