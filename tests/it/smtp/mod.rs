use std::sync::Arc;
use std::time::Duration;

use paperround::clock::{Clock, SystemClock, TestClock};
use paperround::config::RelayTls;
use paperround::id::SeededEntropy;
use paperround::smtp::connection::{Connection, Connector, Pipelining};
use paperround::smtp::deadlines::Deadlines;
use paperround::smtp::envelope::Envelope;
use paperround::smtp::outcome::{Failure, Outcome, Verdict};
use paperround::smtp::relay::{Relay, Reuse};
use paperround::smtp::relay_config::{EhloName, RelayConfig};
use paperround::smtp::wire::Wire;

use crate::support::smtp_server::SmtpServer;

/// Commands that go out together, and what a refusal among them leaves behind.
mod groups;
/// What is remembered of a relay and of a connection, and how long.
mod memory;
/// Faults within a message, at each verb, in the body and behind the dot.
mod message;
/// Faults in the opening: banner, TLS, log-in.
mod opening;
/// Connections that are parked, found again and tried, and what they say of their relay.
mod parking;
/// The pool: the cap, reuse, rest.
mod pool;
/// Several relays: which one a message goes to.
mod route;

/// Long enough for a busy machine, short enough for a test.
const LIMIT: Duration = Duration::from_millis(400);

fn config(server: &SmtpServer) -> RelayConfig {
    RelayConfig {
        name: "scripted".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        tls: RelayTls::None,
        login: None,
        max_connections: 20,
        ehlo_name: EhloName::of_this_machine(),
        extra_roots: None,
    }
}

fn connector(server: &SmtpServer) -> Connector {
    Connector::new(config(server), Deadlines::all(LIMIT)).unwrap()
}

async fn connect(server: &SmtpServer) -> Connection {
    connector(server).open(Pipelining::Full).await.unwrap()
}

fn relay_with(server: &SmtpServer, max_connections: usize, clock: Arc<TestClock>) -> Arc<Relay> {
    let config = RelayConfig {
        max_connections,
        ..config(server)
    };
    let connector = Connector::new(config, Deadlines::all(Duration::from_secs(20))).unwrap();
    relay_over(connector, clock)
}

fn relay_over(connector: Connector, clock: Arc<TestClock>) -> Arc<Relay> {
    let entropy = Arc::new(SeededEntropy::new(7));
    Relay::new(connector, Reuse::default(), clock, entropy)
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(SystemClock.now()))
}

/// A message of about `bytes` bytes with its own Message-ID.
fn wire(id: &str, bytes: usize) -> Wire {
    let line = "All the news that fits in a line of seventy-odd characters, no more.\r\n";
    let body = line.repeat(bytes / line.len() + 1);
    Wire::parse(format!(
        "Message-ID: <{id}@news.example>\r\nSubject: News\r\n\r\n..\r\n{body}"
    ))
    .unwrap()
}

fn envelope(recipient: &str, wire: &Wire) -> Envelope {
    Envelope::new(
        "b+1@news.example".parse().unwrap(),
        recipient.parse().unwrap(),
        wire,
    )
    .unwrap()
}

/// Hands over one message; the verdict of whatever ended it.
async fn send(connection: &mut Connection, id: &str) -> Verdict {
    end(connection, id, "ada@example.org", 100).await.0
}

async fn end(
    connection: &mut Connection,
    id: &str,
    recipient: &str,
    bytes: usize,
) -> (Verdict, Option<Failure>) {
    let wire = wire(id, bytes);
    if let Err(failure) = connection.envelope(&envelope(recipient, &wire)).await {
        return (failure.verdict(), Some(failure));
    }
    match connection.transmit(&wire, None).await {
        Outcome::Accepted(_) => (Verdict::Sent, None),
        Outcome::Failed(failure) => (failure.verdict(), Some(failure)),
    }
}

fn ids(server: &SmtpServer) -> Vec<String> {
    let accepted = server.accepted();
    accepted
        .iter()
        .map(|message| message.message_id.clone())
        .collect()
}
