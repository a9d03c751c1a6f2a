//! `paperround backup`: one file with everything that a restore needs.

use std::path::PathBuf;

use super::context::Context;
use super::exit::Code;
use crate::backup;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write, or a folder for a file named by the time; nothing is overwritten
    path: PathBuf,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let made = backup::make(&app, &args.path).await?;
    if context.terminal.json {
        context.terminal.json(&made.manifest)?;
    }
    let size: u64 = made.manifest.files.iter().map(|file| file.size).sum();
    context.terminal.say(&format!(
        "Wrote {} ({} KiB): database, keys and journal of {}. Whoever has this file can read every address and sign \
         every link: keep it as you keep the secrets.",
        made.path.display(),
        size.div_ceil(1024),
        made.manifest.base_url
    ));
    app.db.close().await;
    Ok(Code::Done)
}
