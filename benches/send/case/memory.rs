//! P4: memory of the worker that prepares and sends, at a tenth of the readers and at all of them.

use super::sending::{self, NEAR};
use crate::options::Options;
use crate::report::{self, Report, Target};
use crate::stage::{Engine, Issue, Upto};

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let (few, all) = (options.readers / 10, options.readers);
    println!("P4: peak memory of the worker, preparing and sending to {few} and to {all} readers");
    let small = Issue::make(Engine::Sqlite, few, Upto::Allowed).await?;
    let large = Issue::make(Engine::Sqlite, all, Upto::Allowed).await?;
    let (mut runs, mut peaks, mut growth) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let little = sending::program("tenth", &small, NEAR).await?;
        let much = sending::program("all", &large, NEAR).await?;
        peaks.push(mib(much.peak_rss_bytes));
        growth.push(mib(much.peak_rss_bytes) / mib(little.peak_rss_bytes));
        runs.extend([little, much]);
    }
    let what = format!("peak RSS at {all} readers");
    let json = report::json(&runs)?;
    let target = Target::AtMost(64.0);
    Report::new("P4", &what, "MiB", target, &peaks, json.clone()).publish(&peaks)?;
    let what = format!("peak RSS at {all} readers / at {few}");
    Report::new("P4-growth", &what, "x", Target::AtMost(1.1), &growth, json).publish(&growth)
}

fn mib(bytes: Option<u64>) -> f64 {
    let kib = bytes.unwrap_or_default() / 1024;
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
