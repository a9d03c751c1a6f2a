//! Workers and senders of the newsletter, to a scripted relay.

use std::sync::Arc;
use std::time::Duration;

use paperround::clock::Clock;
use paperround::config::{InDoubt, RelayTls};
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::worker::Worker;
use paperround::deliveries::{LeaseClock, Leases};
use paperround::smtp::allowance::Allowance;
use paperround::smtp::channel::Channel;
use paperround::smtp::connection::Connector;
use paperround::smtp::deadlines::Deadlines;
use paperround::smtp::relay::{Relay, Reuse};
use paperround::smtp::relay_config::{EhloName, RelayConfig};
use paperround::smtp::route::{Route, Stop};
use paperround::worker::sender::{Pace, Parts, Sender};
use paperround::worker::signing::SigningMailroom;

use super::{Edition, Press};
use crate::support::smtp_server::SmtpServer;

impl Press {
    /// The process dies and another one starts: a new worker on the same data.
    pub(crate) async fn worker(&self) -> Worker {
        Worker::start_alone(
            self.db.clone(),
            self.time.clone(),
            self.ids.clone(),
            leases(),
        )
        .await
        .unwrap()
    }

    /// A worker among others.
    pub(crate) async fn worker_beside_others(&self) -> Worker {
        Worker::start(
            self.db.clone(),
            self.time.clone(),
            self.ids.clone(),
            leases(),
        )
        .await
        .unwrap()
    }

    /// The issue's next mail, claimed by a new worker.
    pub(crate) async fn claim_one(&self, edition: &Edition) -> Ready {
        let terms = Terms {
            owner: self.worker().await.id(),
            now: self.now(),
            limit: 10,
            suspects: false,
        };
        let claimed = claim::digests(&self.db, edition.issue, terms).await;
        claimed.unwrap().remove(0)
    }

    /// A sender to `server`, of a new worker.
    pub(crate) async fn sender(&self, server: &SmtpServer) -> Sender {
        self.sender_with(server, 4).await
    }

    pub(crate) async fn sender_with(&self, server: &SmtpServer, max_connections: usize) -> Sender {
        self.sender_to(To {
            max_connections,
            ..To::port(server.port())
        })
        .await
    }

    /// A sender that waits only so long for what is on the wire when it is stopped.
    pub(crate) async fn sender_draining(&self, server: &SmtpServer, drain: Duration) -> Sender {
        self.sender_to(To {
            drain,
            ..To::port(server.port())
        })
        .await
    }

    /// A sender of a new worker, to whatever listens there.
    pub(crate) async fn sender_to(&self, to: To) -> Sender {
        let clock = self.time.clone();
        let (drain, sweep) = (to.drain, to.sweep);
        let relay = self.relay("scripted", to, clock.clone());
        let mut parts = self.parts(Route::to(relay, clock.clone()), self.worker().await, clock);
        parts.pace.drain = drain;
        parts.pace.sweep = sweep;
        Sender::new(parts)
    }

    /// A sender of `worker`, which shows life that often.
    pub(crate) fn sender_beating(
        &self,
        server: &SmtpServer,
        worker: Worker,
        heartbeat: Duration,
    ) -> Sender {
        let clock = self.time.clone();
        let relay = self.relay("scripted", To::port(server.port()), clock.clone());
        let mut parts = self.parts(Route::to(relay, clock.clone()), worker, clock);
        parts.pace.heartbeat = heartbeat;
        Sender::new(parts)
    }

    /// A sender of mails from another mailroom, over one connection.
    pub(crate) async fn sender_signed(
        &self,
        server: &SmtpServer,
        mailroom: Arc<SigningMailroom>,
    ) -> Sender {
        let clock = self.time.clone();
        let to = To {
            max_connections: 1,
            ..To::port(server.port())
        };
        let relay = self.relay("scripted", to, clock.clone());
        let mut parts = self.parts(Route::to(relay, clock.clone()), self.worker().await, clock);
        parts.mailroom = mailroom;
        Sender::new(parts)
    }

    /// A sender over several relays, in this order, of a new worker.
    pub(crate) async fn sender_along(&self, relays: &[Way<'_>]) -> Sender {
        let route = self.route(relays, self.time.clone());
        self.sender_over(route, self.worker().await, self.time.clone())
    }

    /// A sender over these relays, in this order, with one connection at a time: its mails go one after another.
    pub(crate) async fn sender_in_line(&self, relays: &[(&str, &SmtpServer)]) -> Sender {
        let clock = self.time.clone();
        let stops = relays.iter().map(|(name, server)| {
            let to = To {
                max_connections: 1,
                ..To::port(server.port())
            };
            Stop {
                relay: self.relay(name, to, clock.clone()),
                allowance: None,
            }
        });
        let route = Route::new(stops.collect(), clock.clone());
        self.sender_over(route, self.worker().await, clock)
    }

    pub(crate) fn route(&self, relays: &[Way<'_>], clock: Arc<dyn Clock>) -> Arc<Route> {
        let stops = relays.iter().map(|(name, server, allowance)| Stop {
            relay: self.relay(name, To::port(server.port()), clock.clone()),
            allowance: *allowance,
        });
        let stops = stops.collect();
        Route::new(stops, clock)
    }

    pub(crate) fn sender_over(
        &self,
        route: Arc<Route>,
        worker: Worker,
        clock: Arc<dyn Clock>,
    ) -> Sender {
        Sender::new(self.parts(route, worker, clock))
    }

    fn relay(&self, name: &str, to: To, clock: Arc<dyn Clock>) -> Arc<Relay> {
        let config = RelayConfig {
            name: name.to_owned(),
            host: to.host.to_owned(),
            port: to.port,
            tls: RelayTls::None,
            login: None,
            max_connections: to.max_connections,
            ehlo_name: EhloName::of_this_machine(),
            extra_roots: None,
        };
        let connector = Connector::new(config, to.deadlines).unwrap();
        Relay::new(connector, Reuse::default(), clock, self.entropy.clone())
    }

    fn parts(&self, route: Arc<Route>, worker: Worker, clock: Arc<dyn Clock>) -> Parts {
        Parts {
            db: self.db.clone(),
            clock,
            entropy: self.entropy.clone(),
            worker,
            channel: Channel::Smtp(route),
            mailroom: self.desk.clone(),
            leases: leases(),
            pace: Pace {
                poll: Duration::from_millis(5),
                sweep: Duration::from_millis(50),
                drain: Duration::from_secs(5),
                ..Pace::default()
            },
            queued: Arc::default(),
        }
    }
}

/// Where a sender sends, and with how much patience.
pub(crate) struct To {
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    pub(crate) max_connections: usize,
    pub(crate) deadlines: Deadlines,
    pub(crate) drain: Duration,
    pub(crate) sweep: Duration,
}

impl To {
    /// A port of this machine.
    pub(crate) fn port(port: u16) -> Self {
        Self {
            host: "127.0.0.1",
            port,
            max_connections: 4,
            deadlines: Deadlines::all(Duration::from_secs(5)),
            drain: Duration::from_secs(5),
            sweep: Duration::from_millis(50),
        }
    }
}
/// A relay: its name, where it is, how fast it may be used.
pub(crate) type Way<'a> = (&'a str, &'a SmtpServer, Option<Allowance>);

pub(crate) fn leases() -> Leases {
    Leases {
        worker: Duration::from_mins(1),
        transmission: Duration::from_mins(15),
        grace: Duration::from_mins(15),
        notice_grace: Duration::from_mins(1),
        margin: Duration::from_secs(5),
        in_doubt: InDoubt::Resend,
        clock: LeaseClock::Own,
    }
}
