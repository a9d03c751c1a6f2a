//! From a site's feed over HTTP to the mails at a relay, driven by schedules and a clock that the tests move.
//!
//! Tests that are named `check_NN` stand for failures that other systems are known for.

use std::fmt::Write as _;
use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::feeds::add::{FeedOptions, add as add_feed};
use paperround::issues::{Issue, store};
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::slots::{self, SettledSlot};
use paperround::newsletters::{Cadence, Calendar, Newsletter};
use paperround::worker;

use crate::support::feed_server::{Answer, FeedServer};
use crate::support::http::Site;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, TestApp};

/// Which articles come in which issue.
mod articles;
/// Sites that do not answer.
mod beside;
/// Which slots make an issue, and that each makes one.
mod calendar;
/// Issues that cannot be made at first.
mod failing;
/// Every article, every reader: each once, whatever happens on the way.
mod season;

/// How a scene begins.
struct Setup {
    /// What the clock shows when the newsletter is made.
    begin: &'static str,
    zone: &'static str,
    time: &'static str,
    /// Entries that the feed has when it is added.
    known: usize,
    cool_off: Duration,
}

impl Default for Setup {
    /// Daily at 07:00 in Berlin, which is 05:00 UTC in summer.
    fn default() -> Self {
        Self {
            begin: "2026-07-07T05:00:00Z",
            zone: "Europe/Berlin",
            time: "07:00",
            known: 0,
            cool_off: Duration::ZERO,
        }
    }
}

/// A site with a feed, a newsletter with a daily schedule, its readers, and the relay that takes their mails.
struct Scene {
    app: TestApp,
    site: FeedServer,
    relay: SmtpServer,
    web: Site,
    newsletter: Newsletter,
}

impl Scene {
    async fn open(engine: Engine, setup: Setup) -> Self {
        let (site, relay) = (FeedServer::start().await, SmtpServer::start().await);
        let settings = [
            ("fetch.allow", format!("127.0.0.0/8, {}", site.port)),
            ("smtp.url", format!("smtp://127.0.0.1:{}", relay.port())),
            ("smtp.tls", "none".to_owned()),
        ];
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let app = TestApp::start_with(engine, &settings).await;
        app.time.set(instant(setup.begin));
        let newsletter = newsletter(&app, &setup).await;
        let web = app.serve().await;
        let scene = Self {
            app,
            site,
            relay,
            web,
            newsletter,
        };
        scene.publish(1..=setup.known);
        let options = FeedOptions {
            cool_off: setup.cool_off,
            ..FeedOptions::default()
        };
        let (app, url) = (&scene.app, scene.site.url("/feed").to_string());
        let added = add_feed(app, &app.fetcher, scene.newsletter.id, &url, options).await;
        assert_eq!(added.unwrap().known, setup.known);
        scene
    }

    async fn close(self) {
        self.work().await;
        let open: Vec<_> = self.app.rows_of("delivery").await;
        let ends = [" sent ", " skipped ", " failed expired"];
        let ended = |row: &String| ends.iter().any(|end| row.contains(end));
        assert!(open.iter().all(ended), "the queue is idle: {open:?}");
        assert!(self.relay.accepted().len() > 1, "mails came");
        self.web.stop().await;
        self.app.finish().await;
    }

    /// From now on the feed has the articles with these numbers.
    fn publish(&self, numbers: impl IntoIterator<Item = usize>) {
        self.publish_dated(numbers.into_iter().map(|number| (number, "")));
    }

    /// The same with a `pubDate` for each that is not empty.
    fn publish_dated<'a>(&self, articles: impl IntoIterator<Item = (usize, &'a str)>) {
        let mut items = String::new();
        for (n, date) in articles {
            write!(
                items,
                "<item><title>Article {n}</title><link>https://site.example/article-{n:03}</link>\
                 <guid>{n}</guid><pubDate>{date}</pubDate><description>About {n}.</description></item>"
            )
            .unwrap();
        }
        let items = items.replace("<pubDate></pubDate>", "");
        let feed =
            format!("<rss version='2.0'><channel><title>Site</title>{items}</channel></rss>");
        self.site.set("/feed", Answer::ok(feed));
    }

    /// A reader who signs up by the form, confirms and is welcomed.
    async fn reader(&self, email: &str, cadence: Cadence) {
        self.app.time.advance(Duration::from_millis(1));
        let form = [("email", email), ("cadence", cadence.as_str())];
        let answer = self.web.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let token = self.app.confirm_token(email).await;
        let answer = self.web.post(&format!("/confirm/{token}"), &[]).await;
        answer.assert_status(200);
        self.work().await;
    }

    async fn schedule(&self, cadence: Cadence, time: &str, zone: &str) {
        let new = NewSchedule::usual(cadence, time.parse().unwrap(), zone.parse().unwrap());
        add::schedule(&self.app, self.newsletter.id, new)
            .await
            .unwrap();
    }

    /// The clock shows `time`, and the worker does what is to be done.
    async fn at(&self, time: &str) {
        self.app.time.set(instant(time));
        self.work().await;
    }

    /// The worker does what is to be done now.
    async fn work(&self) {
        let worker = worker::prepare(self.app.app.clone()).await.unwrap();
        worker.run_until_idle().await.unwrap();
    }

    /// The articles of each digest that this reader got, in the order of the mails; within a mail by number.
    fn digests(&self, email: &str) -> Vec<Vec<usize>> {
        let accepted = self.relay.accepted();
        let theirs = accepted.iter().filter(|mail| mail.recipient == email);
        theirs.filter_map(|mail| articles_in(&mail.raw)).collect()
    }

    async fn issues(&self) -> Vec<Issue> {
        let issues = store::issues::of_newsletter(&self.app.db, self.newsletter.id, None, 5000);
        issues.await.unwrap()
    }

    /// The settled slots, oldest first.
    async fn slots(&self) -> Vec<SettledSlot> {
        let mut recent = slots::recent(&self.app.db, self.newsletter.id, 5000)
            .await
            .unwrap();
        recent.reverse();
        recent
    }
}

async fn newsletter(app: &TestApp, setup: &Setup) -> Newsletter {
    newsletter_named(app, setup, "world").await
}

async fn newsletter_named(app: &TestApp, setup: &Setup, slug: &str) -> Newsletter {
    let (time, zone) = (setup.time.parse().unwrap(), setup.zone.parse().unwrap());
    let calendar = Calendar::new("all".parse().unwrap(), time, zone);
    let new = NewNewsletter {
        slug: slug.parse().unwrap(),
        name: "World".to_owned(),
        description: String::new(),
        from_name: "World".to_owned(),
        from_address: "world@example.org".to_owned(),
        reply_to: None,
        postal_address: Some("1 Main Street\nSpringfield".to_owned()),
        locale: "en".to_owned(),
        schedule: NewSchedule::new(Cadence::Daily, calendar),
        form_origins: Vec::new(),
    };
    add::newsletter(app, new).await.unwrap()
}

/// The numbers of the articles in a digest, sorted; `None` for another mail. Both parts have the same.
fn articles_in(raw: &[u8]) -> Option<Vec<usize>> {
    let mail = mail_parser::MessageParser::default().parse(raw).unwrap();
    // notices are no bulk mail, and name no list
    mail.header_raw("List-Id")?;
    let found = |part: &str| {
        let parts = part.split("/article-").skip(1);
        let mut found: Vec<usize> = parts.map(|rest| rest[..3].parse().unwrap()).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let text = found(&mail.body_text(0).unwrap());
    assert_eq!(text, found(&mail.body_html(0).unwrap()));
    Some(text).filter(|numbers| !numbers.is_empty())
}

fn instant(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// Makes `name::sqlite` and, with the feature `test-postgres`, `name::postgres` of one body.
macro_rules! scheduled_test {
    ($name:ident, $setup:expr, async |$scene:ident: &Scene| $body:block) => {
        mod $name {
            use super::*;

            async fn body($scene: &Scene) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let scene = Scene::open($crate::support::Engine::Sqlite, $setup).await;
                body(&scene).await;
                scene.close().await;
            }

            #[cfg(feature = "test-postgres")]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let scene = Scene::open($crate::support::Engine::Postgres, $setup).await;
                body(&scene).await;
                scene.close().await;
            }
        }
    };
}
use scheduled_test;
