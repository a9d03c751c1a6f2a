//! `paperround topic`: what readers choose from.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::Code;
use super::newsletter::explain;
use super::table::Table;
use super::topic_rule;
use crate::newsletters::{Cadence, Slug, add, store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a topic
    Add(AddArgs),
    /// Print a newsletter's topics
    List {
        /// Which newsletter [default: the only one]
        #[arg(long, short)]
        newsletter: Option<String>,
    },
    /// Which articles belong to a topic
    #[command(subcommand)]
    Rule(topic_rule::Command),
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// Its name in forms and commands, such as asia-pacific
    slug: Slug,
    /// Its name for readers, such as Asia-Pacific
    #[arg(long)]
    name: String,
    /// Which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
    /// The most often that readers may have it
    #[arg(long, value_name = "CADENCE")]
    max_cadence: Option<Cadence>,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::Add(args) => {
            let newsletter = context.newsletter(&app, args.newsletter.as_deref()).await?;
            let topic = add::topic(&app, newsletter.id, args.slug, args.name, args.max_cadence)
                .await
                .map_err(explain)?;
            if context.terminal.json {
                context.terminal.json(&topic)?;
            }
            context.terminal.say(&format!(
                "Added the topic {} to {}. Next, which articles belong to it: paperround topic rule add {} --category NAME",
                topic.slug, newsletter.slug, topic.slug
            ));
        }
        Command::Rule(command) => topic_rule::run(&app, command, context).await?,
        Command::List { newsletter } => {
            let newsletter = context.newsletter(&app, newsletter.as_deref()).await?;
            let topics = store::topics(&app.db, newsletter.id)
                .await
                .context("cannot read the topics")?;
            if context.terminal.json {
                context.terminal.json(&topics)?;
            } else {
                let mut table = Table::new(&["slug", "name", "at most"]);
                for topic in topics {
                    let ceiling = topic.max_cadence.map_or("-", Cadence::as_str);
                    table.row([topic.slug.to_string(), topic.name, ceiling.to_owned()]);
                }
                context.terminal.data(&table.text())?;
            }
        }
    }
    app.db.close().await;
    Ok(Code::Done)
}
