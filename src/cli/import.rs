//! `paperround import`: confirmed readers from a file.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use super::exit::{Code, UsageError};
use crate::app::App;
use crate::newsletters::store;
use crate::subscribers::email_address::AddressRules;
use crate::subscribers::import::{self, BATCH, Imported};
use crate::subscribers::import_file::{self, Reject};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A CSV file with a column `email`, perhaps `topic` and `cadence`; `-` is standard input
    file: PathBuf,
    /// To which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
    /// Where rows go that cannot be imported, with line and reason
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Say what would happen; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(serde::Serialize)]
struct Report {
    #[serde(flatten)]
    imported: Imported,
    duplicates: usize,
    rejected: usize,
    dry_run: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let app = Arc::new(context.app().await?);
    let newsletter = context.newsletter(&app, args.newsletter.as_deref()).await?;
    let topics = store::topics(&app.db, newsletter.id)
        .await
        .context("cannot read the topics")?;
    let topics = topics.into_iter().map(|topic| topic.slug).collect();
    let file = import_file::read(&bytes(args)?, &topics, rules(&app))
        .map_err(|error| UsageError(format!("{}: {error}", args.file.display())))?;
    if !file.ignored.is_empty() {
        context.terminal.say(&format!(
            "Columns that are not used: {}.",
            file.ignored.join(", ")
        ));
    }
    let bar = progress(file.rows.len(), context);
    let mut imported = Imported::default();
    for rows in file.rows.chunks(BATCH) {
        let rows = rows.to_vec();
        let count = rows.len();
        let done = if args.dry_run {
            import::dry_run(&app, newsletter.id, rows).await
        } else {
            import::import(&app, newsletter.id, rows, &args.file.display().to_string()).await
        };
        let done = done.with_context(|| {
            format!(
                "stopped after {} readers; run it again, nobody is added twice",
                imported.added
            )
        })?;
        imported.added += done.added;
        imported.already += done.already;
        imported.ended += done.ended;
        imported.suppressed += done.suppressed;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    if let Some(path) = &args.rejects {
        write_rejects(path, &file.rejects)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = Report {
        imported,
        duplicates: file.duplicates,
        rejected: file.rejects.len(),
        dry_run: args.dry_run,
    };
    say(context, newsletter.slug.as_str(), &report, &file.rejects)?;
    Ok(if file.rejects.is_empty() {
        Code::Done
    } else {
        Code::Rejects
    })
}

fn say(context: &Context, slug: &str, report: &Report, rejects: &[Reject]) -> anyhow::Result<()> {
    if context.terminal.json {
        context.terminal.json(report)?;
    }
    let done = if report.dry_run { "Would add" } else { "Added" };
    let Imported {
        added,
        already,
        ended,
        suppressed,
    } = report.imported;
    context.terminal.say(&format!(
        "{done} {added} readers to {slug}. There already: {already}. Kept out: {ended} who left, bounced or \
         complained, {suppressed} suppressed. Twice in the file: {}. Rejected: {}.",
        report.duplicates, report.rejected
    ));
    for reject in rejects.iter().take(5) {
        context.terminal.say(&format!(
            "  line {}: {}: {}",
            reject.line, reject.cell, reject.reason
        ));
    }
    if rejects.len() > 5 {
        context
            .terminal
            .say("  ... `--rejects FILE` writes them all.");
    }
    Ok(())
}

fn bytes(args: &Args) -> anyhow::Result<Vec<u8>> {
    if args.file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(&args.file)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", args.file.display())).into())
}

fn rules(app: &App) -> AddressRules {
    AddressRules {
        allow_special_use: app.config.signup.allow_special_use,
        smtputf8: app.config.smtp.smtputf8,
        allow_roles: false,
    }
}

fn progress(rows: usize, context: &Context) -> ProgressBar {
    if context.terminal.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} readers, {eta} left");
    ProgressBar::new(rows as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn write_rejects(path: &std::path::Path, rejects: &[Reject]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["line", "cell", "reason"])?;
    for reject in rejects {
        writer.write_record([&reject.line.to_string(), &reject.cell, &reject.reason])?;
    }
    writer.flush()?;
    Ok(())
}
