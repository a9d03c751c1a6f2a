//! P10: ready, and sending again, after the service was killed while it sent.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;

use crate::http;
use crate::options::Options;
use crate::postfix::Sink;
use crate::process::{Process, free_port};
use crate::program;
use crate::report::{Report, Target};
use crate::stage::Issue;

const PATIENCE: Duration = Duration::from_mins(1);

/// Messages before the kill, of a list that has many more.
const BEFORE: u64 = 20_000;

pub(super) async fn run(options: &Options, issue: &Issue) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P10: killed while it sends to {readers} readers, and started again");
    let (mut runs, mut ready, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let (ready_after, first_after) = once(issue).await?;
        runs.push(json!({ "ready_seconds": ready_after, "first_mail_seconds": first_after }));
        ready.push(ready_after);
        first.push(first_after);
    }
    let what = format!("ready with {readers} subscribers");
    let target = Target::AtMost(1.0);
    Report::new("P10", &what, "s", target, &ready, runs.clone()).publish(&ready)?;
    let what = "first mail after a kill";
    Report::new("P10-first", what, "s", Target::AtMost(5.0), &first, runs).publish(&first)
}

/// Seconds from the second start until it is ready, and until it sends.
async fn once(issue: &Issue) -> anyhow::Result<(f64, f64)> {
    let issue = issue.copy().await?;
    let sink = Sink::start(issue.stage.path()).await?;
    let port = free_port()?;
    let mut settings = program::relay(sink.port, 20);
    settings.extend(program::web(port));
    let mut service = program::start(&issue.stage, &["serve"], &settings)?;
    more_than(&sink, BEFORE.min(issue.readers / 20), &mut service).await?;
    // dropping is a SIGKILL
    drop(service);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = sink.messages()?;
    ensure!(
        before < issue.readers,
        "it was over before the kill: ask for more --readers"
    );
    let began_at = Instant::now();
    let mut service = program::start(&issue.stage, &["serve"], &settings)?;
    http::ready(&mut service, port).await?;
    let ready_after = began_at.elapsed().as_secs_f64();
    more_than(&sink, before, &mut service).await?;
    let first_after = began_at.elapsed().as_secs_f64();
    drop(service);
    Ok((ready_after, first_after))
}

async fn more_than(sink: &Sink, count: u64, service: &mut Process) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while sink.messages()? <= count {
        service.check_alive()?;
        ensure!(Instant::now() < deadline, "no mail arrives");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
