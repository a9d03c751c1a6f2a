//! The command line, without rules.
//!
//! Each command reads its arguments, calls the function that the web and the worker call too, and says what
//! came of it: data on standard output, words on standard error, an exit code of `exit::Code`. Nothing is
//! asked where there is no terminal, and every question has a flag that answers it.

mod article;
mod backup;
mod config;
mod context;
mod deliveries;
mod demo;
mod exit;
mod export;
mod feed;
mod import;
mod issue;
mod manual;
mod migrate;
mod newsletter;
mod operate;
mod preview;
mod relay;
mod restore;
mod schedule;
mod send;
mod serve;
mod subscriber;
mod table;
mod terminal;
mod token;
mod topic;
mod topic_rule;
mod when;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;
use exit::Code;

/// Newsletter sign-up and digest mailing for your own site.
#[derive(Debug, Parser)]
#[command(
    name = "paperround",
    version,
    propagate_version = true,
    after_help = "Settings come from paperround.toml and from PAPERROUND_... variables: see `paperround config show`.\n\
        Exit codes: 0 done, 1 failed, 2 usage or settings, 3 done with rejects, 4 refused, 75 try again, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// The settings file [default: ./paperround.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "PAPERROUND_CONFIG")]
    config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but data and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Never ask: fail where an answer is needed
    #[arg(long, global = true)]
    no_input: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up and change newsletters
    #[command(subcommand)]
    Newsletter(newsletter::Command),
    /// Topics that readers choose from
    #[command(subcommand)]
    Topic(topic::Command),
    /// When issues are due
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Where articles come from
    #[command(subcommand)]
    Feed(feed::Command),
    /// What came from feeds: list, release, hold, dismiss
    #[command(subcommand)]
    Article(article::Command),
    /// One reader: what they got and why
    #[command(subcommand)]
    Subscriber(subscriber::Command),
    /// Read the feeds and show what the next issue would be; sends nothing and makes no issue
    Preview(preview::Args),
    /// Send an issue now
    Send(send::Args),
    /// What went out, and what is going
    #[command(subcommand)]
    Issue(issue::Command),
    /// Where mails are handed to, and how that stands
    #[command(subcommand)]
    Relay(relay::Command),
    /// Bring confirmed readers along from a CSV file
    Import(import::Args),
    /// Write readers to standard output
    #[command(subcommand)]
    Export(export::Command),
    /// Tokens for the API
    #[command(subcommand)]
    Token(token::Command),
    /// Pause all sending, confirmations too
    Pause(operate::PauseAllArgs),
    /// Let sending go on
    Resume(operate::ResumeAllArgs),
    /// Run the service: pages, feeds, issues, mails
    Serve(serve::Args),
    /// See the whole main job on this machine
    Demo(demo::Args),
    /// Write database, keys and journal into one file, while the service runs or not
    Backup(backup::Args),
    /// Put a backup in place; nothing is sent until `resume`
    Restore(restore::Args),
    /// Bring the database up to date
    Migrate(migrate::Args),
    /// Check and show the settings
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the program: reads the command line, carries the command out, says what went wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::new(&cli.global);
    let code = match carry_out(cli.command, &context) {
        Ok(code) => code,
        Err(error) => {
            context.terminal.error(&error);
            exit::code_of(&error)
        }
    };
    code.into()
}

/// One core is left to the thread that writes the database: with two threads for two cores, a tenth fewer messages were sent.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.saturating_sub(1).max(1)
}

fn carry_out(command: Command, context: &Context) -> anyhow::Result<Code> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Newsletter(command) => newsletter::run(command, context).await,
            Command::Topic(command) => topic::run(command, context).await,
            Command::Schedule(command) => schedule::run(command, context).await,
            Command::Feed(command) => feed::run(command, context).await,
            Command::Article(command) => article::run(command, context).await,
            Command::Subscriber(command) => subscriber::run(command, context).await,
            Command::Preview(args) => preview::run(&args, context).await,
            Command::Send(args) => send::run(&args, context).await,
            Command::Issue(command) => issue::run(command, context).await,
            Command::Relay(command) => relay::run(&command, context).await,
            Command::Import(args) => import::run(&args, context).await,
            Command::Export(command) => export::run(command, context).await,
            Command::Token(command) => token::run(command, context).await,
            Command::Pause(args) => operate::pause_all(args, context).await,
            Command::Resume(args) => operate::resume_all(&args, context).await,
            Command::Backup(args) => backup::run(&args, context).await,
            Command::Restore(args) => restore::run(&args, context).await,
            Command::Serve(args) => serve::run(&args, context).await,
            Command::Demo(args) => demo::run(&args, context).await,
            Command::Migrate(args) => migrate::run(&args, context).await,
            Command::Config(command) => config::run(&command, context),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        Cli::command().debug_assert();
    }
}
