//! A relay: a hard cap on open connections, their reuse, and rest when it fails.
//!
//! A connection is either lent, and then holds a permit, or parked. A new one is opened only by the holder of a permit
//! who found nothing parked, so lent and parked together never exceed the number of permits.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use super::health::Health;
pub use super::reuse::Reuse;

use super::connection::{Connector, Fence};
use super::envelope::Envelope;
use super::health::{Record, jitter};
use super::outcome::{Cause, Failure, Outcome, Phase, Verdict};
use super::reuse::Open;
use super::wire::Wire;
use crate::clock::{Clock, Timestamp};
use crate::id::Entropy;

/// How long fewer connections are used after the relay said that there are too many.
const FEWER_FOR: Duration = Duration::from_mins(1);

/// How many connections wait for their greeting at one time. A server's queue of those that it has not accepted yet may be as
/// short as five (OpenSMTPD), and what does not fit can be lost without a word: it looks open, and no greeting comes.
const OPENINGS: usize = 4;

/// One relay, shared by all that send.
pub struct Relay {
    name: Arc<str>,
    connector: Connector,
    reuse: Reuse,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    permits: Arc<Semaphore>,
    openings: Semaphore,
    shared: Mutex<Shared>,
}

struct Shared {
    record: Record,
    parked: Vec<Open>,
    probing: bool,
    /// The relay takes no more than so many connections, until then.
    fewer: Option<(usize, Timestamp)>,
}

/// Why no connection is to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The relay rests, or needs a person.
    #[error("{reason}; next try at {until}")]
    Resting {
        /// When it may be tried again.
        until: Timestamp,
        /// What happened.
        reason: String,
    },
    /// Others have all the connections there may be: ask again when one of them is given back.
    #[error("every connection that the relay allows is in use")]
    Busy,
    /// This attempt failed. The relay's health knows already.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Relay {
    /// A relay with no connection open.
    pub fn new(
        connector: Connector,
        reuse: Reuse,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connector.config().max_connections));
        let shared = Mutex::new(Shared {
            record: Record::new(),
            parked: Vec::new(),
            probing: false,
            fewer: None,
        });
        Arc::new(Self {
            name: connector.config().name.as_str().into(),
            connector,
            reuse,
            clock,
            entropy,
            permits,
            openings: Semaphore::new(OPENINGS),
            shared,
        })
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hard cap on open connections.
    pub fn max_connections(&self) -> usize {
        self.connector.config().max_connections
    }

    /// Since when it has not been usable; `None` while it is.
    pub fn unusable_since(&self) -> Option<Timestamp> {
        self.lock().record.unusable_since()
    }

    /// Opens connections to it.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether it may be used.
    pub fn health(&self) -> Health {
        self.lock().record.health.clone()
    }

    /// Connections lent or parked.
    pub fn open_connections(&self) -> usize {
        let parked = self.lock().parked.len();
        self.lent() + parked
    }

    /// Lends a connection: a parked one, else a new one. Waits for a permit, never for the relay's health.
    pub async fn open(self: &Arc<Self>) -> Result<Lease, Unavailable> {
        let probe = self.admit()?;
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .expect("the permits are never closed");
        // while it waited, others gave connections back, or met with a relay that fails
        let probe = self.admit_again(probe)?;
        if let Some(open) = self.parked().await {
            return Ok(self.lend(open, permit, probe));
        }
        let turn = self.openings.acquire().await;
        let probe = self.admit_again(probe)?;
        if let Some(open) = self.parked().await {
            return Ok(self.lend(open, permit, probe));
        }
        if self.is_full() {
            return Err(Unavailable::Busy);
        }
        let pipelining = self.lock().record.pipelining();
        let greeted = self.connector.connect(pipelining).await;
        drop(turn);
        let opened = match greeted {
            Ok(greeted) => self.connector.introduce(greeted).await,
            Err(failure) => Err(failure),
        };
        match opened {
            Ok(connection) => {
                let open = Open::new(connection);
                Ok(self.lend(open, permit, probe))
            }
            Err(failure) if self.means_fewer(&failure) => Err(Unavailable::Busy),
            Err(failure) => {
                self.learn(&failure);
                Err(Unavailable::Failed(failure))
            }
        }
    }

    /// Says goodbye on connections that have been parked for too long.
    pub async fn close_idle(&self) {
        self.close_parked(|open| open.used_at.elapsed() >= self.reuse.idle)
            .await;
    }

    /// Says goodbye on all parked connections.
    pub async fn close(&self) {
        self.close_parked(|_| true).await;
    }

    async fn close_parked(&self, is_due: impl Fn(&Open) -> bool) {
        // A goodbye takes time and is still an open connection, so it holds a permit. Without one, none is parked.
        while let Ok(_permit) = self.permits.try_acquire() {
            let open = {
                let mut shared = self.lock();
                let Some(at) = shared.parked.iter().position(&is_due) else {
                    return;
                };
                shared.parked.swap_remove(at)
            };
            open.connection.quit().await;
        }
    }

    /// Asks once more for whoever has waited; who holds the probe keeps it.
    fn admit_again(self: &Arc<Self>, probe: Option<Probe>) -> Result<Option<Probe>, Unavailable> {
        match probe {
            Some(probe) => Ok(Some(probe)),
            None => self.admit(),
        }
    }

    fn admit(self: &Arc<Self>) -> Result<Option<Probe>, Unavailable> {
        let now = self.clock.now();
        let mut shared = self.lock();
        match &shared.record.health {
            Health::Ok => Ok(None),
            Health::BackingOff { until, reason } | Health::Halted { until, reason }
                if *until > now =>
            {
                Err(Unavailable::Resting {
                    until: *until,
                    reason: reason.clone(),
                })
            }
            Health::BackingOff { .. } | Health::Halted { .. } if shared.probing => {
                Err(Unavailable::Busy)
            }
            Health::BackingOff { .. } | Health::Halted { .. } => {
                shared.probing = true;
                Ok(Some(Probe(self.clone())))
            }
        }
    }

    async fn still_good(&self, mut open: Open) -> Option<Open> {
        if open.used_at.elapsed() >= self.reuse.idle || !open.takes(1, &self.reuse) {
            open.connection.quit().await;
            return None;
        }
        open.connection.is_quiet().await.then_some(open)
    }

    fn lend(
        self: &Arc<Self>,
        open: Open,
        permit: OwnedSemaphorePermit,
        probe: Option<Probe>,
    ) -> Lease {
        Lease {
            open: Some(Box::new(open)),
            relay: self.clone(),
            probe,
            _permit: permit,
        }
    }

    /// A parked connection that may be used again.
    async fn parked(&self) -> Option<Open> {
        while let Some(open) = self.unpark() {
            if let Some(open) = self.still_good(open).await {
                return Some(open);
            }
        }
        None
    }

    fn unpark(&self) -> Option<Open> {
        self.lock().parked.pop()
    }

    fn lent(&self) -> usize {
        self.connector.config().max_connections - self.permits.available_permits()
    }

    /// Whether the relay said lately that it takes no more than are open now. The caller holds a permit itself.
    fn is_full(&self) -> bool {
        let others = self.lent().saturating_sub(1);
        let now = self.clock.now();
        let mut shared = self.lock();
        match shared.fewer {
            Some((limit, until)) if until > now => others + shared.parked.len() >= limit,
            Some(_) | None => {
                shared.fewer = None;
                false
            }
        }
    }

    /// "421 too many connections" while others are open is no failure: these are the limit for a while.
    fn means_fewer(&self, failure: &Failure) -> bool {
        let others = self.lent().saturating_sub(1) + self.lock().parked.len();
        let told = matches!(failure.phase, Phase::Greeting | Phase::Ehlo)
            && failure.reply().is_some_and(|reply| reply.code == 421);
        if !told || others == 0 {
            return false;
        }
        self.lock().fewer = Some((others, self.clock.now() + FEWER_FOR));
        true
    }

    fn transmitted(&self, outcome: &Outcome) {
        let now = self.clock.now();
        match outcome.verdict() {
            Verdict::InDoubt => self.lock().record.transmitted(now, true),
            Verdict::Sent | Verdict::Deferred | Verdict::Refused => {
                self.lock().record.transmitted(now, false);
            }
            Verdict::RelayBackOff(_)
            | Verdict::RelayHalted
            | Verdict::IssuePaused
            | Verdict::NotSent => {}
        }
    }

    /// Draws the conclusions for the relay; those for the message are the caller's.
    fn learn(&self, failure: &Failure) {
        let now = self.clock.now();
        let jitter = jitter(&*self.entropy);
        let reason = failure.to_string();
        let record = &mut self.lock().record;
        match failure.verdict() {
            Verdict::Sent | Verdict::Deferred | Verdict::Refused => record.works(now),
            Verdict::RelayBackOff(minimum) => record.rest(now, minimum, jitter, reason),
            Verdict::RelayHalted => record.halt(now, reason),
            Verdict::IssuePaused => {}
            Verdict::NotSent | Verdict::InDoubt => match failure.cause {
                // it was ours
                Cause::Fenced => {}
                Cause::Protocol(_) | Cause::Reply(_) => record.misbehaved(now, reason),
                Cause::Lost(_)
                | Cause::TimedOut
                | Cause::Unfit(_)
                | Cause::TooLarge { .. }
                | Cause::NeedsSmtpUtf8 => record.lost(now, jitter, reason),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared
            .lock()
            .expect("no holder of this lock can panic")
    }
}

/// Held by the one connection that tries a relay after its rest.
struct Probe(Arc<Relay>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.lock().probing = false;
    }
}

/// A lent connection. Dropped while ready it is parked, else it is closed.
pub struct Lease {
    /// `None` only in `drop`.
    open: Option<Box<Open>>,
    relay: Arc<Relay>,
    probe: Option<Probe>,
    /// Behind `open`: the connection is parked or closed before the permit is given back.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The relay's name.
    pub fn relay(&self) -> &Arc<str> {
        self.relay.name()
    }

    /// As [`Connection::envelope`](super::connection::Connection::envelope); the relay's health hears of a failure.
    pub async fn envelope(&mut self, envelope: &Envelope) -> Result<(), Failure> {
        let result = self.open().connection.envelope(envelope).await;
        self.learn_of_envelope(&result);
        result
    }

    /// As [`Connection::takes_groups`](super::connection::Connection::takes_groups), for a connection that may carry one more message than the one announced.
    pub fn takes_groups(&self) -> bool {
        let resting = self.relay.lock().record.health != Health::Ok;
        self.open.as_ref().is_some_and(|open| {
            !resting && open.takes(2, &self.relay.reuse) && open.connection.takes_groups()
        })
    }

    /// As [`Connection::may_attach`](super::connection::Connection::may_attach).
    pub fn may_attach(&self, envelope: &Envelope) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.connection.may_attach(envelope))
    }

    /// As [`Connection::set_fence`](super::connection::Connection::set_fence).
    pub fn set_fence(&mut self, fence: Fence) {
        self.open().connection.set_fence(fence);
    }

    /// As [`Connection::is_attached`](super::connection::Connection::is_attached).
    pub fn is_attached(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.connection.is_attached())
    }

    /// As [`Connection::addressed`](super::connection::Connection::addressed); the relay's health hears of a failure.
    pub async fn addressed(&mut self) -> Result<(), Failure> {
        let result = self.open().connection.addressed().await;
        self.learn_of_envelope(&result);
        result
    }

    /// As [`Connection::transmit`](super::connection::Connection::transmit); the relay's health hears of the outcome.
    pub async fn transmit(&mut self, wire: &Wire, attached: Option<&Envelope>) -> Outcome {
        let open = self.open();
        let outcome = open.connection.transmit(wire, attached).await;
        open.messages += 1;
        open.used_at = Instant::now();
        match &outcome {
            Outcome::Accepted(_) => {
                let now = self.relay.clock.now();
                self.relay.lock().record.works(now);
                self.probe = None;
            }
            Outcome::Failed(failure) => self.learn(failure),
        }
        self.relay.transmitted(&outcome);
        outcome
    }

    /// Whether another message may go over it: it is ready, young enough, and the relay is not resting.
    pub fn is_usable(&self) -> bool {
        let resting = self.relay.lock().record.health != Health::Ok;
        self.open.as_ref().is_some_and(|open| {
            open.connection.is_ready() && !resting && open.takes(1, &self.relay.reuse)
        })
    }

    fn learn_of_envelope(&mut self, result: &Result<(), Failure>) {
        let odd = self.open().connection.answered_data_after_refusal();
        if odd {
            self.relay.lock().record.answered_data_after_refusal();
        }
        let Err(failure) = result else {
            return;
        };
        let enough = self.relay.reuse.messages;
        let open = self.open();
        let is_used = match failure.phase {
            Phase::Mail => open.messages > 0,
            Phase::Rset => true,
            _ => false,
        };
        if is_used && failure.is_transient() {
            // Many relays take so many messages, or refuse so many recipients, over one connection and then say so here. It
            // is given no more; if the relay means itself, the next connection hears it at its first message.
            open.messages = enough;
            return;
        }
        self.learn(failure);
    }

    fn learn(&mut self, failure: &Failure) {
        self.relay.learn(failure);
        if self.relay.lock().record.health == Health::Ok {
            self.probe = None;
        }
    }

    fn open(&mut self) -> &mut Open {
        self.open.as_deref_mut().expect("only `drop` takes it")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && open.connection.is_ready()
        {
            self.relay.lock().parked.push(*open);
        }
    }
}
