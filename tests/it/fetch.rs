//! Fetching and reading feeds from sites that are broken, slow, huge or hostile. Each limit is met over real HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::config::FetchAllowance;
use paperround::feeds::fetch::{FetchError, FetchLimits, Fetched, Fetcher, Fresh, Request};
use paperround::feeds::guard::{FetchPolicy, Lookup, LookupFuture, Refused, SystemLookup};
use paperround::feeds::parse::{ParseError, ParsedFeed, parse};
use url::Url;

use crate::support::feed_server::{Answer, FeedServer};

const FEED: &str = r#"<?xml version="1.0"?><rss version="2.0"><channel><title>Site</title>
    <item><guid>1</guid><link>https://site.example/1</link><title>One &lt;script&gt;alert(1)&lt;/script&gt;</title></item>
    </channel></rss>"#;

/// Limits small enough that a test meets them at once.
const LIMITS: FetchLimits = FetchLimits {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(5),
    whole: Duration::from_secs(10),
    wire_bytes: 1 << 20,
    decoded_bytes: 2 << 20,
    redirects: 5,
};

/// A site, and a client that may reach it.
struct Scene {
    site: FeedServer,
    fetcher: Fetcher,
}

async fn scene() -> Scene {
    scene_with(LIMITS).await
}

async fn scene_with(limits: FetchLimits) -> Scene {
    let site = FeedServer::start().await;
    let policy = policy(
        FetchAllowance::Network("127.0.0.1/32".parse().unwrap()),
        &site,
    );
    Scene {
        fetcher: fetcher(policy, limits, Arc::new(SystemLookup)),
        site,
    }
}

fn policy(allowance: FetchAllowance, site: &FeedServer) -> FetchPolicy {
    FetchPolicy::new(&[allowance, FetchAllowance::Port(site.port)])
}

fn fetcher(policy: FetchPolicy, limits: FetchLimits, lookup: Arc<dyn Lookup>) -> Fetcher {
    Fetcher::new(policy, limits, lookup, "https://news.example/about").unwrap()
}

impl Scene {
    /// Fetches `/feed` after it was told to give `answer`.
    async fn get(&self, answer: Answer) -> Result<Fetched, FetchError> {
        self.site.set("/feed", answer);
        fetch(&self.fetcher, &self.site.url("/feed")).await
    }

    async fn read(&self, answer: Answer) -> Result<ParsedFeed, ParseError> {
        match self.get(answer).await.unwrap().content {
            Fresh::Body(body) => parse(&body),
            Fresh::NotModified => unreachable!("nothing was fetched before"),
        }
    }
}

async fn fetch(fetcher: &Fetcher, url: &Url) -> Result<Fetched, FetchError> {
    let request = Request {
        url,
        etag: None,
        last_modified: None,
    };
    fetcher.get(request, Timestamp::UNIX_EPOCH).await
}

#[tokio::test]
async fn a_feed_comes_with_its_validators_and_they_go_back_as_they_came() {
    let scene = scene().await;
    let answer = Answer::ok(FEED)
        .header("etag", "W/\"a-gzip\"")
        .header("last-modified", "yesterday, about noon")
        .header("cache-control", "max-age=600")
        .gzip();
    let fetched = scene.get(answer).await.unwrap();
    assert_eq!(fetched.max_age, Some(Duration::from_mins(10)));
    let Fresh::Body(body) = fetched.content else {
        panic!("a body was expected")
    };
    assert_eq!(&body.bytes[..], FEED.as_bytes());
    let url = scene.site.url("/feed");
    let again = Request {
        url: &url,
        etag: body.etag.as_deref(),
        last_modified: body.last_modified.as_deref(),
    };
    let fetched = scene
        .fetcher
        .get(again, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    assert!(matches!(fetched.content, Fresh::NotModified));
    let asked = &scene.site.asked("/feed")[1];
    assert_eq!(asked["if-none-match"], "W/\"a-gzip\"");
    assert_eq!(asked["if-modified-since"], "yesterday, about noon");
    let agent = asked["user-agent"].to_str().unwrap();
    assert!(agent.starts_with("paperround/") && agent.ends_with("(+https://news.example/about)"));
}

#[tokio::test]
async fn f1_a_feed_that_stalls_is_given_up_in_time() {
    let soon = Duration::from_millis(200);
    let scene = scene_with(FetchLimits {
        whole: soon,
        ..LIMITS
    })
    .await;
    let error = scene.get(Answer::ok("<rss>").stalling()).await.unwrap_err();
    assert!(
        matches!(error, FetchError::TooSlow("the answer", _)),
        "{error}"
    );
    let scene = scene_with(FetchLimits {
        connect: soon,
        first_byte: soon,
        ..LIMITS
    })
    .await;
    let error = scene
        .get(Answer::ok(FEED).delayed(Duration::from_mins(1)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, FetchError::TooSlow("the first byte", _)),
        "{error}"
    );
}

#[tokio::test]
async fn f2_a_huge_or_endless_body_is_cut_at_the_limit() {
    let scene = scene().await;
    for answer in [
        Answer::ok(vec![b'x'; 50 << 20]),
        Answer::ok(vec![b'x'; 8192]).endless(),
    ] {
        let error = scene.get(answer).await.unwrap_err();
        assert!(
            matches!(error, FetchError::TooLarge("the answer", _)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn f3_a_compression_bomb_is_cut_at_the_decoded_limit() {
    let scene = scene().await;
    let error = scene
        .get(Answer::ok(vec![0; 100 << 20]).gzip())
        .await
        .unwrap_err();
    assert!(
        matches!(error, FetchError::TooLarge("the unpacked feed", _)),
        "{error}"
    );
    let nested = Answer::ok(FEED)
        .gzip()
        .gzip()
        .header("content-encoding", "gzip, gzip");
    let error = scene.get(nested).await.unwrap_err();
    assert!(matches!(error, FetchError::Encoding(_)), "{error}");
    let cut_off = Answer::ok(&b"\x1f\x8b\x08"[..]).header("content-encoding", "gzip");
    assert!(matches!(
        scene.get(cut_off).await.unwrap_err(),
        FetchError::Encoding(_)
    ));
    // Empty members of gzip are no bytes when decoded, and bytes on the wire all the same.
    let empty = Answer::ok("").gzip().endless();
    assert!(matches!(
        scene.get(empty).await.unwrap_err(),
        FetchError::TooLarge("the answer", _)
    ));
}

#[tokio::test]
async fn f4_redirects_are_followed_five_times_and_judged_each_time() {
    let scene = scene().await;
    let error = scene.get(Answer::redirect(302, "/feed")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooManyRedirects(5)), "{error}");
    assert_eq!(scene.site.asked("/feed").len(), 6);
    for to in [
        "file:///etc/passwd",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:22/",
    ] {
        let error = scene.get(Answer::redirect(301, to)).await.unwrap_err();
        assert!(matches!(error, FetchError::Refused(_)), "{to}: {error}");
    }
    assert!(matches!(
        scene.get(Answer::status(302)).await.unwrap_err(),
        FetchError::BadRedirect
    ));
}

#[tokio::test]
async fn f4_an_allowed_host_cannot_redirect_to_an_address_that_is_not_allowed() {
    let site = FeedServer::start().await;
    let policy = policy(FetchAllowance::Host("localhost".to_owned()), &site);
    let fetcher = fetcher(policy, LIMITS, Arc::new(SystemLookup));
    let named = Url::parse(&format!("http://localhost:{}/feed", site.port)).unwrap();
    site.set("/feed", Answer::ok(FEED));
    assert!(fetch(&fetcher, &named).await.is_ok());
    site.set("/feed", Answer::redirect(302, site.url("/inside")));
    site.set("/inside", Answer::ok("secret"));
    let error = fetch(&fetcher, &named).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Refused(Refused::Address(..))),
        "{error}"
    );
    assert!(site.asked("/inside").is_empty());
}

#[tokio::test]
async fn permanent_redirects_are_told_from_passing_ones() {
    let scene = scene().await;
    scene.site.set("/new", Answer::ok(FEED));
    scene.site.set("/newer", Answer::redirect(302, "/new"));
    for status in [301, 308] {
        let moved = scene
            .get(Answer::redirect(status, "/newer#x"))
            .await
            .unwrap();
        assert_eq!(moved.moved_to, Some(scene.site.url("/newer")));
    }
    for status in [302, 303, 307] {
        assert_eq!(
            scene
                .get(Answer::redirect(status, "/new"))
                .await
                .unwrap()
                .moved_to,
            None
        );
    }
}

/// Answers with a public address at first and with the loopback from then on.
#[derive(Default)]
struct Rebinding(AtomicUsize);

impl Lookup for Rebinding {
    fn addresses(&self, _: String) -> LookupFuture {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let address: IpAddr = if first {
            [203, 0, 114, 1].into()
        } else {
            [127, 0, 0, 1].into()
        };
        Box::pin(async move { Ok(vec![address]) })
    }
}

#[tokio::test]
async fn f5_a_name_is_judged_by_the_address_that_is_connected_to() {
    let site = FeedServer::start().await;
    site.set("/feed", Answer::ok("secret"));
    let policy = FetchPolicy {
        ports: vec![site.port],
        ..FetchPolicy::default()
    };
    let lookup = Arc::new(Rebinding(AtomicUsize::new(1)));
    let fetcher = fetcher(policy, LIMITS, lookup.clone());
    let url = Url::parse(&format!("http://evil.example:{}/feed", site.port)).unwrap();
    let error = fetch(&fetcher, &url).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Refused(Refused::Address(..))),
        "{error}"
    );
    assert!(site.asked("/feed").is_empty());
    assert_eq!(
        lookup.0.load(Ordering::SeqCst),
        2,
        "one lookup serves both check and connection"
    );
}

#[tokio::test]
async fn f6_what_is_no_feed_says_what_it_is() {
    let scene = scene().await;
    for (body, sentence) in [
        ("", "the answer is empty"),
        (" \n ", "the answer is empty"),
        ("Fatal error: out of memory", "neither XML nor JSON"),
        ("<?xml version='1.0'?><svg></svg>", "XML of another kind"),
        ("{\"a\": 1}", "JSON of another kind"),
        (
            "<rss version='2.0'><channel><item><title>a & b</title></item></chanel></rss>",
            "the feed is broken",
        ),
        (
            "<!DOCTYPE html><html><p>Just a moment...",
            "a web page, not a feed; look for",
        ),
        (
            "<html><link rel=alternate type=application/rss+xml href=/feed/ title=News>",
            "/feed/",
        ),
    ] {
        let error = scene.read(Answer::ok(body)).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{body}: {error}");
    }
}

#[tokio::test]
async fn f6_a_charset_that_lies_is_an_error_and_a_declared_one_is_obeyed() {
    let scene = scene().await;
    let latin = |declared: &str| {
        let head = format!("<?xml version=\"1.0\" encoding=\"{declared}\"?>");
        let feed = [
            head.as_bytes(),
            b"<rss version=\"2.0\"><channel><title>Caf\xe9</title></channel></rss>",
        ]
        .concat();
        Answer::ok(feed)
    };
    assert_eq!(scene.read(latin("ISO-8859-1")).await.unwrap().title, "Café");
    let error = scene.read(latin("UTF-8")).await.unwrap_err();
    assert!(matches!(error, ParseError::Broken(_)), "{error}");
}

#[tokio::test]
async fn f6_not_modified_without_anything_to_compare_is_an_error() {
    let scene = scene().await;
    let error = scene.get(Answer::status(304)).await.unwrap_err();
    assert!(matches!(error, FetchError::NothingToCompare), "{error}");
}

#[tokio::test]
async fn f7_bombs_of_entities_depth_and_attributes_cost_little() {
    let scene = scene_with(FetchLimits::default()).await;
    let entities = (1..30).fold("<!ENTITY e0 'lol'>".to_owned(), |all, n| {
        format!(
            "{all}<!ENTITY e{n} '{}'>",
            format!("&e{};", n - 1).repeat(10)
        )
    });
    let bomb = format!(
        "<!DOCTYPE rss [{entities}]><rss version='2.0'><channel><title>&e29;</title></channel></rss>"
    );
    let (began, before) = (tokio::time::Instant::now(), most_memory());
    // entities are left as they are written
    let feed = scene.read(Answer::ok(bomb)).await.unwrap();
    assert_eq!(feed.title, "&e29;");
    let deep = format!(
        "<rss version='2.0'><channel>{}",
        "<media:group>".repeat(100_000)
    );
    let wide = " a=''".repeat(1_000_000);
    for bomb in [
        deep,
        format!("<rss version='2.0'{wide}/>"),
        format!("<feed>{}", "<a xmlns:b='c'>".repeat(100_000)),
    ] {
        let error = scene.read(Answer::ok(bomb)).await.unwrap_err();
        assert!(matches!(error, ParseError::TooComplex(_)), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "they take time");
    // other tests of this process are in it too; each of the bombs would unfold to far more
    let grown = most_memory() - before;
    assert!(grown < 1 << 20, "they take {grown} KB");
}

/// The most memory that this process ever had, in KB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn f9_busy_and_gone_are_told_apart_and_retry_after_is_read() {
    let scene = scene().await;
    for status in [429, 503] {
        let error = scene
            .get(Answer::status(status).header("retry-after", "120"))
            .await
            .unwrap_err();
        let expect = Some(Duration::from_mins(2));
        assert!(
            matches!(error, FetchError::Busy { retry_after, .. } if retry_after == expect),
            "{error}"
        );
    }
    let dated = Answer::status(503).header("retry-after", "Thu, 01 Jan 1970 00:10:00 GMT");
    let error = scene.get(dated).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Busy { retry_after: Some(after), .. } if after.as_secs() == 600),
        "{error}"
    );
    assert!(matches!(
        scene.get(Answer::status(410)).await.unwrap_err(),
        FetchError::Gone
    ));
    assert!(matches!(
        scene.get(Answer::status(500)).await.unwrap_err(),
        FetchError::Status(500)
    ));
}

#[tokio::test]
async fn entries_of_each_format_are_read_alike() {
    let scene = scene().await;
    let rss = scene.read(Answer::ok(FEED)).await.unwrap();
    assert_eq!(
        (rss.title.as_str(), rss.entries[0].guid.as_deref()),
        ("Site", Some("1"))
    );
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom'><title>Site</title><entry><id>1</id><link href='1'/><title>One</title>
        <updated>2027-01-01T00:00:00Z</updated></entry></feed>";
    let json = r#"{"version": "https://jsonfeed.org/version/1.1", "title": "Site",
        "items": [{"id": "1", "url": "1", "title": "One", "date_published": "2027-01-01T00:00:00Z"}]}"#;
    for body in [atom, json] {
        let feed = scene.read(Answer::ok(body)).await.unwrap();
        let entry = &feed.entries[0];
        assert_eq!(
            (feed.title.as_str(), entry.guid.as_deref()),
            ("Site", Some("1"))
        );
        assert_eq!(entry.url.as_ref(), Some(&scene.site.url("/1")));
        assert_eq!(
            entry.published_at.map(Timestamp::as_seconds),
            Some(1_798_761_600)
        );
    }
}

#[tokio::test]
async fn a_thumbnail_on_its_own_is_not_lost_and_an_entry_without_id_has_none() {
    let scene = scene().await;
    let feed = "<rss version='2.0' xmlns:media='http://search.yahoo.com/mrss/'><channel><item><title>x</title>
        <media:thumbnail url='https://site.example/a.jpg' width='240'/></item></channel></rss>";
    let feed = scene.read(Answer::ok(feed)).await.unwrap();
    assert_eq!(feed.entries[0].guid, None);
    assert_eq!(feed.entries[0].images[0].url, "https://site.example/a.jpg");
}
