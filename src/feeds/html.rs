//! A flat reader of HTML: text and tags in order, as browsers tokenise them (WHATWG HTML, section 13.2.5), without a tree.
//!
//! It is linear in time and does not recurse, so it may look at anything before a library that builds trees does.

/// A stretch of HTML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text as written: entities are not resolved.
    Text(&'a str),
    /// A start tag.
    Open(Tag<'a>),
    /// An end tag, by its lower-case name.
    Close(String),
}

/// A start tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    /// Lower-case.
    pub(crate) name: String,
    attributes: Vec<(String, &'a str)>,
}

impl<'a> Tag<'a> {
    /// The first value of attribute `name` (lower-case) as written, entities not resolved.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| *value)
    }

    /// The value of attribute `name` with entities resolved, trimmed; `None` when it is absent or empty.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let value = super::text::resolve_entities(self.raw(name)?);
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }
}

/// More attributes on a tag than this are read over.
const MAX_ATTRIBUTES: usize = 32;

/// Elements whose content is no markup and no text to show.
const HIDDEN: [&str; 9] = [
    "script", "style", "template", "textarea", "title", "xmp", "iframe", "noembed", "noframes",
];

/// The pieces of `html` in order. Comments, declarations and the content of scripts and styles are left out.
pub(crate) fn pieces(html: &str) -> Pieces<'_> {
    Pieces { html, at: 0 }
}

/// See [`pieces`].
pub(crate) struct Pieces<'a> {
    html: &'a str,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let rest = &self.html[self.at..];
            if rest.is_empty() {
                return None;
            }
            let bytes = rest.as_bytes();
            match (bytes[0], bytes.get(1), bytes.get(2)) {
                (b'<', Some(b'!'), _) if rest.starts_with("<!--") => self.skip_past("-->", 4),
                (b'<', Some(b'/'), Some(letter)) if letter.is_ascii_alphabetic() => {
                    self.at += 2;
                    return Some(Piece::Close(self.tag().name));
                }
                (b'<', Some(b'!' | b'?' | b'/'), _) => self.skip_past(">", 2),
                (b'<', Some(letter), _) if letter.is_ascii_alphabetic() => {
                    self.at += 1;
                    let tag = self.tag();
                    if HIDDEN.contains(&tag.name.as_str()) {
                        self.skip_hidden(&tag.name);
                    }
                    return Some(Piece::Open(tag));
                }
                _ => {
                    let next = memchr::memchr(b'<', &bytes[1..]).map_or(rest.len(), |at| at + 1);
                    self.at += next;
                    return Some(Piece::Text(&rest[..next]));
                }
            }
        }
    }
}

impl<'a> Pieces<'a> {
    fn skip_past(&mut self, end: &str, from: usize) {
        let start = (self.at + from).min(self.html.len());
        self.at = memchr::memmem::find(&self.html.as_bytes()[start..], end.as_bytes())
            .map_or(self.html.len(), |at| start + at + end.len());
    }

    /// Moves to the end tag of the hidden element `name`, or to the end.
    fn skip_hidden(&mut self, name: &str) {
        let bytes = self.html.as_bytes();
        let mut from = self.at;
        while let Some(at) = memchr::memmem::find(&bytes[from..], b"</") {
            let start = from + at + 2;
            let end = start + name.len();
            if bytes
                .get(start..end)
                .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
            {
                self.at = start - 2;
                return;
            }
            from = start;
        }
        self.at = bytes.len();
    }

    /// Reads a tag whose name starts here, to behind its `>`.
    fn tag(&mut self) -> Tag<'a> {
        let name = self.take(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>'));
        let mut tag = Tag {
            name: name.to_ascii_lowercase(),
            attributes: Vec::new(),
        };
        loop {
            self.take(|byte| byte.is_ascii_whitespace() || byte == b'/');
            match self.peek() {
                None => return tag,
                Some(b'>') => {
                    self.at += 1;
                    return tag;
                }
                Some(_) => {
                    let (name, value) = self.attribute();
                    if tag.attributes.len() < MAX_ATTRIBUTES {
                        tag.attributes.push((name.to_ascii_lowercase(), value));
                    }
                }
            }
        }
    }

    fn attribute(&mut self) -> (&'a str, &'a str) {
        let start = self.at;
        // An equals sign in first place belongs to the name.
        self.at += usize::from(self.peek() == Some(b'='));
        self.take(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>' | b'='));
        let name = &self.html[start..self.at];
        self.take(|byte| byte.is_ascii_whitespace());
        if self.peek() != Some(b'=') {
            return (name, "");
        }
        self.at += 1;
        self.take(|byte| byte.is_ascii_whitespace());
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                let value = self.take(|byte| byte != quote);
                self.at = (self.at + 1).min(self.html.len());
                (name, value)
            }
            _ => (
                name,
                self.take(|byte| !byte.is_ascii_whitespace() && byte != b'>'),
            ),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.html.as_bytes().get(self.at).copied()
    }

    /// Moves over the bytes that `wanted` holds for. It must hold for every byte that is not ASCII, or for none.
    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.html[self.at..];
        let length = rest
            .bytes()
            .position(|byte| !wanted(byte))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expect: &str) {
        let seen: Vec<_> = pieces(html)
            .map(|piece| match piece {
                Piece::Text(text) => format!("'{text}'"),
                Piece::Open(tag) => {
                    let attributes = tag.attributes.iter();
                    let attributes: Vec<_> = attributes.map(|(k, v)| format!(" {k}={v}")).collect();
                    format!("<{}{}>", tag.name, attributes.concat())
                }
                Piece::Close(name) => format!("</{name}>"),
            })
            .collect();
        assert_eq!(seen.join(""), expect);
    }

    #[test]
    fn tags_are_read_as_browsers_read_them() {
        check("a<B x=1 Y='2>3' z>b</B >c", "'a'<b x=1 y=2>3 z=>'b'</b>'c'");
        check("1 < 2 <3 <", "'1 ''< 2 ''<3 ''<'");
        check("<a/b=c/><img\nsrc=x/>", "<a b=c/><img src=x/>");
        check("<!doctype html><!-- <b> --><?php ?>t<!--", "'t'");
        check("<script>if (a<b) '</p>'</SCRIPT>x", "<script></script>'x'");
        check("<style>never closed <p>", "<style>");
        check("é<é><p é=ü>ü", "'é''<é>'<p é=ü>'ü'");
        check("<p a=\"unclosed", "<p a=unclosed>");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic_or_stand_still(html in "[<>/!a-c='\" é-]{0,60}") {
            let _ = pieces(&html).count();
        }
    }
}
