//! `paperround serve`: the service.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::exit::Code;
use crate::app::{App, World};
use crate::service::{Roles, Service};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this role: `web` or `worker`. Both need the same PostgreSQL and the same secrets file.
    #[arg(long, value_name = "ROLE", value_enum)]
    only: Option<Role>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    /// Pages and API
    Web,
    /// Feeds, issues, mails
    Worker,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let config = context.config()?;
    telemetry::start(&config.log)?;
    let roles = match args.only {
        None => Roles::All,
        Some(Role::Web) => Roles::Web,
        Some(Role::Worker) => Roles::Worker,
    };
    let base_url = config.server.base_url.as_str().to_owned();
    let app = Arc::new(App::open(config, World::system()).await?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut service = Service::start(app.clone(), roles).await?;
    if let Some(address) = service.address {
        tracing::info!(bind = %address, base_url, "Ready on http://{address} as {base_url}");
    }
    let mut broken = false;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = service.broken() => broken = true,
    }
    tracing::info!(
        "Stopping: what is on the wire comes to its end; a second signal closes at once"
    );
    tokio::select! {
        stopped = service.stop() => stopped?,
        // open transmissions are found by the next start, and are in doubt
        _ = terminate.recv() => return Ok(Code::Failed),
        _ = interrupt.recv() => return Ok(Code::Failed),
    }
    app.db.close().await;
    Ok(if broken { Code::Failed } else { Code::Done })
}
