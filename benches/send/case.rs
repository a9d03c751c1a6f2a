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

use super::options::{Case, Options};

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
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
            Case::P9 => age::run(options).await?,
            Case::P10 => kill::run(options).await?,
        }
    }
    Ok(())
}
