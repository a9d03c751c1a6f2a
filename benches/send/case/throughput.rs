//! P1, P3 and P8: how many messages in a second, beside others in the same minutes.

use std::path::Path;
use std::time::Duration;

use super::sending::{self, NEAR, Wire};
use crate::database;
use crate::options::{ClientArgs, Options};
use crate::report::{self, Report, Run, Spread, Target, ratios, show_runs};
use crate::signed;
use crate::stage::{self, Engine, Issue, Stage, Upto};

const FAR: Wire = Wire {
    connections: 200,
    delay: Some(Duration::from_millis(25)),
    ..NEAR
};
const DURABLE: Wire = Wire {
    through_postfix: true,
    ..NEAR
};

/// Threads that sign.
const SIGNERS: usize = 2;

/// P1: a digest on SQLite, beside smtp-source and our own client without a database.
pub(super) async fn beside_postfix(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P1: a digest to {readers} readers, 20 connections, into smtp-sink");
    let scratch = Stage::new(Engine::Sqlite).await?;
    let message = stage::sample(scratch.path()).await?;
    let bytes = usize::try_from(std::fs::metadata(&message)?.len())?;
    println!("  a message has {bytes} bytes");
    let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(sending::source(scratch.path(), readers, bytes, NEAR).await?);
        runs.push(sending::program("paperround", &issue, NEAR).await?);
        let client = client(NEAR, readers, &message, false);
        runs.push(sending::bare("client", scratch.path(), client, NEAR).await?);
    }
    show_runs(&runs);
    compare(&runs, "P1", ("paperround", "smtp-source"), 1.5)?;
    compare(&runs, "P1-bound", ("paperround", "client"), 0.8)
}

/// P1b: into Postfix, which keeps and forwards, beside smtp-source before the same. Until the last one was forwarded.
pub(super) async fn through_postfix(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P1b: a digest to {readers} readers, 20 connections, through Postfix into smtp-sink");
    let scratch = Stage::new(Engine::Sqlite).await?;
    let message = stage::sample(scratch.path()).await?;
    let bytes = usize::try_from(std::fs::metadata(&message)?.len())?;
    let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(sending::source(scratch.path(), readers, bytes, DURABLE).await?);
        runs.push(sending::program("paperround", &issue, DURABLE).await?);
    }
    show_runs(&runs);
    compare(&runs, "P1b", ("paperround", "smtp-source"), 0.95)
}

/// P2: each mail signed by RSA-2048, beside the lower of what is sent unsigned and what as many threads sign while
/// something unsigned is sent.
pub(super) async fn signed(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P2: a digest to {readers} readers, 20 connections, signed on {SIGNERS} threads");
    let scratch = Stage::new(Engine::Sqlite).await?;
    let message = std::fs::read(stage::sample(scratch.path()).await?)?;
    let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let (mut runs, mut values, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let unsigned = sending::program("unsigned", &issue, NEAR).await?;
        let beside = Box::pin(sending::program("beside", &issue, NEAR));
        let (beside, rate) = signed::beside(beside, message.clone(), SIGNERS).await?;
        let signed = sending::signed(&issue, NEAR, SIGNERS).await?;
        values.push(signed.per_second / unsigned.per_second.min(rate));
        rates.push(rate);
        runs.extend([unsigned, beside, signed]);
    }
    show_runs(&runs);
    println!(
        "  {} signatures/s beside an unsigned run",
        Spread::of(&rates).text()
    );
    let target = Target::AtLeast(0.85);
    let what = "signed / the lower of unsigned and signing";
    Report::new("P2", what, "x", target, &values, report::json(&runs)?).publish(&values)
}

/// P3: through 25 ms each way, beside the same client with one command at a time.
pub(super) async fn over_a_long_wire(options: &Options) -> anyhow::Result<()> {
    let readers = options.readers;
    println!("P3: a digest to {readers} readers, 200 connections, 25 ms each way");
    let scratch = Stage::new(Engine::Sqlite).await?;
    let message = stage::sample(scratch.path()).await?;
    let issue = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(sending::program("paperround", &issue, FAR).await?);
        for (who, sequential) in [("sequential", true), ("client", false)] {
            let client = client(FAR, readers, &message, sequential);
            runs.push(sending::bare(who, scratch.path(), client, FAR).await?);
        }
    }
    show_runs(&runs);
    compare(&runs, "P3", ("paperround", "sequential"), 3.5)
}

/// P8: one worker on PostgreSQL, beside SQLite; three workers, beside one.
pub(super) async fn on_postgres(options: &Options) -> anyhow::Result<()> {
    if database::cluster().is_none() {
        println!("P8: skipped: no TEST_DATABASE_URL; run under scripts/with-postgres --durable");
        return Ok(());
    }
    let readers = options.readers;
    println!("P8: a digest to {readers} readers, 20 connections, PostgreSQL and SQLite");
    let on_postgres = Issue::make(Engine::Postgres, readers, Upto::Prepared).await?;
    let on_sqlite = Issue::make(Engine::Sqlite, readers, Upto::Prepared).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(sending::program("postgres", &on_postgres, NEAR).await?);
        runs.push(sending::programs("three", &on_postgres, NEAR, 3).await?);
        runs.push(sending::program("sqlite", &on_sqlite, NEAR).await?);
    }
    show_runs(&runs);
    compare(&runs, "P8", ("postgres", "sqlite"), 0.5)?;
    compare(&runs, "P8-three", ("three", "postgres"), 1.0)
}

fn client(wire: Wire, messages: u64, message: &Path, sequential: bool) -> ClientArgs {
    ClientArgs {
        port: 0,
        connections: wire.connections,
        messages,
        message: message.to_path_buf(),
        sequential,
    }
}

fn compare(runs: &[Run], id: &str, pair: (&str, &str), least: f64) -> anyhow::Result<()> {
    let values = ratios(runs, pair.0, pair.1);
    let what = format!("{} / {}", pair.0, pair.1);
    let target = Target::AtLeast(least);
    Report::new(id, &what, "x", target, &values, report::json(runs)?).publish(&values)
}
