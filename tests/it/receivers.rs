//! A feed of ten articles to imported readers, through SMTP servers that others wrote.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use paperround::feeds::add::{FeedOptions, add};
use paperround::feeds::refresh::{When, refresh};
use paperround::issues::compose::{Created, create_manual};
use paperround::issues::manual::ManualIssue;
use paperround::{feeds, worker};

use crate::support::feed_server::{Answer, FeedServer};
use crate::support::receivers::Foreign;
use crate::support::smtp_server::Authority;
use crate::support::{Engine, Program, TestApp};

const ARTICLES: usize = 10;

fn feed(articles: usize) -> Answer {
    let mut items = String::new();
    for n in 0..articles {
        write!(
            items,
            "<item><title>Article number {n}</title><link>https://example.org/{n}</link><guid>{n}</guid>\
             <description>Some words about {n}.</description></item>"
        )
        .unwrap();
    }
    Answer::ok(format!(
        "<rss version=\"2.0\"><channel><title>Site</title>{items}</channel></rss>"
    ))
}

/// An app whose newsletter has `readers` and a feed that has just published ten articles.
async fn ready(readers: usize, settings: &[(&str, &str)]) -> (TestApp, FeedServer) {
    let site = FeedServer::start().await;
    site.set("/feed.xml", feed(0));
    let port = site.url("/").port().unwrap().to_string();
    let mut all = vec![("fetch.allow", format!("127.0.0.0/8, {port}"))];
    all.extend(
        settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned())),
    );
    let all: Vec<_> = all
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let app = TestApp::start_with(Engine::Sqlite, &all).await;
    let newsletter = app.newsletter("world").await;
    let options = FeedOptions {
        cool_off: Duration::ZERO,
        ..FeedOptions::default()
    };
    let added = add(
        &app,
        &app.fetcher,
        newsletter.id,
        site.url("/feed.xml").as_str(),
        options,
    )
    .await
    .unwrap();

    let list: Vec<_> = (0..readers)
        .map(|n| format!("reader{n}@example.org"))
        .collect();
    let path = app.folder().join("readers.csv");
    std::fs::write(&path, format!("email\n{}\n", list.join("\n"))).unwrap();
    Program::of(&app)
        .run(&["import", path.to_str().unwrap()])
        .expect(0);

    site.set("/feed.xml", feed(ARTICLES));
    app.time.advance(Duration::from_mins(20));
    refresh(&app, &app.fetcher, added.feed.id, When::Now)
        .await
        .unwrap();
    assert_eq!(
        feeds::release::release_due(&app.db, app.now())
            .await
            .unwrap(),
        ARTICLES
    );
    let issue = ManualIssue::default().issue(&app, &newsletter, true);
    assert!(matches!(
        create_manual(&app, issue).await.unwrap(),
        Created::Issue(_)
    ));
    (app, site)
}

async fn send(app: &TestApp) {
    let work = worker::prepare(app.app.clone()).await.unwrap();
    let idle = tokio::time::timeout(Duration::from_mins(4), work.run_until_idle());
    idle.await.expect("it comes to an end").unwrap();
}

/// Each of `readers` exactly once.
fn assert_each_once(recipients: &[String], readers: usize) {
    let mut times = BTreeMap::<&str, usize>::new();
    for recipient in recipients {
        *times.entry(recipient.as_str()).or_default() += 1;
    }
    assert_eq!(times.len(), readers, "the recipients are the list");
    for n in 0..readers {
        assert_eq!(
            times.get(format!("reader{n}@example.org").as_str()),
            Some(&1),
            "reader{n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smtp_sink_is_given_each_reader_once() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Foreign::smtp_sink(folder.path()).await;
    let url = format!("smtp://127.0.0.1:{}", sink.port);
    let (app, _site) = ready(1000, &[("smtp.url", &url), ("smtp.tls", "none")]).await;
    send(&app).await;
    let mut dump = String::new();
    for file in std::fs::read_dir(&sink.record).unwrap() {
        dump.push_str(&std::fs::read_to_string(file.unwrap().path()).expect("mails are ASCII"));
    }
    let recipients: Vec<_> = dump
        .lines()
        .filter_map(|line| line.strip_prefix("X-Rcpt-Args: <")?.split('>').next())
        .map(str::to_owned)
        .collect();
    assert_each_once(&recipients, 1000);
    assert!(dump.contains("Article number 9"), "the articles are in it");
    app.finish().await;
}

async fn through_aiosmtpd(mode: &str, scheme: &str) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.files_for("127.0.0.1", folder.path());
    let receiver = Foreign::aiosmtpd(folder.path(), mode, &certificate, &key).await;
    let url = format!("{scheme}://reader@127.0.0.1:{}", receiver.port);
    let ca = authority.pem_file().to_str().unwrap();
    let settings = [
        ("smtp.url", url.as_str()),
        ("smtp.password", "paper round"),
        ("smtp.ca_file", ca),
    ];
    let (app, _site) = ready(200, &settings).await;
    send(&app).await;
    let ledger = std::fs::read_to_string(&receiver.record).unwrap();
    let recipients: Vec<_> = ledger
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_each_once(&recipients, 200);
    assert!(
        ledger.lines().all(|line| line.ends_with(" True")),
        "nothing came in clear"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiosmtpd_is_given_each_reader_once_after_starttls_and_sign_in() {
    through_aiosmtpd("starttls", "smtp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiosmtpd_is_given_each_reader_once_over_tls_and_sign_in() {
    through_aiosmtpd("tls", "smtps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.files_for("127.0.0.1", folder.path());
    let receiver = Foreign::aiosmtpd(folder.path(), "tls", &certificate, &key).await;
    let url = format!("smtps://reader@127.0.0.1:{}", receiver.port);
    let ca = authority.pem_file().to_str().unwrap();
    let settings = [
        ("smtp.url", url.as_str()),
        ("smtp.password", "wrong"),
        ("smtp.ca_file", ca),
    ];
    let (app, _site) = ready(20, &settings).await;
    send(&app).await;
    assert_eq!(
        std::fs::read_to_string(&receiver.record).unwrap_or_default(),
        ""
    );
    app.finish().await;
}
