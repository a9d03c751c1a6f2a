//! A first look over an XML feed, in one pass without a tree: is it small enough in every direction for the parser, and
//! what does the parser leave out?
//!
//! The parser compares the attributes of a tag with one another and descends into groups by recursion; neither is
//! bounded there, so both are bounded here.

use memchr::memmem::find;

/// Elements inside one another.
const MAX_DEPTH: usize = 200;
/// Attributes of one tag.
const MAX_ATTRIBUTES: usize = 200;

/// An image that an entry shows in `media:thumbnail`: address, width, height, as written.
pub(crate) type Thumbnail = (String, Option<u32>, Option<u32>);

/// The feed asks too much of a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex(pub(crate) &'static str);

/// The thumbnails of each entry, in the order of the entries.
pub(crate) fn scan(xml: &[u8]) -> Result<Vec<Vec<Thumbnail>>, TooComplex> {
    let mut entries: Vec<Vec<Thumbnail>> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', &xml[at..]) {
        at += open;
        let rest = &xml[at..];
        let skipped = if rest.starts_with(b"<!--") {
            past(rest, b"-->")
        } else if rest.starts_with(b"<![CDATA[") {
            past(rest, b"]]>")
        } else if rest.starts_with(b"<?") {
            past(rest, b"?>")
        } else if rest.starts_with(b"<!") {
            past(rest, b">")
        } else {
            let (length, attributes) = tag(rest);
            let text = &rest[..length];
            if attributes > MAX_ATTRIBUTES {
                return Err(TooComplex("a tag has more than 200 attributes"));
            }
            if text.starts_with(b"</") {
                depth = depth.saturating_sub(1);
            } else if !text.ends_with(b"/>") {
                depth += 1;
            }
            if depth > MAX_DEPTH {
                return Err(TooComplex("elements are nested more than 200 deep"));
            }
            note(text, &mut entries);
            length
        };
        at += skipped.max(1);
    }
    Ok(entries)
}

fn past(rest: &[u8], end: &[u8]) -> usize {
    find(rest, end).map_or(rest.len(), |at| at + end.len())
}

/// Length of the tag at the start of `rest`, and how many equals signs stand in it outside of quotes.
fn tag(rest: &[u8]) -> (usize, usize) {
    let mut quote = None;
    let mut attributes = 0;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return (at + 1, attributes),
            (None, b'=') => attributes += 1,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), _) if open == *byte => quote = None,
            _ => {}
        }
    }
    (rest.len(), attributes)
}

fn note(text: &[u8], entries: &mut Vec<Vec<Thumbnail>>) {
    let name = text[1..]
        .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))
        .next();
    match name {
        Some(b"item" | b"entry") => entries.push(Vec::new()),
        Some(b"media:thumbnail") => {
            let tag = String::from_utf8_lossy(text);
            let Some(super::html::Piece::Open(tag)) = super::html::pieces(&tag).next() else {
                return;
            };
            let number = |name| tag.raw(name).and_then(|value| value.parse().ok());
            if let (Some(entry), Some(url)) = (entries.last_mut(), tag.value("url")) {
                entry.push((url, number("width"), number("height")));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_are_counted_to_their_entries() {
        let xml = br#"<rss><channel><image/><item><media:thumbnail url="https://a/x.jpg?a=1&amp;b=2" width="240"/></item>
            <item><![CDATA[<item>]]><!-- <item> --></item></channel></rss>"#;
        let expect = vec![
            vec![("https://a/x.jpg?a=1&b=2".to_owned(), Some(240), None)],
            vec![],
        ];
        assert_eq!(scan(xml), Ok(expect));
    }

    #[test]
    fn depth_and_attributes_are_bounded_quickly() {
        assert!(scan("<a>".repeat(100_000).as_bytes()).is_err());
        let attributes = " a=''".repeat(1_000_000);
        assert!(scan(format!("<a{attributes}>").as_bytes()).is_err());
        assert!(scan("<a></a>".repeat(100_000).as_bytes()).is_ok());
    }
}
