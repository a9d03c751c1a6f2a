//! One run of one sender, and what it took.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use paperround::db::Db;
use paperround::read_db;
use tokio::time::Instant;

use crate::client;
use crate::mta::Postfix;
use crate::options::ClientArgs;
use crate::postfix::{self, Sink};
use crate::process::Process;
use crate::program;
use crate::proxy;
use crate::report::Run;
use crate::signed;
use crate::stage::{Issue, Stage};
use crate::watch::{self, Accepted};

/// One row of the smallest index, however long the list is.
const IS_OPEN: &str = "
    SELECT 1 FROM deliveries
    WHERE issue_id = $1 AND is_open
    LIMIT 1";

/// How the receiver is reached.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    pub(super) connections: usize,
    /// Each way.
    pub(super) delay: Option<Duration>,
    /// Postfix stands between, and keeps each mail on its disk before it answers.
    pub(super) through_postfix: bool,
}

/// On this machine.
pub(super) const NEAR: Wire = Wire {
    connections: 20,
    delay: None,
    through_postfix: false,
};

/// A receiver at the end of a wire.
struct End {
    sink: Sink,
    port: u16,
    _proxy: Option<Process>,
    _postfix: Option<Postfix>,
}

impl End {
    async fn start(folder: &Path, wire: Wire) -> anyhow::Result<Self> {
        let sink = Sink::start(folder).await?;
        let mut port = sink.port;
        let mut postfix = None;
        if wire.through_postfix {
            let started = Postfix::start(port).await?;
            port = started.port;
            postfix = Some(started);
        }
        let mut proxy = None;
        if let Some(delay) = wire.delay {
            let (started, at) = proxy::spawn(port, delay).await?;
            port = at;
            proxy = Some(started);
        }
        Ok(Self {
            sink,
            port,
            _proxy: proxy,
            _postfix: postfix,
        })
    }
}

/// The program sends a copy of the issue; every outcome is durable at the end of the count.
pub(super) async fn program(who: &'static str, issue: &Issue, wire: Wire) -> anyhow::Result<Run> {
    programs(who, issue, wire, 1).await
}

/// The same by so many processes at once, with as many connections each.
pub(super) async fn programs(
    who: &'static str,
    issue: &Issue,
    wire: Wire,
    processes: usize,
) -> anyhow::Result<Run> {
    workers(who, issue, wire, processes, |stage, settings| {
        program::start(stage, &["serve", "--only", "worker"], settings)
    })
    .await
}

/// The same by a worker that signs on so many threads.
pub(super) async fn signed(issue: &Issue, wire: Wire, threads: usize) -> anyhow::Result<Run> {
    workers("signed", issue, wire, 1, |stage, settings| {
        signed::spawn(stage, settings, threads)
    })
    .await
}

async fn workers(
    who: &'static str,
    issue: &Issue,
    wire: Wire,
    processes: usize,
    start: impl Fn(&Stage, &[(&'static str, String)]) -> anyhow::Result<Process>,
) -> anyhow::Result<Run> {
    let issue = issue.copy().await?;
    let mut end = End::start(issue.stage.path(), wire).await?;
    let db = issue.stage.db().await?;
    let settings = program::relay(end.port, wire.connections);
    let began_at = Instant::now();
    let mut first = start(&issue.stage, &settings)?;
    let others = (1..processes).map(|_| start(&issue.stage, &settings));
    let others: Vec<_> = others.collect::<anyhow::Result<_>>()?;
    let accepted = watch::accepted(&mut end.sink, &mut first, issue.readers)
        .await
        .with_context(|| program::words(&issue.stage))?;
    let durable_at = all_durable(&db, &issue).await?;
    let mut cpu = first.cpu()?.saturating_sub(accepted.cpu_before);
    let peak_rss_bytes = Some(first.peak_rss_bytes()?);
    for other in others {
        cpu += other.cpu()?;
        other.terminate()?;
    }
    first.terminate()?;
    watch::nothing_more(&end.sink, issue.readers).await?;
    issue.check_sent(&db).await?;
    db.close().await;
    let run = measured(who, issue.readers, began_at, &accepted, durable_at, cpu);
    Ok(Run {
        peak_rss_bytes,
        ..run
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

/// Postfix's sender.
pub(super) async fn source(
    scratch: &Path,
    messages: u64,
    bytes: usize,
    wire: Wire,
) -> anyhow::Result<Run> {
    let mut end = End::start(scratch, wire).await?;
    let began_at = Instant::now();
    let sender = postfix::source(end.port, wire.connections, messages, bytes)?;
    stateless("smtp-source", &mut end.sink, sender, messages, began_at).await
}

/// Our client without a database.
pub(super) async fn bare(
    who: &'static str,
    scratch: &Path,
    client: ClientArgs,
    wire: Wire,
) -> anyhow::Result<Run> {
    let mut end = End::start(scratch, wire).await?;
    let client = ClientArgs {
        port: end.port,
        ..client
    };
    let began_at = Instant::now();
    let sender = client::spawn(&client)?;
    stateless(who, &mut end.sink, sender, client.messages, began_at).await
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
    Ok(measured(
        who,
        messages,
        began_at,
        &accepted,
        accepted.last_at,
        cpu,
    ))
}

pub(super) fn measured(
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
