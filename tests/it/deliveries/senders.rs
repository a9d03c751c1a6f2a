//! Workers and senders of the newsletter, to a scripted relay.

use std::sync::Arc;
use std::time::Duration;

use paperround::config::{InDoubt, RelayTls};
use paperround::deliveries::worker::Worker;
use paperround::deliveries::{LeaseClock, Leases};
use paperround::smtp::channel::Channel;
use paperround::smtp::connection::Connector;
use paperround::smtp::deadlines::Deadlines;
use paperround::smtp::relay::{Relay, Reuse};
use paperround::smtp::relay_config::{EhloName, RelayConfig};
use paperround::worker::sender::{Pace, Parts, Sender};

use super::Press;
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

    /// A sender to `server`, of a new worker.
    pub(crate) async fn sender(&self, server: &SmtpServer) -> Sender {
        self.sender_with(server, 4).await
    }

    pub(crate) async fn sender_with(&self, server: &SmtpServer, max_connections: usize) -> Sender {
        let drain = Duration::from_secs(5);
        self.sender_of(server, max_connections, drain).await
    }

    /// A sender that waits only so long for what is on the wire when it is stopped.
    pub(crate) async fn sender_draining(&self, server: &SmtpServer, drain: Duration) -> Sender {
        self.sender_of(server, 4, drain).await
    }

    async fn sender_of(
        &self,
        server: &SmtpServer,
        max_connections: usize,
        drain: Duration,
    ) -> Sender {
        let config = RelayConfig {
            name: "scripted".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            tls: RelayTls::None,
            login: None,
            max_connections,
            ehlo_name: EhloName::of_this_machine(),
            extra_roots: None,
        };
        let connector = Connector::new(config, Deadlines::all(Duration::from_secs(5))).unwrap();
        let relay = Relay::new(
            connector,
            Reuse::default(),
            self.time.clone(),
            self.entropy.clone(),
        );
        Sender::new(Parts {
            db: self.db.clone(),
            clock: self.time.clone(),
            entropy: self.entropy.clone(),
            worker: self.worker().await,
            channel: Channel::Smtp(relay),
            mailroom: self.desk.clone(),
            leases: leases(),
            pace: Pace {
                poll: Duration::from_millis(5),
                sweep: Duration::from_millis(50),
                drain,
                ..Pace::default()
            },
            queued: Arc::default(),
        })
    }
}

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
