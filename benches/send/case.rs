//! The cases, each in a file of its own.

mod digest;

use super::options::{Case, Options};

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    for case in &options.cases {
        match case {
            Case::P1 => digest::run(options).await?,
        }
    }
    Ok(())
}
