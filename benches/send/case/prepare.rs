//! P5: how long until every delivery of an issue stands.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use paperround::deliveries::operate;
use paperround::issues::store;
use serde_json::json;
use tokio::time::Instant;

use crate::database;
use crate::options::Options;
use crate::program;
use crate::report::{Report, Target};
use crate::stage::{Engine, Issue, Upto};

const PATIENCE: Duration = Duration::from_mins(10);

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    measure(options, "P5", Engine::Sqlite, 8.0).await?;
    if database::cluster().is_none() {
        println!(
            "P5-postgres: skipped: no TEST_DATABASE_URL; run under scripts/with-postgres --durable"
        );
        return Ok(());
    }
    measure(options, "P5-postgres", Engine::Postgres, 16.0).await
}

async fn measure(options: &Options, id: &str, engine: Engine, most: f64) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("{id}: preparing an issue for {readers} readers");
    let issue = Issue::make(engine, readers, Upto::Made).await?;
    let (mut runs, mut values) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let seconds = once(&issue).await?;
        let millions = f64::from(u32::try_from(readers)?) / 1e6;
        values.push(seconds / millions);
        runs.push(json!({ "readers": readers, "seconds": seconds }));
    }
    let what = format!("preparing, at {readers} readers");
    let unit = "s per 1,000,000 readers";
    Report::new(id, &what, unit, Target::AtMost(most), &values, runs).publish(&values)
}

/// From the worker's start to the end of its work.
async fn once(issue: &Issue) -> anyhow::Result<f64> {
    let issue = issue.copy().await?;
    let db = issue.stage.db().await?;
    let began_at = Instant::now();
    let mut worker = program::start(&issue.stage, &["serve", "--only", "worker"], &[])?;
    let took = loop {
        let found = store::issues::by_id(&db, issue.id).await?;
        if found.context("the issue is gone")?.prepared_at.is_some() {
            break began_at.elapsed();
        }
        worker.check_alive()?;
        ensure!(began_at.elapsed() < PATIENCE, "it is not prepared");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    worker.terminate()?;
    let counts = operate::counts(&db, issue.id).await?;
    ensure!(
        u64::try_from(counts.pending)? == issue.readers && counts.total() == counts.pending,
        "not everybody got a delivery: {counts:?}"
    );
    db.close().await;
    Ok(took.as_secs_f64())
}
