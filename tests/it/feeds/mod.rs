//! Feeds and articles through the service's own functions: a site on loopback publishes, the service polls and releases.

use std::fmt::Write as _;
use std::time::Duration;

use paperround::app::App;
use paperround::config::FetchAllowance;
use paperround::feeds::add::{Added, FeedOptions, add};
use paperround::feeds::fetch::{FetchLimits, Fetcher};
use paperround::feeds::guard::{FetchPolicy, SystemLookup};
use paperround::feeds::refresh::{Refreshed, When, refresh};
use paperround::feeds::{Article, Feed, store};
use paperround::id::{FeedId, NewsletterId};
use paperround::newsletters::Cadence;
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::worker::scheduler::{poll_feeds_due, release_due};

use crate::support::TestApp;
use crate::support::feed_server::{Answer, FeedServer};

/// What changes while a feed is being read.
mod meanwhile;
/// Which entries are news, and which are articles that are known.
mod news;
/// When feeds are asked, and what happens when they do not answer as they should.
mod polling;
/// Articles that a site posts.
mod publishing;
/// Numbers: when they are given, in which order, and that none is given twice.
mod releasing;
/// What is stored of an entry: safe texts, pictures, topics.
mod texts;

/// A site, a newsletter and the feed that joins them.
struct Scene<'a> {
    app: &'a TestApp,
    site: FeedServer,
    fetcher: Fetcher,
    newsletter: NewsletterId,
    feed: FeedId,
}

/// An entry of the site's feed.
#[derive(Clone, Default)]
struct Item {
    guid: Option<String>,
    link: String,
    title: String,
    body: String,
    date: Option<&'static str>,
    /// More elements, as XML.
    more: String,
}

/// The article number `n` of the site.
fn item(n: usize) -> Item {
    Item {
        guid: Some(format!("http://site.example/?p={n}")),
        link: format!("http://site.example/{n}/"),
        title: format!("Article {n}"),
        body: format!("<p>What happened in case {n}.</p>"),
        ..Item::default()
    }
}

/// The articles with these numbers, in this order.
fn items(numbers: impl IntoIterator<Item = usize>) -> Vec<Item> {
    numbers.into_iter().map(item).collect()
}

fn rss(items: &[Item]) -> String {
    let mut xml = "<?xml version='1.0'?><rss version='2.0' xmlns:content='http://purl.org/rss/1.0/modules/content/' \
                   xmlns:media='http://search.yahoo.com/mrss/'><channel><title>Site</title><link>https://site.example/</link>"
        .to_owned();
    for item in items {
        let guid = item.guid.iter().map(|guid| format!("<guid>{guid}</guid>"));
        let date = item
            .date
            .iter()
            .map(|date| format!("<pubDate>{date}</pubDate>"));
        let extra: String = guid.chain(date).collect();
        write!(
            xml,
            "<item><title>{}</title><link>{}</link>{extra}{}<content:encoded><![CDATA[{}]]></content:encoded></item>",
            item.title, item.link, item.more, item.body
        )
        .unwrap();
    }
    xml + "</channel></rss>"
}

async fn newsletter(app: &App) -> NewsletterId {
    let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
    let new = NewNewsletter {
        slug: "world".parse().unwrap(),
        name: "World".to_owned(),
        description: String::new(),
        from_name: "World".to_owned(),
        from_address: "world@example.org".to_owned(),
        reply_to: None,
        postal_address: None,
        locale: "en".to_owned(),
        schedule: NewSchedule::usual(Cadence::Daily, time, zone),
        form_origins: Vec::new(),
    };
    add::newsletter(app, new).await.unwrap().id
}

fn fetcher_for(site: &FeedServer) -> Fetcher {
    let loopback = FetchAllowance::Network("127.0.0.1/32".parse().unwrap());
    let policy = FetchPolicy::new(&[loopback, FetchAllowance::Port(site.port)]);
    let limits = FetchLimits::default();
    Fetcher::new(
        policy,
        limits,
        std::sync::Arc::new(SystemLookup),
        "https://news.example",
    )
    .unwrap()
}

impl<'a> Scene<'a> {
    /// A newsletter with a feed that had `items` when it was added.
    async fn with(app: &'a TestApp, items: &[Item]) -> Self {
        let site = FeedServer::start().await;
        site.set("/feed", Answer::ok(rss(items)));
        let newsletter = newsletter(app).await;
        let fetcher = fetcher_for(&site);
        let mut scene = Self {
            app,
            site,
            fetcher,
            newsletter,
            feed: uuid::Uuid::nil().into(),
        };
        scene.feed = scene.add("/feed").await.feed.id;
        scene
    }

    async fn add(&self, path: &str) -> Added {
        let address = self.site.url(path).to_string();
        add(
            self.app,
            &self.fetcher,
            self.newsletter,
            &address,
            FeedOptions::default(),
        )
        .await
        .unwrap()
    }

    /// From now on the feed has these entries.
    fn publish(&self, items: &[Item]) {
        self.site.set("/feed", Answer::ok(rss(items)));
    }

    async fn feed(&self) -> Feed {
        store::feed(&self.app.db, self.feed).await.unwrap().unwrap()
    }

    /// Reads the feed now.
    async fn read(&self) -> Refreshed {
        refresh(self.app, &self.fetcher, self.feed, When::Now)
            .await
            .unwrap()
    }

    /// How many entries the feed brings that were never seen.
    async fn count_new(&self) -> usize {
        match self.read().await {
            Refreshed::Read(saved) => saved.new,
            other => panic!("the feed was not read: {other:?}"),
        }
    }

    /// Time passes, and the scheduler does what is due.
    async fn after(&self, span: Duration) {
        self.app.time.advance(span);
        poll_feeds_due(self.app, &self.fetcher).await.unwrap();
        release_due(self.app).await.unwrap();
    }

    /// All articles, the oldest first.
    async fn articles(&self) -> Vec<Article> {
        let mut articles = store::articles(&self.app.db, self.newsletter, None, 10_000)
            .await
            .unwrap();
        articles.reverse();
        articles
    }

    /// The titles of what was released, by number.
    async fn released(&self) -> Vec<(i64, String)> {
        let ready = store::ready_after(&self.app.db, self.newsletter, 0, i64::MAX)
            .await
            .unwrap();
        ready
            .into_iter()
            .map(|article| (article.seq.unwrap(), article.title))
            .collect()
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}
