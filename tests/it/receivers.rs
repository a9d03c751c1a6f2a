//! A feed of ten articles to imported readers, through SMTP servers that others wrote.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mail_parser::MessageParser;
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
const READERS: usize = 1000;

fn feed(articles: usize) -> Answer {
    let mut items = String::new();
    for n in 0..articles {
        write!(
            items,
            "<item><title>Article number {n}</title><link>https://example.org/article-{n:03}</link><guid>{n}</guid>\
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

/// A mail as a foreign server took it.
struct Taken {
    recipient: String,
    is_secure: bool,
    raw: Vec<u8>,
}

/// What stands in the files of the folder.
fn taken(record: &Path) -> Vec<Taken> {
    let files = std::fs::read_dir(record).unwrap();
    let mails = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let taken = mails.map(|raw| {
        let head: String = raw.iter().take(400).copied().map(char::from).collect();
        let mut recipients = head
            .lines()
            .filter_map(|line| line.strip_prefix("X-Rcpt-Args: <")?.split('>').next());
        let recipient = recipients.next().expect("a recipient").to_owned();
        assert_eq!(recipients.next(), None, "one recipient for each mail");
        Taken {
            recipient,
            is_secure: head.contains("X-Secure: True"),
            raw,
        }
    });
    taken.collect()
}

/// The articles of a part, in their order.
fn articles(part: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for rest in part.split("/article-").skip(1) {
        let number = rest[..3].parse().unwrap();
        if found.last() != Some(&number) {
            found.push(number);
        }
    }
    found
}

/// Each of `readers` exactly once, with all the articles, and a way out of their own.
fn assert_each_once(taken: &[Taken], readers: usize) {
    let recipients: BTreeSet<_> = taken.iter().map(|mail| mail.recipient.clone()).collect();
    let list: BTreeSet<_> = (0..readers)
        .map(|n| format!("reader{n}@example.org"))
        .collect();
    assert_eq!(recipients, list, "the recipients are the list");
    assert_eq!(taken.len(), readers, "each once");
    let mut ways_out = BTreeSet::new();
    let expected: Vec<usize> = (0..ARTICLES).collect();
    for Taken { recipient, raw, .. } in taken {
        let mail = MessageParser::default().parse(raw).expect("a mail");
        let to = mail.to().and_then(|to| to.first()?.address.as_deref());
        assert_eq!(to, Some(recipient.as_str()));
        let text = articles(&mail.body_text(0).expect("a text part"));
        assert_eq!(text, articles(&mail.body_html(0).expect("an HTML part")));
        let mut each = text;
        each.sort_unstable();
        assert_eq!(each, expected, "{recipient}");
        let header = mail.header_raw("List-Unsubscribe").expect("a way out");
        let header: String = header.split_whitespace().collect();
        assert!(header.contains("/unsubscribe/"), "{header}");
        assert!(
            ways_out.insert(header),
            "{recipient} has a way out of their own"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smtp_sink_is_given_each_reader_once() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Foreign::smtp_sink(folder.path()).await;
    let url = format!("smtp://127.0.0.1:{}", sink.port);
    let (app, _site) = ready(READERS, &[("smtp.url", &url), ("smtp.tls", "none")]).await;
    send(&app).await;
    assert_each_once(&taken(&sink.record), READERS);
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
    let (app, _site) = ready(READERS, &settings).await;
    send(&app).await;
    let taken = taken(&receiver.record);
    assert_each_once(&taken, READERS);
    assert!(
        taken.iter().all(|mail| mail.is_secure),
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
    assert!(taken(&receiver.record).is_empty());
    app.finish().await;
}
