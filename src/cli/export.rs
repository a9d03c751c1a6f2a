//! `paperround export`: readers on standard output.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::Code;
use crate::subscribers::export::{Export, Exported, inert};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// All readers of a newsletter, those who left too
    Subscribers(Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Leave cells as they are that a spreadsheet would take for formulas
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Comma-separated, for spreadsheets and `paperround import`
    Csv,
    /// One JSON object on each line
    Jsonl,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let Command::Subscribers(args) = command;
    let app = context.app().await?;
    let newsletter = context.newsletter(&app, args.newsletter.as_deref()).await?;
    let mut export = Export::of(newsletter.id);
    let mut header = matches!(args.format, Format::Csv);
    let mut count = 0;
    loop {
        let page = export
            .next_page(&app.db)
            .await
            .context("cannot read the readers")?;
        if page.is_empty() && !header {
            break;
        }
        count += page.len();
        let bytes = match args.format {
            Format::Csv => csv(&page, header, args.raw)?,
            Format::Jsonl => jsonl(&page)?,
        };
        header = false;
        context.terminal.bytes(&bytes)?;
    }
    context
        .terminal
        .say(&format!("Wrote {count} readers of {}.", newsletter.slug));
    Ok(Code::Done)
}

fn csv(page: &[Exported], header: bool, raw: bool) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if header {
        writer.write_record([
            "email",
            "state",
            "topic",
            "cadence",
            "started_at",
            "ended_at",
        ])?;
    }
    for reader in page {
        let email = if raw {
            reader.email.clone()
        } else {
            inert(&reader.email)
        };
        writer.write_record([
            email,
            reader.state.to_string(),
            reader.topics.join("|"),
            reader
                .cadence
                .map(|cadence| cadence.to_string())
                .unwrap_or_default(),
            reader.started_at.to_string(),
            reader.ended_at.map(|at| at.to_string()).unwrap_or_default(),
        ])?;
    }
    writer.into_inner().context("cannot write the rows")
}

fn jsonl(page: &[Exported]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for reader in page {
        serde_json::to_writer(&mut bytes, reader)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
