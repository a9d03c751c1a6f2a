//! `paperround config`: check and show the settings.

use clap::Subcommand;

use super::context::Context;
use super::exit::Code;
use super::table::Table;
use crate::config::{Config, env_example};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether all settings are right
    Check,
    /// Print each setting, its value and where it came from; secrets are masked
    Show,
    /// Print every setting with its meaning, as a file of environment variables
    Example,
}

pub(super) fn run(command: &Command, context: &Context) -> anyhow::Result<Code> {
    match command {
        Command::Check => {
            let config = context.config()?;
            if config.smtp.relay().is_none() {
                let outbox = config.data_dir.join("outbox");
                context.terminal.say(&format!(
                    "smtp.url is not set: mails will be written to {} instead of being sent.",
                    outbox.display()
                ));
            }
            context.terminal.say("The settings are right.");
        }
        Command::Show => {
            let shown = Config::show_sources(&context.sources)?;
            if context.terminal.json {
                context.terminal.json(&shown)?;
            } else {
                let mut table = Table::new(&["setting", "value", "source"]);
                for setting in shown {
                    table.row([setting.key.to_owned(), setting.value, setting.source]);
                }
                context.terminal.data(&table.text())?;
            }
            if let Err(error) = context.config() {
                context.terminal.say("");
                return Err(error);
            }
        }
        Command::Example => context.terminal.data(&env_example())?,
    }
    Ok(Code::Done)
}
