//! P7: sign-ups over HTTP on 64 connections, beside the same sign-ups one after another with a commit for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use paperround::db::Db;
use paperround::newsletters::Newsletter;
use paperround::read_db;
use paperround::subscribers::email_address::EmailAddress;
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::selection::Selection;
use paperround::subscribers::signup::{Request, sign_up};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{self, Connection};
use crate::newsletter;
use crate::options::Options;
use crate::process::free_port;
use crate::program;
use crate::report::{Report, Spread, Target, percentile};
use crate::stage::{Engine, Stage, address_rules};

const CONNECTIONS: usize = 64;
const SIGNUPS: u32 = 10_000;
const ALONE: u32 = 2_000;

const COUNT: &str = "SELECT COUNT(*) FROM signups";

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    println!("P7: {SIGNUPS} sign-ups on {CONNECTIONS} connections, and {ALONE} one after another");
    let (mut runs, mut quotients, mut worsts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let (rate, p99) = over_http().await?;
        let single = one_by_one().await?;
        runs.push(json!({ "per_second": rate, "p99_seconds": p99, "one_commit_each": single }));
        quotients.push(rate / single);
        worsts.push(p99 * 1e3);
        together.push(rate);
        alone.push(single);
    }
    println!("  over HTTP   {} per s", Spread::of(&together).text());
    println!("  one by one  {} per s", Spread::of(&alone).text());
    let what = "sign-ups over HTTP / with a commit each";
    let target = Target::AtLeast(5.0);
    Report::new("P7", what, "x", target, &quotients, runs.clone()).publish(&quotients)?;
    let what = "sign-up over HTTP, p99";
    Report::new("P7-p99", what, "ms", Target::AtMost(20.0), &worsts, runs).publish(&worsts)
}

/// Sign-ups per second, and the 99th percentile of their time in seconds.
async fn over_http() -> anyhow::Result<(f64, f64)> {
    let stage = Stage::new(Engine::Sqlite).await?;
    let app = stage.app().await?;
    newsletter::add(&app).await?;
    app.db.close().await;
    let port = free_port()?;
    let mut service = program::start(&stage, &["serve", "--only", "web"], &program::web(port))?;
    http::ready(&mut service, port).await?;
    let next = Arc::new(AtomicU64::new(0));
    let mut lines = JoinSet::new();
    let began_at = Instant::now();
    for _ in 0..CONNECTIONS {
        lines.spawn(line(port, next.clone()));
    }
    let mut times = Vec::new();
    while let Some(ended) = lines.join_next().await {
        times.extend(ended??);
    }
    let rate = f64::from(SIGNUPS) / began_at.elapsed().as_secs_f64();
    service.terminate()?;
    let db = stage.db().await?;
    check(&db, SIGNUPS).await?;
    db.close().await;
    Ok((rate, percentile(&times, 99)))
}

async fn line(port: u16, next: Arc<AtomicU64>) -> anyhow::Result<Vec<f64>> {
    let mut connection = Connection::open(port).await?;
    let mut times = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= u64::from(SIGNUPS) {
            return Ok(times);
        }
        let asked_at = Instant::now();
        connection
            .sign_up(&format!("newcomer{n}@example.org"))
            .await?;
        times.push(asked_at.elapsed().as_secs_f64());
    }
}

/// The operation itself, each awaited before the next: one commit for each. Per second.
async fn one_by_one() -> anyhow::Result<f64> {
    let stage = Stage::new(Engine::Sqlite).await?;
    let app = stage.app_with(&program::no_limits()).await?;
    let newsletter = newsletter::add(&app).await?;
    let began_at = Instant::now();
    for n in 0..ALONE {
        sign_up(&app, request(&newsletter, n)?).await?;
    }
    let rate = f64::from(ALONE) / began_at.elapsed().as_secs_f64();
    check(&app.db, ALONE).await?;
    app.db.close().await;
    Ok(rate)
}

fn request(newsletter: &Newsletter, n: u32) -> anyhow::Result<Request> {
    let email = EmailAddress::parse(&format!("newcomer{n}@example.org"), address_rules())?;
    Ok(Request {
        newsletter: newsletter.id,
        email,
        selection: Selection::default(),
        locale: "en".to_owned(),
        evidence: Evidence::of(Channel::Form),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        is_trapped: false,
    })
}

/// Every sign-up is there once.
async fn check(db: &Db, expected: u32) -> anyhow::Result<()> {
    let count: i64 = read_db!(db, |conn| sqlx::query_scalar(COUNT).fetch_one(conn).await)?;
    ensure!(count == i64::from(expected), "{count} sign-ups are stored");
    Ok(())
}
