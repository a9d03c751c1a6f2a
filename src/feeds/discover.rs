//! Finds the feeds that a web page names in `<link rel="alternate">` (WHATWG HTML, section 4.6.7.1).

use url::Url;

use super::html::{Piece, Tag, pieces};

/// Candidates beyond this are not offered.
const MAX_CANDIDATES: usize = 20;

/// A feed that a page names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its address.
    pub url: Url,
    /// Its title, as text; empty where the page gives none.
    pub title: String,
}

/// The feeds that `page`, found at `base`, names, in its order and each once.
pub(crate) fn candidates(page: &[u8], base: &Url) -> Vec<Candidate> {
    let page = String::from_utf8_lossy(page);
    let mut found: Vec<Candidate> = Vec::new();
    let mut base = base.clone();
    for piece in pieces(&page) {
        let Piece::Open(tag) = piece else { continue };
        match tag.name.as_str() {
            "base" => {
                base = tag
                    .value("href")
                    .and_then(|href| base.join(&href).ok())
                    .unwrap_or(base);
            }
            "link" if is_feed(&tag) => {
                let Some(url) = tag.value("href").and_then(|href| base.join(&href).ok()) else {
                    continue;
                };
                if matches!(url.scheme(), "http" | "https")
                    && found.iter().all(|known| known.url != url)
                {
                    let title = tag.value("title").unwrap_or_default();
                    found.push(Candidate {
                        url,
                        title: super::text::one_line(&title),
                    });
                }
            }
            _ => {}
        }
        if found.len() == MAX_CANDIDATES {
            break;
        }
    }
    found
}

fn is_feed(tag: &Tag<'_>) -> bool {
    let rel = tag.value("rel").unwrap_or_default();
    let alternate = rel
        .split_ascii_whitespace()
        .any(|word| word.eq_ignore_ascii_case("alternate"));
    let kind = tag.value("type").unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    alternate
        && matches!(
            kind,
            "application/rss+xml" | "application/atom+xml" | "application/feed+json"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_named_by_a_page_are_found_in_order_and_once() {
        let page = br#"<!doctype html><head><base href="/news/"><link rel=stylesheet type="application/rss+xml" href="/no">
            <link rel="alternate" type="application/rss+xml" title="All &amp; more" href="feed/">
            <LINK TYPE='application/atom+xml; charset=utf-8' REL='Alternate home' HREF='https://other.example/atom'>
            <link rel="alternate" type="application/rss+xml" href="/news/feed/"><link rel=alternate hreflang=de href=/de>
            <link rel=alternate type=application/feed+json href="javascript:alert(1)"><!-- <link> -->"#;
        let found = candidates(page, &Url::parse("https://site.example/a/b").unwrap());
        let urls: Vec<_> = found
            .iter()
            .map(|candidate| candidate.url.as_str())
            .collect();
        assert_eq!(
            urls,
            [
                "https://site.example/news/feed/",
                "https://other.example/atom"
            ]
        );
        assert_eq!(found[0].title, "All & more");
    }
}
