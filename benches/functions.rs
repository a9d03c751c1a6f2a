//! Pure functions on the way of a mail: `cargo bench --bench functions`.

#[path = "support/newsletter.rs"]
mod newsletter;

use std::fmt::Write as _;
use std::hint::black_box;

use anyhow::Context as _;
use criterion::{Criterion, Throughput};
use paperround::app::{App, World};
use paperround::clock::Timestamp;
use paperround::config::{Config, Sources};
use paperround::feeds::fetch::Body;
use paperround::feeds::parse::parse;
use paperround::id::{ArticleId, TopicId};
use paperround::issues::due::{Interest, Reach, Released, due};
use paperround::issues::render::Renderer;
use paperround::issues::store;
use paperround::mail::Slots;
use paperround::newsletters::schedule::Calendar;
use paperround::newsletters::{Cadence, Cadences, Days};
use paperround::worker;

/// A moment in July 2026.
const NOW: Timestamp = Timestamp::from_micros(1_783_400_400_000_000);

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    variant_and_splice(&mut criterion)?;
    feed(&mut criterion)?;
    next_slot(&mut criterion)?;
    due_rule(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// A variant is rendered and encoded once; each reader's copy is a splice.
fn variant_and_splice(criterion: &mut Criterion) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (renderer, newsletter, issue, articles) = runtime.block_on(async {
        let sources = Sources::default()
            .with("data_dir", folder.path().display().to_string())
            .with("server.base_url", "http://127.0.0.1:8080");
        let config = Config::load(&sources)?;
        let app = std::sync::Arc::new(App::open(config, World::system()).await?);
        let newsletter = newsletter::add(&app).await?;
        let id = newsletter::draft(&app, &newsletter).await?;
        worker::prepare(app.clone()).await?.run_until_idle().await?;
        let issue = store::issues::by_id(&app.db, id).await?;
        let issue = issue.context("the issue is gone")?;
        let articles = store::articles::of_issue(&app.db, id).await?;
        app.db.close().await;
        anyhow::Ok((Renderer::of(&app), newsletter, issue, articles))
    })?;
    let ids: Vec<_> = articles.iter().map(|article| article.id).collect();
    let render = || renderer.variant(&issue, &newsletter, &articles, "en", &ids);
    let encoded = render()?.encoded;
    let mut group = criterion.benchmark_group("mail");
    group.throughput(Throughput::Bytes(encoded.wire_bytes() as u64));
    group.bench_function("variant: render and encode", |bencher| {
        bencher.iter(|| black_box(render().map(|variant| variant.key)));
    });
    let token = "t".repeat(74);
    let slots = Slots {
        recipient: "reader@example.org",
        date: NOW,
        message_id: "0198c2d0-0000-7000-8000-000000000000.1@example.org",
        delivery: "0198c2d0-0000-7000-8000-000000000000.1",
        unsubscribe: Some(&token),
        preferences: Some(&token),
    };
    encoded.splice(&slots)?;
    group.bench_function("splice", |bencher| {
        bencher.iter(|| black_box(encoded.splice(black_box(&slots))));
    });
    group.finish();
    Ok(())
}

fn feed(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut items = String::new();
    for n in 0..100 {
        write!(
            items,
            "<item><title>Article number {n}</title><link>https://example.org/{n}</link><guid>{n}</guid>\
             <description>&lt;p&gt;Some words about {n}, and a few more.&lt;/p&gt;</description></item>"
        )?;
    }
    let text = format!("<rss version=\"2.0\"><channel><title>Site</title>{items}</channel></rss>");
    let body = Body {
        bytes: text.into(),
        url: "https://example.org/feed.xml".parse()?,
        content_type: Some("application/rss+xml".to_owned()),
        etag: None,
        last_modified: None,
    };
    parse(&body)?;
    let mut group = criterion.benchmark_group("feed");
    group.throughput(Throughput::Bytes(body.bytes.len() as u64));
    group.bench_function("parse 100 entries", |bencher| {
        bencher.iter(|| black_box(parse(black_box(&body)).is_ok()));
    });
    group.finish();
    Ok(())
}

fn next_slot(criterion: &mut Criterion) -> anyhow::Result<()> {
    let time = "07:00".parse().map_err(anyhow::Error::msg)?;
    let zone = "Europe/Berlin".parse().map_err(anyhow::Error::msg)?;
    // the last day of each month: the longest search
    let calendar = Calendar::new(Days::OfMonth(1), time, zone);
    criterion.bench_function("schedule/next monthly slot", |bencher| {
        bencher.iter(|| black_box(calendar.next_slot(black_box(NOW))));
    });
    Ok(())
}

/// A reader of five topics, and forty articles of which ten are new.
fn due_rule(criterion: &mut Criterion) -> anyhow::Result<()> {
    let topics: Vec<TopicId> = (1..=5_u128).map(id).collect::<anyhow::Result<_>>()?;
    let interests: Vec<_> = topics
        .iter()
        .map(|topic_id| Interest {
            topic_id: *topic_id,
            start_seq: 0,
            cadence: Cadence::Daily,
            given_seq: 30,
        })
        .collect();
    let mut released = Vec::new();
    for (seq, topic) in (1..=40_i64).zip(topics.iter().cycle()) {
        let article: ArticleId = id(1_000 + u128::try_from(seq)?)?;
        released.push(Released {
            seq,
            id: article,
            topics: vec![*topic],
        });
    }
    let reach = Reach {
        cadences: Cadences::NONE.with(Cadence::Daily),
        floor: 0,
        cutoff: 40,
    };
    criterion.bench_function("due/five topics", |bencher| {
        bencher.iter(|| black_box(due(black_box(&interests), &released, reach)));
    });
    Ok(())
}

fn id<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    number: u128,
) -> anyhow::Result<T> {
    let text = uuid::Uuid::from_u128(number).to_string();
    Ok(text.parse()?)
}
