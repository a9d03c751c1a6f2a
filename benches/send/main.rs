//! How fast the program sends, prepares and starts, beside what others reach on the same machine in the same minutes.
//!
//! `cargo bench --bench send -- P1 --readers 5000 --runs 1` is a quick look; `docs/performance.md` says what each
//! number means. The sender is always the real program in a process of its own, so its processor time and memory are
//! its alone; the receivers are Postfix's.
//!
//! A run in which a message was lost, doubled or refused is no measurement: it ends the bench with a failure.

#![expect(clippy::print_stdout, reason = "a bench shows what it measured")]

mod case;
mod client;
mod database;
#[path = "../../tests/it/mtas/guard.rs"]
mod guard;
mod http;
mod mta;
#[path = "../support/newsletter.rs"]
mod newsletter;
mod options;
mod postfix;
#[path = "../../tests/it/mtas/postfix_folder.rs"]
mod postfix_folder;
mod process;
mod program;
mod proxy;
mod receiver;
mod report;
mod signed;
mod stage;
mod watch;

use clap::Parser as _;
use options::{Command, Options};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options.command {
        Some(Command::Client(client)) => runtime(true)?.block_on(client::run(client)),
        Some(Command::Worker(worker)) => runtime(true)?.block_on(signed::run(worker)),
        Some(Command::Proxy(proxy)) => runtime(true)?.block_on(proxy::run(proxy)),
        // on one thread: what it starts dies with the thread that started it
        None => runtime(false)?.block_on(case::run(&options)),
    }
}

fn runtime(threads: bool) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build()
}
