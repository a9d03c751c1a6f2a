//! From the bytes of an RSS, Atom or JSON feed to its entries, or to a sentence that says what came instead.

use url::Url;

use super::discover::{Candidate, candidates};
use super::entry::{Entry, Markup, MediaImage};
use super::fetch::Body;
use super::xml_scan::{Thumbnail, TooComplex, scan};
use crate::clock::Timestamp;

/// Entries of a feed that are looked at, the newest first where they are dated.
pub const MAX_ENTRIES: usize = 2_000;

/// A feed that could be read.
#[derive(Debug)]
pub struct ParsedFeed {
    /// Its title, as text.
    pub title: String,
    /// The site that it belongs to, as the feed says.
    pub home: Option<Url>,
    /// Its entries in the feed's order; the newest [`MAX_ENTRIES`] where there are more.
    pub entries: Vec<Entry>,
    /// How many entries were left out.
    pub left_out: usize,
}

/// What came instead of a feed. The texts tell the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Nothing, or only blanks.
    #[error(
        "the answer is empty; open the feed's address in a browser to see whether it has content"
    )]
    Empty,
    /// A web page.
    #[error("this is a web page, not a feed{}", hint(.0))]
    Html(Vec<Candidate>),
    /// Readable, but no feed.
    #[error("this is {0}, not a feed; RSS, Atom and JSON Feed can be read")]
    NotAFeed(&'static str),
    /// Broken XML or JSON.
    #[error("the feed is broken: {0}; a feed validator shows the place")]
    Broken(String),
    /// Beyond what is looked at.
    #[error("the feed is not read: {0}")]
    TooComplex(&'static str),
}

/// Reads the feed in `body`. Takes time in proportion to its size: run it off the async threads.
pub fn parse(body: &Body) -> Result<ParsedFeed, ParseError> {
    let bytes = trimmed(&body.bytes);
    if bytes.is_empty() {
        return Err(ParseError::Empty);
    }
    if is_html(bytes) {
        return Err(ParseError::Html(candidates(bytes, &body.url)));
    }
    let thumbnails = match bytes[0] {
        b'{' => Vec::new(),
        b'<' => scan(bytes).map_err(|TooComplex(reason)| ParseError::TooComplex(reason))?,
        // UTF-16 begins with a byte order mark; anything else is no feed.
        0xfe | 0xff => scan(bytes).map_err(|TooComplex(reason)| ParseError::TooComplex(reason))?,
        _ => return Err(ParseError::NotAFeed("neither XML nor JSON")),
    };
    let parser = feed_rs::parser::Builder::new()
        .base_uri(Some(body.url.as_str()))
        // An entry without an id has none: a made-up one would be new at each poll.
        .id_generator(|_, _, _| String::new())
        .build();
    let feed = parser
        .parse(bytes)
        .map_err(|error| explain(&error, bytes))?;
    Ok(convert(feed, thumbnails, &body.url))
}

fn convert(feed: feed_rs::model::Feed, thumbnails: Vec<Vec<Thumbnail>>, base: &Url) -> ParsedFeed {
    let title = feed.title.map(|text| Markup::from(text).to_title());
    let home = feed
        .links
        .iter()
        .filter(|link| matches!(link.rel.as_deref(), None | Some("alternate")));
    let home = home
        .filter_map(|link| base.join(&link.href).ok())
        .find(|url| matches!(url.scheme(), "http" | "https"));
    let total = feed.entries.len();
    let mut thumbnails = thumbnails.into_iter();
    let usable = thumbnails.len() == total;
    let mut entries: Vec<Entry> = feed
        .entries
        .into_iter()
        .map(|entry| {
            let mut entry = Entry::from_feed(entry, &feed.feed_type, base);
            let extra = thumbnails.next().filter(|_| usable).unwrap_or_default();
            entry
                .images
                .extend(extra.into_iter().map(|(url, width, height)| MediaImage {
                    url,
                    media_type: None,
                    width,
                    height,
                }));
            entry
        })
        .collect();
    if total > MAX_ENTRIES {
        // Stable: entries without a date keep their places behind the dated ones.
        entries
            .sort_by_key(|entry| std::cmp::Reverse(entry.published_at.map(Timestamp::as_micros)));
        entries.truncate(MAX_ENTRIES);
    }
    ParsedFeed {
        title: title.unwrap_or_default(),
        home,
        left_out: total - entries.len(),
        entries,
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.trim_ascii_start()
}

fn is_html(bytes: &[u8]) -> bool {
    let head = bytes[..bytes.len().min(2_000)].to_ascii_lowercase();
    let has = |needle: &[u8]| memchr::memmem::find(&head, needle).is_some();
    head.starts_with(b"<!doctype html")
        || head.starts_with(b"<html")
        || (has(b"<html") && !has(b"<rss") && !has(b"<feed") && !has(b"<rdf"))
}

fn explain(error: &feed_rs::parser::ParseFeedError, bytes: &[u8]) -> ParseError {
    use feed_rs::parser::{ParseErrorKind, ParseFeedError};
    match error {
        ParseFeedError::ParseError(ParseErrorKind::NoFeedRoot) => match quick_fault(bytes) {
            Some(fault) => ParseError::Broken(fault),
            None => ParseError::NotAFeed("XML of another kind"),
        },
        ParseFeedError::JsonSerde(error) if error.is_data() => {
            ParseError::NotAFeed("JSON of another kind")
        }
        ParseFeedError::JsonUnsupportedVersion(_) => {
            ParseError::NotAFeed("a JSON Feed of an unknown version")
        }
        ParseFeedError::ParseError(_)
        | ParseFeedError::IoError(_)
        | ParseFeedError::JsonSerde(_)
        | ParseFeedError::XmlReader(_) => ParseError::Broken(error.to_string()),
    }
}

/// Says why a document that has a feed's root was not taken for a feed.
fn quick_fault(bytes: &[u8]) -> Option<String> {
    let has = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    if has(b"<rss") && !has(b"<channel") {
        Some("<rss> has no <channel>".to_owned())
    } else if has(b"<rss") {
        Some("<rss> has no version that is known, or the text is not in the charset that it declares".to_owned())
    } else {
        None
    }
}

fn hint(candidates: &[Candidate]) -> String {
    let listed: Vec<_> = candidates
        .iter()
        .map(|candidate| candidate.url.as_str())
        .collect();
    match listed.as_slice() {
        [] => "; look for the feed's own address, on WordPress sites it is /feed/".to_owned(),
        [one] => format!("; its feed is {one}"),
        [..] => format!("; its feeds are {}", listed.join(", ")),
    }
}
