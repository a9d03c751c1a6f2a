//! The cases, each in a file of its own.

mod age;
mod kill;
mod memory;
mod pace;
mod prepare;
mod priority;
mod sending;
mod signups;
mod throughput;

use tokio::sync::OnceCell;

use super::options::{Case, Options};
use super::stage::{Engine, Issue, Upto};

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    // with millions of readers it takes minutes to make, so P9 and P10 share one
    let issue = OnceCell::new();
    let long = || Issue::make(Engine::Sqlite, options.readers, Upto::Prepared);
    for case in &options.cases {
        match case {
            Case::P1 => throughput::beside_postfix(options).await?,
            Case::P1b => throughput::through_postfix(options).await?,
            Case::P1c => pace::run(options).await?,
            Case::P2 => throughput::signed(options).await?,
            Case::P3 => throughput::over_a_long_wire(options).await?,
            Case::P4 => memory::run(options).await?,
            Case::P5 => prepare::run(options).await?,
            Case::P6 => priority::run(options).await?,
            Case::P7 => signups::run(options).await?,
            Case::P8 => throughput::on_postgres(options).await?,
            Case::P9 => age::run(options, issue.get_or_try_init(long).await?).await?,
            Case::P10 => kill::run(options, issue.get_or_try_init(long).await?).await?,
        }
    }
    Ok(())
}
