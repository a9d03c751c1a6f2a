//! P1: a digest on SQLite with 20 connections, beside smtp-source and our own client without a database.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use paperround::config::DatabaseTarget;
use paperround::db::Db;
use paperround::deliveries::operate;
use paperround::read_db;
use tokio::time::Instant;

use crate::client;
use crate::options::{ClientArgs, Options};
use crate::postfix::{self, Sink};
use crate::process::Process;
use crate::program;
use crate::report::{Report, Run, Target, ratios, show_runs};
use crate::stage::{self, Issue, Stage};
use crate::watch::{self, Accepted};

const CONNECTIONS: usize = 20;

/// One row of the smallest index, however long the list is.
const IS_OPEN: &str = "
    SELECT 1 FROM deliveries
    WHERE issue_id = $1 AND state IN ('pending', 'claimed', 'transmitting', 'in_doubt')
    LIMIT 1";

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P1: a digest to {readers} readers, {CONNECTIONS} connections, into smtp-sink");
    let scratch = Stage::new()?;
    let sample = stage::sample(scratch.path()).await?;
    let bytes = usize::try_from(std::fs::metadata(&sample)?.len())?;
    println!("  a message has {bytes} bytes");
    let issue = Issue::make(readers).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(source(scratch.path(), readers, bytes).await?);
        runs.push(ours(&issue, CONNECTIONS).await?);
        runs.push(bound(scratch.path(), &sample, readers).await?);
    }
    show_runs(&runs);
    let all = runs
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    for (id, what, peer, least) in [
        ("P1", "paperround / smtp-source", "smtp-source", 1.5),
        (
            "P1-bound",
            "paperround / client without database",
            "client",
            0.8,
        ),
    ] {
        let values = ratios(&runs, "paperround", peer);
        let report = Report::new(id, what, "x", Target::AtLeast(least), &values, all.clone());
        report.publish(&values)?;
    }
    Ok(())
}

/// The program sends the issue; every outcome is durable at the end of the count.
pub(super) async fn ours(issue: &Issue, connections: usize) -> anyhow::Result<Run> {
    let issue = issue.copy()?;
    let mut sink = Sink::start(issue.stage.path()).await?;
    let target = DatabaseTarget::Sqlite(issue.stage.path().join("paperround.db"));
    let db = Db::open(&target, 1).await?;
    let settings = program::relay(sink.port, connections);
    let began_at = Instant::now();
    let mut sender = program::start(&issue.stage, &["serve", "--only", "worker"], &settings)?;
    let accepted = watch::accepted(&mut sink, &mut sender, issue.readers)
        .await
        .with_context(|| program::words(&issue.stage))?;
    let durable_at = all_durable(&db, &issue).await?;
    let cpu = sender.cpu()?.saturating_sub(accepted.cpu_before);
    let peak_rss_bytes = Some(sender.peak_rss_bytes()?);
    sender.terminate()?;
    watch::nothing_more(&sink, issue.readers).await?;
    let counts = operate::counts(&db, issue.id).await?;
    ensure!(
        u64::try_from(counts.sent)? == issue.readers && counts.total() == counts.sent,
        "not everything was sent: {counts:?}"
    );
    db.close().await;
    Ok(Run {
        peak_rss_bytes,
        ..of(
            "paperround",
            issue.readers,
            began_at,
            &accepted,
            durable_at,
            cpu,
        )
    })
}

/// When the last outcome was found recorded.
async fn all_durable(db: &Db, issue: &Issue) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let open: Option<i32> = read_db!(db, |conn| sqlx::query_scalar(IS_OPEN)
            .bind(issue.id)
            .fetch_optional(conn)
            .await)?;
        let now = Instant::now();
        if open.is_none() {
            return Ok(now);
        }
        ensure!(now < deadline, "not every outcome is recorded");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn source(scratch: &Path, messages: u64, bytes: usize) -> anyhow::Result<Run> {
    let mut sink = Sink::start(scratch).await?;
    let began_at = Instant::now();
    let sender = postfix::source(sink.port, CONNECTIONS, messages, bytes)?;
    stateless("smtp-source", &mut sink, sender, messages, began_at).await
}

async fn bound(scratch: &Path, sample: &Path, messages: u64) -> anyhow::Result<Run> {
    let mut sink = Sink::start(scratch).await?;
    let client = ClientArgs {
        port: sink.port,
        connections: CONNECTIONS,
        messages,
        message: sample.to_path_buf(),
        sequential: false,
    };
    let began_at = Instant::now();
    let sender = client::spawn(&client)?;
    stateless("client", &mut sink, sender, messages, began_at).await
}

/// A sender that ends when it has nothing more to send.
async fn stateless(
    who: &'static str,
    sink: &mut Sink,
    mut sender: Process,
    messages: u64,
    began_at: Instant,
) -> anyhow::Result<Run> {
    let accepted = watch::accepted(sink, &mut sender, messages).await?;
    let cpu = sender.wait()?.saturating_sub(accepted.cpu_before);
    watch::nothing_more(sink, messages).await?;
    Ok(of(
        who,
        messages,
        began_at,
        &accepted,
        accepted.last_at,
        cpu,
    ))
}

fn of(
    who: &'static str,
    messages: u64,
    began_at: Instant,
    accepted: &Accepted,
    ended_at: Instant,
    cpu: Duration,
) -> Run {
    let count = f64::from(u32::try_from(messages).unwrap_or(u32::MAX));
    Run {
        who,
        per_second: count / (ended_at - accepted.first_at).as_secs_f64(),
        start_seconds: (accepted.first_at - began_at).as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / count,
        peak_rss_bytes: None,
    }
}
