//! Our own client without any state: the bound that the sender cannot pass on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use paperround::config::RelayTls;
use paperround::smtp::connection::{Connector, Pipelining};
use paperround::smtp::deadlines::Deadlines;
use paperround::smtp::envelope::Envelope;
use paperround::smtp::outcome::Outcome;
use paperround::smtp::relay_config::{EhloName, RelayConfig};
use paperround::smtp::wire::Wire;
use tokio::task::JoinSet;

use super::options::ClientArgs;
use super::process::Process;

/// Starts it as a process of its own.
pub(crate) fn spawn(client: &ClientArgs) -> anyhow::Result<Process> {
    let mut command = Process::command(std::env::current_exe()?);
    command
        .arg("client")
        .args(["--port", &client.port.to_string()])
        .args(["--connections", &client.connections.to_string()])
        .args(["--messages", &client.messages.to_string()])
        .arg("--message")
        .arg(&client.message);
    if client.sequential {
        command.arg("--sequential");
    }
    Process::spawn("the client without a database", command)
}

/// What that process does.
pub(crate) async fn run(client: &ClientArgs) -> anyhow::Result<()> {
    let wire = Wire::parse(stuffed(&std::fs::read(&client.message)?))?;
    let config = RelayConfig {
        name: "bench".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: client.port,
        tls: RelayTls::None,
        login: None,
        max_connections: client.connections,
        ehlo_name: EhloName::of_this_machine(),
        extra_roots: None,
    };
    let connector = Arc::new(Connector::new(config, Deadlines::default())?);
    let pipelining = if client.sequential {
        Pipelining::Off
    } else {
        Pipelining::Full
    };
    let next = Arc::new(AtomicU64::new(0));
    let mut lines = JoinSet::new();
    for _ in 0..client.connections {
        let (connector, next, wire) = (connector.clone(), next.clone(), wire.clone());
        lines.spawn(line(connector, pipelining, next, client.messages, wire));
    }
    while let Some(ended) = lines.join_next().await {
        ended??;
    }
    Ok(())
}

/// One connection: the next message until there is none.
async fn line(
    connector: Arc<Connector>,
    pipelining: Pipelining,
    next: Arc<AtomicU64>,
    messages: u64,
    wire: Wire,
) -> anyhow::Result<()> {
    let mut connection = connector.open(pipelining).await?;
    let following = || -> anyhow::Result<Option<Envelope>> {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= messages {
            return Ok(None);
        }
        let sender = "news@world-review.org".parse()?;
        let recipient = format!("reader{n}@example.org").parse()?;
        Ok(Some(Envelope::new(sender, recipient, &wire)?))
    };
    let mut current = following()?;
    while let Some(envelope) = current {
        // as the sender does: along with the message before it where that may be
        let addressed = if connection.is_attached() {
            connection.addressed().await
        } else {
            connection.envelope(&envelope).await
        };
        addressed.context("the envelope was refused")?;
        current = following()?;
        let attached = current
            .as_ref()
            .filter(|envelope| connection.may_attach(envelope));
        match connection.transmit(&wire, attached).await {
            Outcome::Accepted(_) => {}
            Outcome::Failed(failure) => bail!("the message was refused: {failure}"),
        }
    }
    connection.quit().await;
    Ok(())
}

/// RFC 5321, section 4.5.2.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}
