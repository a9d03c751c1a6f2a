//! When are two entries the same article? Feeds change every part of an entry at some time, so an article is known by
//! a set of keys, and any of them is enough.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use url::Url;

use super::entry::Entry;
use crate::id::ArticleId;
use crate::text_enum;

text_enum! {
    /// What a key is made of, the most telling first.
    pub enum KeyKind {
        /// The id that an article was posted under.
        External = "external",
        /// The RSS guid, Atom id or JSON Feed id.
        Guid = "guid",
        /// The normalised address: [`normalize_url`].
        Url = "url",
        /// The number behind `?p=` of a WordPress site, with the site.
        WpId = "wp_id",
        /// Title, day and text.
        Fingerprint = "fingerprint",
    }
}

/// One key of an article. Unique per newsletter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is made of.
    pub kind: KeyKind,
    /// Its value.
    pub value: String,
}

impl Key {
    /// The key of the id that an article was posted under.
    pub fn external(id: &str) -> Self {
        Self {
            kind: KeyKind::External,
            value: id.to_owned(),
        }
    }

    /// A guid's key. Long guids are hashed.
    pub fn guid(guid: &str) -> Self {
        let value = if guid.len() > 500 {
            hash(&[guid])
        } else {
            guid.to_owned()
        };
        Self {
            kind: KeyKind::Guid,
            value,
        }
    }
}

/// An article that shares a key with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The article.
    pub article_id: ArticleId,
    /// The shared key.
    pub kind: KeyKind,
    /// The article's address.
    pub url: Option<String>,
    /// The article's title.
    pub title: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// This article, perhaps edited.
    Known(ArticleId),
    /// An article never seen before. With `takes_guid` its guid used to belong to another article and is now its own.
    New {
        /// Whether the guid changes its owner.
        takes_guid: bool,
    },
}

/// The keys of each of `entries`, which one poll of a feed showed together.
///
/// A guid or address that entries with different addresses, guids and titles share says nothing, as where every entry
/// links to the front page: it is no key of any of them.
pub fn keys_of_poll(entries: &[Entry]) -> Vec<Vec<Key>> {
    let mut keys: Vec<Vec<Key>> = entries.iter().map(keys).collect();
    let mut owners: HashMap<&Key, Vec<usize>> = HashMap::new();
    for (at, keys) in keys.iter().enumerate() {
        for key in keys {
            owners.entry(key).or_default().push(at);
        }
    }
    let shared: HashSet<Key> = owners
        .into_iter()
        .filter(|(key, owners)| {
            owners
                .iter()
                .any(|at| differs(key.kind, &entries[owners[0]], &entries[*at]))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for keys in &mut keys {
        keys.retain(|key| !shared.contains(key));
    }
    keys
}

/// The keys of one entry, each kind at most once, the most telling first.
pub fn keys(entry: &Entry) -> Vec<Key> {
    let guid = entry.guid.as_deref();
    let key = |kind| move |value| Key { kind, value };
    let url = entry.url.as_ref().and_then(normalize_url);
    let guid_url = guid.and_then(|guid| Url::parse(guid).ok());
    let wp_id = guid_url.iter().chain(&entry.url).find_map(wordpress_id);
    [
        guid.map(Key::guid),
        url.map(key(KeyKind::Url)),
        wp_id.map(key(KeyKind::WpId)),
        fingerprint(entry).map(key(KeyKind::Fingerprint)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Decides what `entry` is, given every article that shares a key with it.
///
/// Any match is the same article, except a match by guid alone where both address and title are others: some sites use
/// a guid again. Of several articles the one that shares the most telling key wins.
pub fn identify(entry: &Entry, matches: &[Match]) -> Identity {
    let by_other_key: Vec<_> = matches
        .iter()
        .filter(|found| found.kind != KeyKind::Guid)
        .map(|found| found.article_id)
        .collect();
    let recycled = |found: &Match| {
        found.kind == KeyKind::Guid
            && !by_other_key.contains(&found.article_id)
            && is_another_article(entry, found)
    };
    let best = matches
        .iter()
        .filter(|found| !recycled(found))
        .min_by_key(|found| (found.kind, found.article_id));
    match best {
        Some(found) => Identity::Known(found.article_id),
        None => Identity::New {
            takes_guid: !matches.is_empty(),
        },
    }
}

/// `url` without what changes while the article stays: scheme, `www.`, port, fragment, user, tracking parameters, order
/// of parameters and the trailing slash. `None` for a front page, which is no article's own.
pub fn normalize_url(url: &Url) -> Option<String> {
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    let path = url.path().trim_end_matches('/');
    let mut parameters: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| !is_tracking(name))
        .collect();
    parameters.sort();
    if path.is_empty() && parameters.is_empty() {
        return None;
    }
    let mut normal = format!("{host}{path}");
    if !parameters.is_empty() {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        normal = format!("{normal}?{query}");
    }
    Some(if normal.len() > 500 {
        hash(&[&normal])
    } else {
        normal
    })
}

/// `title` as it is compared: letters and digits in lower case.
pub fn normalize_title(title: &str) -> String {
    title
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn is_another_article(entry: &Entry, found: &Match) -> bool {
    let known_url = found.url.as_deref().and_then(|url| Url::parse(url).ok());
    let (Some(known), Some(given)) = (known_url, &entry.url) else {
        return false;
    };
    normalize_url(&known) != normalize_url(given)
        && normalize_title(&found.title) != normalize_title(&entry.title.to_title())
}

/// Whether `a` and `b`, which share a key of this kind, are different articles by everything else.
fn differs(kind: KeyKind, a: &Entry, b: &Entry) -> bool {
    let titles = || normalize_title(&a.title.to_title()) != normalize_title(&b.title.to_title());
    let urls = || a.url.as_ref().map(normalize_url) != b.url.as_ref().map(normalize_url);
    match kind {
        KeyKind::Guid => urls() && titles(),
        KeyKind::Url => a.guid != b.guid && titles(),
        KeyKind::External | KeyKind::WpId | KeyKind::Fingerprint => false,
    }
}

/// Host, path and number of an address like `https://example.org/?p=123`.
fn wordpress_id(url: &Url) -> Option<String> {
    let (_, number) = url.query_pairs().find(|(name, _)| name == "p")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let host = url.host_str()?.to_ascii_lowercase();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    Some(format!(
        "{host}{}:{number}",
        url.path().trim_end_matches('/')
    ))
}

fn fingerprint(entry: &Entry) -> Option<String> {
    let title = normalize_title(&entry.title.to_title());
    let body = entry.content.as_ref().or(entry.summary.as_ref())?;
    let body = normalize_title(&body.to_text());
    if title.is_empty() || body.is_empty() {
        return None;
    }
    let day = entry
        .published_at
        .map_or(0, |at| at.as_seconds().div_euclid(86_400));
    Some(hash(&[&title, &day.to_string(), &body]))
}

fn is_tracking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["utm_", "mtm_", "pk_", "hsa_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || matches!(
            name.as_str(),
            "fbclid"
                | "gclid"
                | "dclid"
                | "msclkid"
                | "yclid"
                | "igshid"
                | "twclid"
                | "mc_cid"
                | "mc_eid"
                | "_hsenc"
                | "_hsmi"
                | "wt_mc"
                | "cmpid"
                | "ncid"
                | "at_medium"
                | "at_campaign"
                | "ref_src"
                | "source_feed"
        )
}

/// [`digest_of`] in hexadecimal digits.
fn hash(parts: &[&str]) -> String {
    HEXLOWER.encode(&digest_of(parts))
}

/// SHA-256 of `parts`, each with its length.
pub(crate) fn digest_of(parts: &[&str]) -> Vec<u8> {
    let mut input = Vec::new();
    for part in parts {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part.as_bytes());
    }
    digest(&SHA256, &input).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::feeds::entry::Markup;

    fn entry(guid: &str, url: &str, title: &str) -> Entry {
        Entry {
            guid: Some(guid.to_owned()).filter(|guid| !guid.is_empty()),
            url: Url::parse(url).ok(),
            title: Markup::Html(title.to_owned()),
            ..Entry::default()
        }
    }

    fn id(n: u128) -> ArticleId {
        uuid::Uuid::from_u128(n).into()
    }

    /// The matches that a store which holds `known` as articles 1, 2 ... would find for `entry`.
    fn matches(known: &[Entry], entry: &Entry) -> Vec<Match> {
        let mine = keys(entry);
        let found = |(at, known): (usize, &Entry)| {
            let (url, title) = (
                known.url.as_ref().map(ToString::to_string),
                known.title.to_title(),
            );
            let shared = keys(known).into_iter().filter(|key| mine.contains(key));
            let shared: Vec<_> = shared.map(|key| key.kind).collect();
            shared.into_iter().map(move |kind| Match {
                article_id: id(at as u128 + 1),
                kind,
                url: url.clone(),
                title: title.clone(),
            })
        };
        known.iter().enumerate().flat_map(found).collect()
    }

    #[test]
    fn addresses_that_differ_only_in_dress_are_equal() {
        let normal = |url| normalize_url(&Url::parse(url).unwrap());
        let expect = Some("example.org/a/b?p=7&x=1".to_owned());
        for url in [
            "https://example.org/a/b?x=1&p=7",
            "http://WWW.Example.org:80/a/b/?p=7&x=1#comments",
            "https://user@example.org./a/b?utm_source=rss&p=7&fbclid=z&x=1",
        ] {
            assert_eq!(normal(url), expect, "{url}");
        }
        assert_ne!(normal("https://example.org/a/c?x=1&p=7"), expect);
        assert_eq!(normal("https://www.example.org/?utm_medium=feed"), None);
    }

    #[test]
    fn a_guid_that_flips_to_https_is_the_same_article() {
        let known = [entry(
            "http://example.org/?p=12",
            "http://example.org/fine/",
            "Fine",
        )];
        let flipped = entry(
            "https://example.org/?p=12",
            "https://example.org/fine/",
            "Fine",
        );
        assert_eq!(
            identify(&flipped, &matches(&known, &flipped)),
            Identity::Known(id(1))
        );
        let moved = entry(
            "https://www.example.org/?p=12",
            "https://example.org/finer/",
            "Finer",
        );
        assert_eq!(
            identify(&moved, &matches(&known, &moved)),
            Identity::Known(id(1))
        );
    }

    #[test]
    fn a_recycled_guid_is_a_new_article_only_with_another_address_and_another_title() {
        let known = [entry("latest", "https://example.org/one", "One")];
        let check = |url, title, expect| {
            let entry = entry("latest", url, title);
            assert_eq!(
                identify(&entry, &matches(&known, &entry)),
                expect,
                "{url} {title}"
            );
        };
        check(
            "https://example.org/two",
            "Two",
            Identity::New { takes_guid: true },
        );
        check("https://example.org/two", "ONE!", Identity::Known(id(1)));
        check("https://example.org/one", "Two", Identity::Known(id(1)));
        check("", "Two", Identity::Known(id(1)));
    }

    #[test]
    fn the_same_text_on_the_same_day_is_the_same_article() {
        let mut first = entry("a", "https://example.org/a", "Title");
        first.content = Some(Markup::Html("<p>The body.</p>".to_owned()));
        first.published_at = Some(Timestamp::from_micros(1_700_000_000_000_000));
        let mut copy = entry("b", "https://example.org/b", "Title");
        copy.content = Some(Markup::Html("<div>The  body</div>".to_owned()));
        copy.published_at = first.published_at;
        assert_eq!(
            identify(&copy, &matches(&[first.clone()], &copy)),
            Identity::Known(id(1))
        );
        copy.content = Some(Markup::Html("Another".to_owned()));
        assert_eq!(
            identify(&copy, &matches(&[first], &copy)),
            Identity::New { takes_guid: false }
        );
    }

    #[test]
    fn what_every_entry_shares_is_no_key() {
        use KeyKind::{Guid, Url};
        let poll = [
            entry("1", "https://example.org/a", "A"),
            entry("1", "https://example.org/b", "B"),
            entry("2", "https://example.org/c", "C"),
            entry("3", "https://example.org/c", "D"),
            entry("4", "https://example.org/e", "E"),
            entry("4", "https://example.org/e", "E again"),
        ];
        let kinds: Vec<Vec<_>> = keys_of_poll(&poll)
            .iter()
            .map(|keys| keys.iter().map(|key| key.kind).collect())
            .collect();
        assert_eq!(
            kinds,
            [
                vec![Url],
                vec![Url],
                vec![Guid],
                vec![Guid],
                vec![Guid, Url],
                vec![Guid, Url]
            ]
        );
    }

    #[test]
    fn a_wordpress_number_belongs_to_its_site() {
        let wp = |url| wordpress_id(&Url::parse(url).unwrap());
        assert_eq!(
            wp("https://www.a.example/?p=5"),
            wp("http://a.example/?p=5&utm_source=x")
        );
        assert_ne!(wp("https://a.example/?p=5"), wp("https://b.example/?p=5"));
        assert_eq!(wp("https://a.example/?p=x"), None);
    }
}
