//! One entry of a feed in the feed's own words, whatever its format. Nothing in it is safe to show yet.

use feed_rs::model::FeedType;
use url::Url;

use super::text;
use crate::clock::Timestamp;

/// Most bytes of a category or author that are kept.
const MAX_NAME_BYTES: usize = 1_000;
/// Most categories and authors of an entry that are kept.
const MAX_NAMES: usize = 50;

/// An entry as the feed has it.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The RSS guid, Atom id or JSON Feed id.
    pub guid: Option<String>,
    /// The address of the article: http or https.
    pub url: Option<Url>,
    /// The title.
    pub title: Markup,
    /// The summary, or what the feed puts in its place.
    pub summary: Option<Markup>,
    /// The article.
    pub content: Option<Markup>,
    /// Names of authors.
    pub authors: Vec<String>,
    /// Categories and tags: feeds do not tell them apart.
    pub categories: Vec<String>,
    /// When the article was published, by its own account.
    pub published_at: Option<Timestamp>,
    /// Enclosed images and thumbnails, in the feed's order.
    pub images: Vec<MediaImage>,
}

/// Text as a feed gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Markup {
    /// To be read as HTML.
    Html(String),
    /// To be shown as it is.
    Plain(String),
}

/// An image that a feed names beside the text. Neither address nor type is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaImage {
    /// Its address.
    pub url: String,
    /// Its media type.
    pub media_type: Option<String>,
    /// In pixels.
    pub width: Option<u32>,
    /// In pixels.
    pub height: Option<u32>,
}

impl Default for Markup {
    fn default() -> Self {
        Self::Plain(String::new())
    }
}

impl Markup {
    /// One line of text. Plain text has its entities resolved too: feeds escape once too often more often than they mean them.
    pub(crate) fn to_title(&self) -> String {
        match self {
            Self::Html(html) => text::from_title(html),
            Self::Plain(plain) => text::one_line(&text::resolve_entities(plain)),
        }
    }

    /// One line of text.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Html(html) => text::from_html(html),
            Self::Plain(plain) => text::one_line(plain),
        }
    }
}

impl From<feed_rs::model::Text> for Markup {
    fn from(value: feed_rs::model::Text) -> Self {
        if value.content_type.as_str() == "text/plain" {
            Self::Plain(value.content)
        } else {
            Self::Html(value.content)
        }
    }
}

impl Entry {
    /// Takes over what a feed of kind `feed`, found at `base`, says.
    pub(crate) fn from_feed(entry: feed_rs::model::Entry, feed: &FeedType, base: &Url) -> Self {
        let images = images(&entry);
        let guid = text::one_line(&entry.id);
        let guid = (!guid.is_empty()).then_some(guid);
        let url = address(&entry.links, guid.as_deref(), base);
        Self {
            title: title(entry.title, feed),
            summary: entry.summary.map(Markup::from),
            content: entry.content.and_then(content),
            authors: names(entry.authors.into_iter().filter_map(|person| person.name)),
            categories: names(
                entry
                    .categories
                    .into_iter()
                    .map(|category| category.label.unwrap_or(category.term)),
            ),
            published_at: entry
                .published
                .or(entry.updated)
                .and_then(|at| instant(at.timestamp_micros())),
            guid,
            url,
            images,
        }
    }
}

fn title(title: Option<feed_rs::model::Text>, feed: &FeedType) -> Markup {
    match (title.map(Markup::from).unwrap_or_default(), feed) {
        // RSS has no types for text: titles are HTML by custom.
        (Markup::Plain(text), FeedType::RSS0 | FeedType::RSS1 | FeedType::RSS2) => {
            Markup::Html(text)
        }
        (markup, _) => markup,
    }
}

fn content(content: feed_rs::model::Content) -> Option<Markup> {
    let body = content.body.filter(|body| !body.trim().is_empty())?;
    match content.content_type.as_str() {
        "text/html" | "application/xhtml+xml" => Some(Markup::Html(body)),
        "text/plain" => Some(Markup::Plain(body)),
        _ => None,
    }
}

/// The link to the article: the first that is no comment, enclosure, self or hub; else the guid, if it is an address.
fn address(links: &[feed_rs::model::Link], guid: Option<&str>, base: &Url) -> Option<Url> {
    let articles = links.iter().filter(|link| {
        link.target.is_none()
            && link
                .media_type
                .as_deref()
                .is_none_or(|kind| kind.contains("html"))
            && matches!(link.rel.as_deref(), None | Some("alternate"))
    });
    let linked = articles.filter_map(|link| base.join(&link.href).ok());
    let named = guid.and_then(|guid| Url::parse(guid).ok());
    linked
        .chain(named)
        .find(|url| matches!(url.scheme(), "http" | "https") && url.as_str().len() <= 2_000)
}

fn images(entry: &feed_rs::model::Entry) -> Vec<MediaImage> {
    let contents = entry
        .media
        .iter()
        .flat_map(|media| &media.content)
        .filter_map(|content| {
            Some(MediaImage {
                url: content.url.as_ref()?.to_string(),
                media_type: content.content_type.as_ref().map(ToString::to_string),
                width: content.width,
                height: content.height,
            })
        });
    let enclosures = entry.links.iter().filter(|link| {
        let attached = link.rel.as_deref() == Some("enclosure") || link.rel.is_none();
        attached
            && link
                .media_type
                .as_deref()
                .is_some_and(|kind| kind.starts_with("image/"))
    });
    let enclosures = enclosures.map(|link| MediaImage {
        url: link.href.clone(),
        media_type: link.media_type.clone(),
        width: None,
        height: None,
    });
    let thumbnails = entry
        .media
        .iter()
        .flat_map(|media| &media.thumbnails)
        .map(|thumbnail| MediaImage {
            url: thumbnail.image.uri.clone(),
            media_type: None,
            width: thumbnail.image.width,
            height: thumbnail.image.height,
        });
    enclosures.chain(contents).chain(thumbnails).collect()
}

fn names(given: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for given in given {
        let Some(given) = name(&text::resolve_entities(&given)) else {
            continue;
        };
        if !kept.contains(&given) && kept.len() < MAX_NAMES {
            kept.push(given);
        }
    }
    kept
}

fn name(given: &str) -> Option<String> {
    let mut name = text::one_line(given);
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    (!name.is_empty()).then_some(name)
}

/// An instant in the years 1970 to 9999; others are typing errors.
fn instant(micros: i64) -> Option<Timestamp> {
    (0..253_402_300_800_000_000)
        .contains(&micros)
        .then(|| Timestamp::from_micros(micros))
}
