//! `paperround restore`: put a backup in place; nothing is sent until `paperround resume`.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::Context;
use super::exit::{Code, Refused};
use crate::app::{App, World};
use crate::backup::{self, BackupError};
use crate::config::{LogConfig, LogFormat};
use crate::instance::{self, Restored};
use crate::subscribers::replay;
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `paperround backup` wrote
    file: PathBuf,
    /// Restore without asking for the instance's address
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let config = context.config()?;
    telemetry::start(&LogConfig {
        level: "error".to_owned(),
        format: LogFormat::Text,
    })?;
    let manifest = backup::inspect(&args.file)?;
    let base_url = config.server.base_url.as_str().to_owned();
    context.terminal.say(&format!(
        "A backup of {} ({}) of {}, by paperround {}.",
        manifest.base_url, manifest.engine, manifest.created_at, manifest.version
    ));
    context.terminal.confirm_by_typing(
        &format!("Put it in the place of the data of {base_url}?"),
        &base_url,
        args.yes,
    )?;
    let world = World::system();
    let restored =
        backup::restore(&config, &world, &args.file)
            .await
            .map_err(|error| match error {
                BackupError::Lock(error) => Refused(error.to_string()).into(),
                error => anyhow::Error::from(error),
            })?;
    let app = Arc::new(App::open(config, world).await?);
    // the same as at a start, so that what they find can be looked at before anything is started
    instance::begin(&app).await?;
    replay::at_start(&app).await?;
    context.terminal.say(&format!(
        "Restored. What was there before stands in {}.",
        restored.aside.display()
    ));
    if let Some(overview) = instance::overview(&app).await? {
        if context.terminal.json {
            context.terminal.json(&overview)?;
        }
        context.terminal.say(&words(&overview));
    }
    context
        .terminal
        .say("All sending is paused. Start the service, look, then: paperround resume");
    app.db.close().await;
    Ok(Code::Done)
}

/// What an operator is told before a restored instance sends.
pub(super) fn words(overview: &Restored) -> String {
    format!(
        "Sending is paused because {}.\n  \
         {} mails of released issues wait in this copy: those that were sent since it was made would be sent again \
         (paperround issue cancel, or issue show, per issue)\n  \
         {} unsubscribes that it had forgotten were replayed from the journal\n  \
         {} slots were missed or came due: their issues may have been sent before",
        overview.reason, overview.may_repeat, overview.replayed, overview.slots
    )
}
