//! P6: how long a confirmation waits while an issue is being sent.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::http::{self, Connection};
use crate::options::Options;
use crate::process::free_port;
use crate::program;
use crate::receiver::Receiver;
use crate::report::{Report, Target, percentile};
use crate::stage::{Engine, Issue, Upto};

const SIGNUPS: usize = 100;
/// Between two sign-ups.
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P6: {SIGNUPS} confirmations while an issue goes to {readers} readers");
    let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let (mut runs, mut values) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let waits = once(&issue).await?;
        let (half, worst) = (percentile(&waits, 50), percentile(&waits, 99));
        println!("  p50 {:.1} ms, p99 {:.1} ms", half * 1e3, worst * 1e3);
        values.push(worst);
        runs.push(json!({ "p50_seconds": half, "p99_seconds": worst }));
    }
    let what = "from the answer to the form to the relay, p99";
    Report::new("P6", what, "s", Target::AtMost(1.0), &values, runs).publish(&values)
}

/// The waits in seconds.
async fn once(issue: &Issue) -> anyhow::Result<Vec<f64>> {
    let issue = issue.copy().await?;
    let receiver = Receiver::start()?;
    let port = free_port()?;
    let mut settings = program::relay(receiver.port, 20);
    settings.extend(program::web(port));
    let mut service = program::start(&issue.stage, &["serve"], &settings)?;
    http::ready(&mut service, port).await?;
    wait_for("the first mail", || Ok(receiver.counts().0 > 0)).await?;
    let mut connection = Connection::open(port).await?;
    let mut asked = Vec::new();
    for n in 0..SIGNUPS {
        let email = format!("newcomer{n}@example.org");
        connection.sign_up(&email).await?;
        asked.push((email, Instant::now()));
        tokio::time::sleep(PAUSE).await;
    }
    let mut waits = Vec::new();
    for (email, at) in &asked {
        wait_for("a confirmation", || {
            Ok(receiver.accepted_at(email)?.is_some())
        })
        .await?;
        let accepted_at = receiver.accepted_at(email)?.context("it was there")?;
        waits.push(accepted_at.saturating_duration_since(*at).as_secs_f64());
    }
    let (mails, recipients) = receiver.counts();
    ensure!(
        mails == recipients,
        "{mails} mails for {recipients} recipients"
    );
    ensure!(
        u64::try_from(mails)? < issue.readers,
        "the issue was over before the last confirmation: ask for more --readers"
    );
    service.terminate()?;
    Ok(waits)
}

async fn wait_for(what: &str, is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
