//! `paperround relay`: where mails are handed to, and how that stands.

use clap::Subcommand;

use super::context::Context;
use super::exit::Code;
use super::table::Table;
use crate::app::App;
use crate::config::RelayConfig;
use crate::deliveries::relays::{self, RelayRow};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the relays in the order in which they are used, and what is wrong with them
    List,
}

pub(super) async fn run(command: &Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::List => list(&app, context).await?,
    }
    app.db.close().await;
    Ok(Code::Done)
}

async fn list(app: &App, context: &Context) -> anyhow::Result<()> {
    let configured = app.config.smtp.relays();
    let rows = standing(app).await?;
    if context.terminal.json {
        let shown: Vec<_> = configured
            .iter()
            .map(|relay| {
                let row = rows.iter().find(|row| row.name == relay.name);
                serde_json::json!({
                    "name": relay.name, "host": relay.host, "port": relay.port, "rate": relay.rate,
                    "burst": relay.burst, "max_connections": relay.max_connections,
                    "state": row.map(|row| row.state), "until": row.and_then(|row| row.until),
                    "reason": row.and_then(|row| row.reason.as_deref()),
                })
            })
            .collect();
        return context.terminal.json(&shown);
    }
    if configured.is_empty() {
        context
            .terminal
            .say("smtp.url is not set: mails are written to the outbox folder.");
    }
    let mut table = Table::new(&["relay", "address", "pace", "state", "reason"]);
    for relay in &configured {
        let row = rows.iter().find(|row| row.name == relay.name);
        table.row([
            relay.name.clone(),
            format!("{}:{}", relay.host, relay.port),
            pace(relay),
            row.map_or("not used yet".to_owned(), |row| row.state.to_string()),
            row.and_then(RelayRow::trouble).unwrap_or_default(),
        ]);
    }
    context.terminal.data(&table.text())
}

fn pace(relay: &RelayConfig) -> String {
    match relay.rate {
        Some(rate) => format!("{rate}/s, {} at once", relay.burst),
        None => "-".to_owned(),
    }
}

/// How the relays of the settings stand.
pub(super) async fn standing(app: &App) -> sqlx::Result<Vec<RelayRow>> {
    let relays = app.config.smtp.relays();
    let names: Vec<_> = relays.into_iter().map(|relay| relay.name).collect();
    relays::standing(&app.db, &names).await
}
