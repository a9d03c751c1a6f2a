//! `paperround preview`: what the next issue would be. Sends nothing and makes no issue. The feeds are read first, as
//! before a real issue: without that it would show less than what goes out.

use anyhow::Context as _;

use super::context::Context;
use super::exit::{Code, Refused};
use super::manual::Manual;
use super::table::Table;
use super::terminal::Terminal;
use crate::issues::preview::{Preview, preview};
use crate::issues::render::Renderer;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    manual: Manual,
    /// Print the mail that most readers would get, instead of the summary
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The HTML part
    Html,
    /// The text part
    Text,
    /// The whole message
    Eml,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    let newsletter = context
        .newsletter(&app, args.manual.newsletter.as_deref())
        .await?;
    Manual::catch_up(&app, &newsletter, &context.terminal).await?;
    let new = args.manual.issue(&app, &newsletter, true);
    let preview = preview(&app, &Renderer::of(&app), &new)
        .await
        .context("cannot preview the issue")?;
    match (args.format, &preview.sample) {
        (None, _) => describe(&preview, &context.terminal)?,
        (Some(_), None) => return Err(Refused("nobody would get a mail now".to_owned()).into()),
        (Some(Format::Html), Some(sample)) => context.terminal.data(&sample.html)?,
        (Some(Format::Text), Some(sample)) => context.terminal.data(&sample.text)?,
        (Some(Format::Eml), Some(sample)) => context.terminal.bytes(&sample.eml)?,
    }
    app.db.close().await;
    Ok(Code::Done)
}

/// What would go to how many: articles with their decisions, mails with their readers and bytes.
pub(super) fn describe(preview: &Preview, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(&shown(preview));
    }
    let mut table = Table::new(&["no.", "decision", "title"]);
    for article in &preview.articles {
        table.row([
            article.content.seq.to_string(),
            article.decision.to_string(),
            article.content.title.clone(),
        ]);
    }
    if !preview.articles.is_empty() {
        terminal.data(&table.text())?;
        terminal.data("")?;
    }
    let mut table = Table::new(&[
        "readers",
        "language",
        "articles",
        "bytes",
        "html bytes",
        "subject",
    ]);
    for variant in &preview.variants {
        table.row([
            variant.recipients.to_string(),
            variant.language.clone(),
            variant.articles.to_string(),
            variant.bytes.to_string(),
            variant.html_bytes.to_string(),
            variant.subject.clone(),
        ]);
    }
    if !preview.variants.is_empty() {
        terminal.data(&table.text())?;
    }
    terminal.say(&format!(
        "{} would get a mail; for {} there is nothing new; {} paused.",
        readers(preview.recipients),
        readers(preview.nothing_for),
        preview.paused
    ));
    if preview.waiting > 0 {
        terminal.say(&format!(
            "{} more: an older issue is still on its way to them, and what is new comes with the issue after it.",
            readers(preview.waiting)
        ));
    }
    Ok(())
}

/// `1 reader`, `12 readers`.
pub(super) fn readers(count: usize) -> String {
    format!("{count} reader{}", if count == 1 { "" } else { "s" })
}

/// The preview for programs.
pub(super) fn shown(preview: &Preview) -> serde_json::Value {
    let articles = preview.articles.iter().map(|article| {
        serde_json::json!({
            "id": article.id, "seq": article.content.seq, "title": article.content.title, "url": article.content.url,
            "decision": article.decision, "reason": article.reason,
        })
    });
    let variants = preview.variants.iter().map(|variant| {
        serde_json::json!({
            "language": variant.language, "subject": variant.subject, "articles": variant.articles,
            "recipients": variant.recipients, "bytes": variant.bytes, "html_bytes": variant.html_bytes,
        })
    });
    serde_json::json!({
        "recipients": preview.recipients,
        "nothing_for": preview.nothing_for,
        "paused": preview.paused,
        "waiting": preview.waiting,
        "articles": articles.collect::<Vec<_>>(),
        "variants": variants.collect::<Vec<_>>(),
    })
}
