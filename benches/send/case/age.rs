//! P9: what a message costs where very many wait behind it, and where very many went before.

use std::time::Duration;

use anyhow::ensure;
use paperround::db::Tx;
use paperround::id::IssueId;
use paperround::write_db;
use tokio::time::Instant;

use super::sending::{self, NEAR};
use crate::options::Options;
use crate::postfix::Sink;
use crate::program;
use crate::report::{self, Report, Run, Target, ratios, show_runs};
use crate::stage::{Engine, Issue, Upto};
use crate::watch::Accepted;

/// What is sent is the part of all: of 5,000,000 readers, 50,000.
const PART: u64 = 100;

const PATIENCE: Duration = Duration::from_mins(2);

// A finished issue, and its mails as they stand when all is said; their ids are older than any that is made now.
const OLD_ISSUE: &str = "INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state,
         release_when_prepared, max_cards, created_at, candidates, queued, excluded, finished_at, in_doubt_policy)
     SELECT unhex(printf('%032x', $2)), newsletter_id, number + $2, kind, cadences, due_at, 'finished',
         release_when_prepared, max_cards, created_at, candidates, queued, excluded, created_at, in_doubt_policy
     FROM issues WHERE id = $1";
const OLD_DELIVERIES: &str = "INSERT INTO deliveries (id, issue_id, subscription_id, variant_id, newsletter_id, kind,
         recipient, domain_key, given_from, state, is_open, attempt, tries, doubt, crashes, not_before, expires_at,
         created_at, marked_at, settled_at, reply_code, enhanced_code, reply_text, relay_id)
     SELECT unhex(printf('%012x', $2) || hex(randomblob(10))), unhex(printf('%032x', $2)), subscription_id, variant_id,
         newsletter_id, kind, recipient, domain_key, given_from, 'sent', FALSE, 1, 1, 0, 0, not_before, expires_at,
         created_at, created_at, created_at, 250, '2.0.0', '2.0.0 Ok', 'default'
     FROM deliveries WHERE issue_id = $1";

pub(super) async fn run(options: &Options, many: &Issue) -> anyhow::Result<()> {
    let (all, part) = (options.readers, options.readers / PART);
    let old = all * options.past;
    println!("P9: {part} messages: alone, before {all} that wait, and behind {old} of the past");
    let few = Issue::make(Engine::Sqlite, part, Upto::Prepared).await?;
    let aged = few.copy().await?;
    grow_old(&aged, old / part).await?;
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(sending::program("alone", &few, NEAR).await?);
        runs.push(part_of("of many", many, part).await?);
        runs.push(sending::program("aged", &aged, NEAR).await?);
    }
    show_runs(&runs);
    let json = report::json(&runs)?;
    let cost = |who| {
        runs.iter()
            .filter(move |run| run.who == who)
            .map(|run| run.cpu_micros)
    };
    let growth: Vec<_> = cost("of many")
        .zip(cost("alone"))
        .map(|(many, few)| many / few)
        .collect();
    let what = format!("processor time of a message with {all} queued / with {part}");
    Report::new(
        "P9",
        &what,
        "x",
        Target::AtMost(1.15),
        &growth,
        json.clone(),
    )
    .publish(&growth)?;
    let pace = ratios(&runs, "aged", "alone");
    let what = format!("pace with {old} old deliveries / without");
    Report::new(
        "P9-age",
        &what,
        "x",
        Target::AtLeast(1.0 / 1.1),
        &pace,
        json,
    )
    .publish(&pace)
}

/// `issues` issues more, of the past, each sent to all readers.
async fn grow_old(issue: &Issue, issues: u64) -> anyhow::Result<()> {
    let db = issue.stage.db().await?;
    for number in 1..=i64::try_from(issues)? {
        let id = issue.id;
        db.write(move |tx| Box::pin(add_old(tx, id, number)))
            .await?;
    }
    db.close().await;
    Ok(())
}

async fn add_old(tx: &mut Tx<'_>, issue: IssueId, number: i64) -> sqlx::Result<()> {
    for sql in [OLD_ISSUE, OLD_DELIVERIES] {
        write_db!(tx, |conn| sqlx::query(sql)
            .bind(issue)
            .bind(number)
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// The first messages of an issue, and what each cost.
async fn part_of(who: &'static str, issue: &Issue, messages: u64) -> anyhow::Result<Run> {
    let issue = issue.copy().await?;
    let sink = Sink::start(issue.stage.path()).await?;
    let settings = program::relay(sink.port, NEAR.connections);
    let began_at = Instant::now();
    let mut worker = program::start(&issue.stage, &["serve", "--only", "worker"], &settings)?;
    let mut first = None;
    loop {
        worker.check_alive()?;
        let (count, now) = (sink.messages()?, Instant::now());
        if first.is_none() && count > 0 {
            first = Some((now, worker.cpu()?));
        }
        if let Some((first_at, cpu_before)) = first
            && count >= messages
        {
            let cpu = worker.cpu()?.saturating_sub(cpu_before);
            let accepted = Accepted {
                first_at,
                last_at: now,
                cpu_before,
            };
            let run = sending::measured(who, count, began_at, &accepted, now, cpu);
            let peak_rss_bytes = Some(worker.peak_rss_bytes()?);
            return Ok(Run {
                peak_rss_bytes,
                ..run
            });
        }
        ensure!(began_at.elapsed() < PATIENCE, "{count} messages arrived");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
