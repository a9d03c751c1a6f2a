//! Chooses the picture of an article: one that mail clients can show, from a public https address.

use url::Url;

use super::entry::MediaImage;
use super::html::{Piece, Tag, pieces};
use super::text;

/// The picture of an article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Absolute, https.
    pub url: Url,
    /// In pixels, where the feed says so.
    pub width: Option<u32>,
    /// In pixels, where the feed says so.
    pub height: Option<u32>,
    /// What it shows, in words, on one line; may be empty.
    pub alt: String,
}

/// The width that a card can show at twice its size; of several renditions the smallest at least this wide is taken.
const CARD_PIXELS: u32 = 1_120;
/// Pictures that are known to be smaller than this are icons, smileys and counters.
const MIN_PIXELS: u32 = 64;

/// The picture of an article: the first usable of `media`, in its order, then of the images in `html`.
///
/// Addresses are relative to `base`; `http:` ones become `https:` where the article itself is https on the same host,
/// and are left out otherwise. WebP, AVIF and SVG are replaced by a JPEG, PNG or GIF rendition of the same picture
/// (`srcset`, `<picture>`), and left out where there is none: many mail clients cannot show them.
pub fn choose(media: &[MediaImage], html: Option<&str>, base: Option<&Url>) -> Option<Image> {
    let enclosed = media
        .iter()
        .filter(|image| is_image(image))
        .find_map(|image| {
            Image {
                url: usable(&image.url, base)?,
                width: image.width,
                height: image.height,
                alt: String::new(),
            }
            .if_big_enough()
        });
    enclosed.or_else(|| first_of(html?, base))
}

/// The address and size that `tag`, an `<img>`, loads in the end, past placeholders of lazy loading.
pub(crate) fn of_tag(tag: &Tag<'_>, base: Option<&Url>) -> Option<Image> {
    let number = |name| {
        tag.value(name)
            .and_then(|value| value.trim_end_matches("px").parse().ok())
    };
    let shown = |url| Image {
        url,
        width: number("width"),
        height: number("height"),
        alt: text::one_line(&tag.value("alt").unwrap_or_default()),
    };
    let sources = [
        "data-src",
        "data-lazy-src",
        "data-original",
        "data-orig-file",
        "src",
    ];
    let single = sources
        .iter()
        .find_map(|name| usable(&tag.value(name)?, base));
    if let Some(url) = single {
        return shown(url).if_big_enough();
    }
    let best = ["data-srcset", "data-lazy-srcset", "srcset"]
        .iter()
        .find_map(|name| of_set(&tag.value(name)?, base))?;
    let whole = shown(best.url.clone()).if_big_enough()?;
    Some(Image {
        alt: whole.alt,
        ..best
    })
}

impl Image {
    fn if_big_enough(self) -> Option<Self> {
        let small = |side: Option<u32>| side.is_some_and(|pixels| pixels < MIN_PIXELS);
        (!small(self.width) && !small(self.height)).then_some(self)
    }
}

fn first_of(html: &str, base: Option<&Url>) -> Option<Image> {
    // The sources of a <picture> stand before its <img> and show the same.
    let mut sources = Vec::new();
    for piece in pieces(html) {
        match piece {
            Piece::Open(tag) if tag.name == "picture" => sources.clear(),
            Piece::Open(tag) if tag.name == "source" => sources.push(tag),
            Piece::Open(tag) if tag.name == "img" => {
                let found = of_tag(&tag, base)
                    .or_else(|| sources.iter().find_map(|source| of_source(source, base)));
                if found.is_some() {
                    return found;
                }
            }
            Piece::Close(name) if name == "picture" => sources.clear(),
            Piece::Open(_) | Piece::Close(_) | Piece::Text(_) => {}
        }
    }
    None
}

fn of_source(source: &Tag<'_>, base: Option<&Url>) -> Option<Image> {
    let kind = source.value("type").unwrap_or_default();
    if !kind.is_empty() && !is_common(&kind) {
        return None;
    }
    ["srcset", "data-srcset"]
        .iter()
        .find_map(|name| of_set(&source.value(name)?, base))
}

/// The rendition of a `srcset` that fits a card best (WHATWG HTML, section 4.8.4.2.1).
fn of_set(set: &str, base: Option<&Url>) -> Option<Image> {
    let renditions = set
        .split(", ")
        .flat_map(|part| part.split_inclusive(",\n"))
        .filter_map(|part| {
            let part = part.trim().trim_end_matches(',');
            let mut words = part.split_ascii_whitespace();
            let url = usable(words.next()?, base)?;
            let width = words
                .next()
                .and_then(|word| word.strip_suffix('w')?.parse::<u32>().ok());
            Some(Image {
                url,
                width,
                height: None,
                alt: String::new(),
            })
        });
    // Wide enough ones first, the smallest of them in front; then the widest of the rest.
    renditions
        .filter_map(Image::if_big_enough)
        .min_by_key(|image| {
            let width = image.width.unwrap_or(0);
            if width >= CARD_PIXELS {
                (0, width)
            } else {
                (1, u32::MAX - width)
            }
        })
}

fn is_image(image: &MediaImage) -> bool {
    match &image.media_type {
        Some(kind) => is_common(kind),
        None => true,
    }
}

fn is_common(media_type: &str) -> bool {
    let kind = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(
        kind.as_str(),
        "image/jpeg" | "image/jpg" | "image/pjpeg" | "image/png" | "image/gif"
    )
}

/// `address` as an absolute https URL of a picture that mail clients show; `None` if it is not one.
fn usable(address: &str, base: Option<&Url>) -> Option<Url> {
    let mut url = match base {
        Some(base) => base.join(address).ok()?,
        None => Url::parse(address).ok()?,
    };
    if url.scheme() == "http"
        && base.is_some_and(|base| base.scheme() == "https" && base.host() == url.host())
    {
        url.set_scheme("https").ok()?;
    }
    let shown = url.scheme() == "https" && url.as_str().len() <= 2_000 && url.username().is_empty();
    (shown && !is_modern(&url) && !is_counter(&url)).then_some(url)
}

/// Whether the address says that the picture is in a format that many mail clients cannot show.
fn is_modern(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    let by_name = [
        ".webp", ".avif", ".svg", ".svgz", ".jxl", ".heic", ".mp4", ".webm", ".mp3", ".m4a",
    ];
    let by_query = url.query_pairs().any(|(name, value)| {
        matches!(&*name, "format" | "fm" | "f" | "output-format")
            && matches!(&*value, "webp" | "avif" | "svg")
    });
    by_name.iter().any(|ending| path.ends_with(ending)) || by_query
}

/// Pictures that count readers, or stand for a person or a feeling, not for the article.
fn is_counter(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let path = url.path();
    matches!(
        host,
        "pixel.wp.com"
            | "stats.wordpress.com"
            | "feeds.feedburner.com"
            | "www.google-analytics.com"
    ) || (host.ends_with("gravatar.com") && path.starts_with("/avatar"))
        || (host == "s.w.org" && path.starts_with("/images/core/emoji"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expect: Option<&str>) {
        let base = Url::parse("https://site.example/2027/post/").unwrap();
        let found = choose(&[], Some(html), Some(&base)).map(|image| image.url.to_string());
        assert_eq!(found.as_deref(), expect, "{html}");
    }

    #[test]
    fn relative_and_lazy_images_become_absolute_https_ones() {
        check("<img src='/a.jpg'>", Some("https://site.example/a.jpg"));
        check(
            "<img src=b.jpg?x=1&amp;y=2>",
            Some("https://site.example/2027/post/b.jpg?x=1&y=2"),
        );
        check(
            "<img src='http://site.example/a.jpg'>",
            Some("https://site.example/a.jpg"),
        );
        check("<img src='http://other.example/a.jpg'>", None);
        check(
            "<img src='data:image/gif;base64,R0' data-src='/lazy.jpg'>",
            Some("https://site.example/lazy.jpg"),
        );
        check(
            "<img src='data:image/svg+xml,x' data-lazy-srcset='/l.jpg 800w'>",
            Some("https://site.example/l.jpg"),
        );
        check("<img src='javascript:alert(1)'>", None);
    }

    #[test]
    fn formats_that_mail_cannot_show_are_replaced_or_left_out() {
        check(
            "<img src=a.webp srcset='/a.webp 400w, /a-600.jpg 600w, /a-1200.jpg 1200w, /a-3000.jpg 3000w'>",
            Some("https://site.example/a-1200.jpg"),
        );
        check(
            "<picture><source type=image/avif srcset=/a.avif><source type=image/jpeg srcset='/a.jpg 1x'><img src=/a.webp></picture>",
            Some("https://site.example/a.jpg"),
        );
        check(
            "<img src=/a.svg><img src=/b.png>",
            Some("https://site.example/b.png"),
        );
        check("<img src='/a?fm=webp'>", None);
        check("<img src='/a.jpg.webp'>", None);
    }

    #[test]
    fn counters_and_icons_are_no_pictures() {
        check(
            "<img src=/p.gif width=1 height=1><img src=/a.jpg width=1200 height=800>",
            Some("https://site.example/a.jpg"),
        );
        check("<img src=https://pixel.wp.com/b.gif>", None);
        check("<img src=https://secure.gravatar.com/avatar/1?s=600>", None);
        check("<img src=/smiley.png height=16px>", None);
    }

    #[test]
    fn enclosed_pictures_come_before_those_in_the_text() {
        let media = |url: &str, kind: Option<&str>| MediaImage {
            url: url.to_owned(),
            media_type: kind.map(str::to_owned),
            width: Some(800),
            height: Some(600),
        };
        let given = [
            media("https://x.example/a.mp3", Some("audio/mpeg")),
            media("https://x.example/a", Some("image/webp")),
            media("https://x.example/b", Some("image/jpeg")),
        ];
        let found = choose(&given, Some("<img src=https://x.example/c.jpg>"), None).unwrap();
        assert_eq!(
            (found.url.as_str(), found.width, found.height),
            ("https://x.example/b", Some(800), Some(600))
        );
    }
}
