//! `paperround migrate`: bring the database up to date.

use anyhow::Context as _;

use super::context::Context;
use super::exit::Code;
use super::table::Table;
use crate::db::Db;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print each step and whether the database has it; change nothing
    #[arg(long)]
    status: bool,
    /// Say which steps would be applied; change nothing
    #[arg(long, conflicts_with = "status")]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let config = context.config()?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make the folder {}", config.data_dir.display()))?;
    let db = Db::open(&config.database_target(), config.database.max_connections).await?;
    let steps = db.migration_status().await?;
    let missing: Vec<_> = steps.iter().filter(|step| !step.applied).collect();
    if args.status {
        if context.terminal.json {
            context.terminal.json(&steps)?;
        } else {
            let mut table = Table::new(&["step", "name", "applied"]);
            for step in &steps {
                let applied = if step.applied { "yes" } else { "no" };
                table.row([
                    format!("{:04}", step.version),
                    step.name.clone(),
                    applied.to_owned(),
                ]);
            }
            context.terminal.data(&table.text())?;
        }
    } else if missing.is_empty() {
        context.terminal.say("The database is up to date.");
    } else {
        let names: Vec<_> = missing
            .iter()
            .map(|step| format!("{:04} {}", step.version, step.name))
            .collect();
        if args.dry_run {
            context
                .terminal
                .say(&format!("Would apply: {}", names.join(", ")));
        } else {
            db.migrate().await?;
            context
                .terminal
                .say(&format!("Applied: {}", names.join(", ")));
        }
    }
    db.close().await;
    Ok(Code::Done)
}
