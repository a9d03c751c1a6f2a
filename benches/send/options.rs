//! The command line.

use std::path::PathBuf;

#[derive(Debug, clap::Parser)]
#[command(
    name = "send",
    about = "Measures sending",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, ignore_case = true, default_value = "P1")]
    pub(crate) cases: Vec<Case>,
    /// Readers of the newsletter
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) readers: u64,
    /// How often each is measured; what is shown are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,
    /// P9: deliveries of the past for each reader
    #[arg(long, default_value_t = 10)]
    pub(crate) past: u64,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A row of the table in `docs/performance.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// Sending on SQLite beside smtp-source and our own client
    #[value(name = "P1")]
    P1,
    /// Sending through a Postfix that keeps each mail, beside smtp-source
    #[value(name = "P1b")]
    P1b,
    /// Keeping to a relay's allowance, over restarts
    #[value(name = "P1c")]
    P1c,
    /// P1 with each mail signed, beside the lower of sending and signing
    #[value(name = "P2")]
    P2,
    /// Through 25 ms each way with 200 connections, beside the sequential dialogue
    #[value(name = "P3")]
    P3,
    /// Memory of the worker, at a tenth of the readers and at all of them
    #[value(name = "P4")]
    P4,
    /// Preparing: from the worker's start until all deliveries stand
    #[value(name = "P5")]
    P5,
    /// Confirmations while an issue is being sent
    #[value(name = "P6")]
    P6,
    /// Sign-ups over HTTP, beside one commit for each
    #[value(name = "P7")]
    P7,
    /// Sending on PostgreSQL beside SQLite, and by three workers beside one
    #[value(name = "P8")]
    P8,
    /// What a message costs among very many, at 1/100 of the readers
    #[value(name = "P9")]
    P9,
    /// Ready, and sending again, after a kill
    #[value(name = "P10")]
    P10,
}

/// What the bench starts as processes of their own.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Our client with finished bytes and no database
    #[command(hide = true)]
    Client(ClientArgs),
    /// The worker, with a signer
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// A TCP proxy that delays
    #[command(hide = true)]
    Proxy(ProxyArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// Threads that sign
    #[arg(long)]
    pub(crate) threads: usize,
    /// KEY=VALUE
    #[arg(long = "set")]
    pub(crate) settings: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClientArgs {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) messages: u64,
    /// The message, with CRLF line ends
    #[arg(long)]
    pub(crate) message: PathBuf,
    /// One command at a time, whatever the relay offers
    #[arg(long)]
    pub(crate) sequential: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    #[arg(long)]
    pub(crate) listen: u16,
    #[arg(long)]
    pub(crate) to: u16,
    /// Each way
    #[arg(long)]
    pub(crate) delay_ms: u64,
}
