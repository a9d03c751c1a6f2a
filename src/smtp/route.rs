//! Several relays in an order: the next is used while all before it have been unusable for a while.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::allowance::Allowance;
use super::health::Health;
use super::relay::{Lease, Relay, Unavailable};
use crate::clock::{Clock, Timestamp};

/// How long a relay is waited for before the next one takes its place.
pub const FAILOVER_AFTER: Duration = Duration::from_secs(30);

/// Lines in all, whatever the relays allow: beyond it a number is a slip.
const MOST_LINES: usize = 1000;

/// A relay and how fast it may be used.
#[derive(Clone)]
pub struct Stop {
    /// The relay.
    pub relay: Arc<Relay>,
    /// Its allowance; `None`: as fast as it goes.
    pub allowance: Option<Allowance>,
}

/// The relays, in their order.
pub struct Route {
    stops: Vec<Stop>,
    clock: Arc<dyn Clock>,
    /// Relays that refused a sender, by position and sender.
    refused: Mutex<HashSet<(usize, String)>>,
}

/// What a message asks of its way.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who sends: relays may refuse some senders and take others.
    pub sender: &'a str,
    /// The relay that may have had the message already, if one has.
    pub relay: Option<&'a str>,
}

/// How a relay stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub relay: String,
    /// Whether it may be used.
    pub health: Health,
}

impl Route {
    /// At least one relay, the first choice in front.
    pub fn new(stops: Vec<Stop>, clock: Arc<dyn Clock>) -> Arc<Self> {
        assert!(!stops.is_empty(), "a route has a relay");
        Arc::new(Self {
            stops,
            clock,
            refused: Mutex::default(),
        })
    }

    /// One relay, as fast as it goes.
    pub fn to(relay: Arc<Relay>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let stop = Stop {
            relay,
            allowance: None,
        };
        Self::new(vec![stop], clock)
    }

    /// The relays.
    pub fn stops(&self) -> &[Stop] {
        &self.stops
    }

    /// Lines that are of use at one time: relays are used one after another.
    pub fn max_lines(&self) -> usize {
        let most = self.stops.iter().map(|stop| stop.relay.max_connections());
        most.max().unwrap_or(1).min(MOST_LINES)
    }

    /// How each relay stands, in order.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |stop: &Stop| Standing {
            relay: stop.relay.name().to_string(),
            health: stop.relay.health(),
        };
        self.stops.iter().map(standing).collect()
    }

    /// Whether something can be sent: over any relay whose turn it is. Else from when on one may be tried.
    pub fn health(&self) -> Health {
        self.health_of(|_| true)
    }

    /// The same for one sender: over the relays that have not refused it.
    pub fn health_for(&self, sender: &str) -> Health {
        let refused = self.lock();
        self.health_of(|at| !refused.contains(&(at, sender.to_owned())))
    }

    /// Over the relays at some positions; at least one.
    fn health_of(&self, counts: impl Fn(usize) -> bool) -> Health {
        let now = self.clock.now();
        let mut turn = Timestamp::UNIX_EPOCH;
        let mut earliest: Option<Timestamp> = None;
        let mut first = None;
        for (_, stop) in self.stops.iter().enumerate().filter(|(at, _)| counts(*at)) {
            let health = stop.relay.health();
            let usable = health.usable_from().unwrap_or(turn).max(turn);
            if health == Health::Ok && turn <= now {
                return Health::Ok;
            }
            earliest = Some(earliest.map_or(usable, |earlier| earlier.min(usable)));
            let since = stop.relay.unusable_since().unwrap_or(now);
            turn = turn.max(since + FAILOVER_AFTER);
            first.get_or_insert(health);
        }
        match (first, earliest) {
            (Some(Health::Halted { reason, .. }), Some(until)) => Health::Halted { until, reason },
            (Some(Health::BackingOff { reason, .. }), Some(until)) => {
                Health::BackingOff { until, reason }
            }
            (Some(Health::Ok) | None, _) | (_, None) => Health::Ok,
        }
    }

    /// A connection to the relay whose turn it is.
    pub async fn open(&self, wish: &Wish<'_>) -> Result<Lease, Unavailable> {
        let mut why = None;
        for at in self.choices(wish) {
            let relay = &self.stops[at].relay;
            match relay.open().await {
                Ok(lease) => return Ok(lease),
                // a relay that is being probed by another line lets the next one have its turn
                Err(Unavailable::Busy) if relay.health() != Health::Ok => {
                    why.get_or_insert(Unavailable::Busy);
                }
                Err(resting @ Unavailable::Resting { .. }) => {
                    why.get_or_insert(resting);
                }
                Err(other) => return Err(other),
            }
        }
        Err(why.unwrap_or(Unavailable::Busy))
    }

    /// Whether a message with this wish goes over this relay, rather than over another.
    pub fn keeps(&self, relay: &str, wish: &Wish<'_>) -> bool {
        let first = self.choices(wish).into_iter().find(|at| {
            // one that is due for a probe is no reason to leave a relay that works
            self.stops[*at].relay.health() == Health::Ok
        });
        first.is_some_and(|at| &**self.stops[at].relay.name() == relay)
    }

    /// The relay refuses this sender. Whether another one is left: if none is, all are asked again the next time.
    pub fn refuses(&self, relay: &str, sender: &str) -> bool {
        let Some(at) = self.position(relay) else {
            return false;
        };
        let mut refused = self.lock();
        refused.insert((at, sender.to_owned()));
        let is_out = |at| refused.contains(&(at, sender.to_owned()));
        if !(0..self.stops.len()).all(is_out) {
            return true;
        }
        refused.retain(|(_, out)| out != sender);
        false
    }

    /// Positions of the relays whose turn it is, the best first.
    fn choices(&self, wish: &Wish<'_>) -> Vec<usize> {
        let now = self.clock.now();
        let refused = self.lock();
        let is_out = |at| refused.contains(&(at, wish.sender.to_owned()));
        let mut choices = Vec::with_capacity(self.stops.len());
        let preferred = wish.relay.and_then(|relay| self.position(relay));
        choices.extend(
            preferred.filter(|at| self.stops[*at].relay.health() == Health::Ok && !is_out(*at)),
        );
        for (at, stop) in self.stops.iter().enumerate() {
            if is_out(at) {
                continue;
            }
            if !choices.contains(&at) {
                choices.push(at);
            }
            match stop.relay.unusable_since() {
                Some(since) if now.since(since) >= FAILOVER_AFTER => {}
                Some(_) | None => break,
            }
        }
        choices
    }

    fn position(&self, relay: &str) -> Option<usize> {
        self.stops
            .iter()
            .position(|stop| &**stop.relay.name() == relay)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(usize, String)>> {
        self.refused
            .lock()
            .expect("no holder of this lock can panic")
    }
}
