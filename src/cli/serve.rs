//! `paperround serve`: the service itself.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::context::Context;
use super::exit::Code;
use crate::app::{App, World};
use crate::service::{Roles, Service};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take one role only: several machines share the work on PostgreSQL
    #[arg(long, value_enum)]
    only: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Pages and API
    Web,
    /// Feeds, issues, mails
    Worker,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let config = context.config()?;
    telemetry::start(&config.log)?;
    let mut stop = Stop::listen()?;
    let app = Arc::new(App::open(config, World::system()).await?);
    let roles = match args.only {
        None => Roles::All,
        Some(Role::Web) => Roles::Web,
        Some(Role::Worker) => Roles::Worker,
    };
    let mut service = Service::start(app.clone(), roles).await?;
    if let Some(address) = service.address {
        context.terminal.say(&format!(
            "Serving on http://{address}, for {}",
            app.config.server.base_url.as_str()
        ));
    }
    let broken = tokio::select! {
        () = stop.asked() => false,
        () = service.broken() => true,
    };
    tracing::info!(
        "Stopping: what is on the wire is finished first; a second signal stops at once"
    );
    tokio::select! {
        ended = service.stop() => ended?,
        // what was on the wire is found in doubt at the next start
        () = stop.asked() => return Ok(Code::Interrupted),
    }
    app.db.close().await;
    Ok(if broken { Code::Failed } else { Code::Done })
}

/// SIGTERM and SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next signal that asks for the end.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
