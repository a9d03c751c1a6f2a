//! A feed's HTML made safe to store and to put into a mail.
//!
//! Two passes. The first is flat: it keeps the elements that an article needs, writes their tags in one plain form, and
//! counts what is open. The second is ammonia, which builds a tree and decides. The tree is only built of what the
//! first pass wrote, so its size and depth are known beforehand.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use url::Url;

use super::html::{Piece, Tag, pieces};
use super::{image, text};

/// HTML longer than this becomes plain text.
pub const MAX_BYTES: usize = 256 * 1024;
/// HTML with more elements open at a time than this becomes plain text.
pub const MAX_OPEN: usize = 256;
/// Tags times open elements: a parser opens formatting elements again in each paragraph, so the tree can be this large.
const MAX_NODES: usize = 1_000_000;

/// Elements that are kept. All others go, and their text stays.
const ELEMENTS: [&str; 41] = [
    "a",
    "b",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "strong",
    "sub",
    "sup",
    "table",
    "td",
    "th",
    "tr",
    "ul",
];

static AMMONIA: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .add_tags(ELEMENTS)
        .add_tag_attributes("a", ["href"])
        .add_tag_attributes("img", ["src", "alt", "width", "height"])
        .add_tag_attributes("td", ["colspan", "rowspan"])
        .add_tag_attributes("th", ["colspan", "rowspan"])
        .add_url_schemes(["http", "https", "mailto"])
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer"));
    builder
});

/// `html` with nothing in it but the elements of an article, with absolute `http`, `https` and `mailto` links.
///
/// Links and images are relative to `base`. Images are those that `image::of_tag` accepts. What is too large or too
/// deep becomes paragraphs of plain text, cut at [`MAX_BYTES`].
pub fn article_html(html: &str, base: Option<&Url>) -> String {
    match flatten(html, base) {
        Some(flat) => AMMONIA.clean(&flat).to_string(),
        None => plain_html(&text::from_html(cut(html, 4 * MAX_BYTES))),
    }
}

/// `text` as paragraphs, cut at [`MAX_BYTES`].
pub fn plain_html(text: &str) -> String {
    let mut html = String::new();
    for paragraph in cut(text, MAX_BYTES).split("\n\n") {
        let line = text::one_line(paragraph);
        if !line.is_empty() {
            html.push_str("<p>");
            escape(&line, &mut html);
            html.push_str("</p>");
        }
    }
    html
}

/// The first pass. `None` when the result would be too large or too deep.
fn flatten(html: &str, base: Option<&Url>) -> Option<String> {
    if html.len() > MAX_BYTES {
        return None;
    }
    let mut flat = String::with_capacity(html.len());
    let mut open = Open::default();
    for piece in pieces(html) {
        match piece {
            Piece::Text(stretch) => write_text(stretch, &mut flat),
            Piece::Open(tag) if tag.name == "img" => write_image(&tag, base, &mut flat),
            Piece::Open(tag) if ELEMENTS.contains(&tag.name.as_str()) => {
                open.start(&tag.name)?;
                write_tag(&tag, base, &mut flat);
            }
            Piece::Close(name) if ELEMENTS.contains(&name.as_str()) => {
                open.end(&name);
                let _ = write!(flat, "</{name}>");
            }
            Piece::Open(_) | Piece::Close(_) => {}
        }
    }
    (flat.len() <= 2 * MAX_BYTES).then_some(flat)
}

/// Counts open elements by name. An end tag closes at most one element of its name, so that the count is never below
/// what a tree builder has open.
#[derive(Default)]
struct Open {
    by_name: HashMap<String, usize>,
    now: usize,
    deepest: usize,
    tags: usize,
}

impl Open {
    fn start(&mut self, name: &str) -> Option<()> {
        self.tags += 1;
        // Void elements hold nothing; the others here close one another, so that unclosed ones are in use and harmless.
        if !matches!(
            name,
            "br" | "hr" | "p" | "li" | "dd" | "dt" | "td" | "th" | "tr"
        ) {
            *self.by_name.entry(name.to_owned()).or_default() += 1;
            self.now += 1;
            self.deepest = self.deepest.max(self.now);
        }
        (self.deepest <= MAX_OPEN && self.tags * self.deepest <= MAX_NODES).then_some(())
    }

    fn end(&mut self, name: &str) {
        self.tags += 1;
        if let Some(count) = self.by_name.get_mut(name).filter(|count| **count > 0) {
            *count -= 1;
            self.now -= 1;
        }
    }
}

fn write_tag(tag: &Tag<'_>, base: Option<&Url>, flat: &mut String) {
    let _ = write!(flat, "<{}", tag.name);
    let kept: &[&str] = match tag.name.as_str() {
        "a" => &["href"],
        "td" | "th" => &["colspan", "rowspan"],
        _ => &[],
    };
    for name in kept {
        let value = tag.value(name).map(|value| match (*name, base) {
            ("href", Some(base)) => base.join(&value).map_or(value, String::from),
            _ => value,
        });
        if let Some(value) = value {
            attribute(name, &value, flat);
        }
    }
    flat.push('>');
}

fn write_image(tag: &Tag<'_>, base: Option<&Url>, flat: &mut String) {
    let Some(found) = image::of_tag(tag, base) else {
        return;
    };
    flat.push_str("<img");
    attribute("src", found.url.as_str(), flat);
    attribute("alt", &found.alt, flat);
    for (name, pixels) in [("width", found.width), ("height", found.height)] {
        if let Some(pixels) = pixels {
            attribute(name, &pixels.to_string(), flat);
        }
    }
    flat.push('>');
}

fn attribute(name: &str, value: &str, flat: &mut String) {
    let _ = write!(flat, " {name}=\"");
    escape(value, flat);
    flat.push('"');
}

/// Text keeps its entities; an angle bracket in it starts no tag.
fn write_text(stretch: &str, flat: &mut String) {
    for c in stretch.chars() {
        match c {
            '<' => flat.push_str("&lt;"),
            '\n' | '\t' => flat.push(c),
            c if c.is_control() => {}
            c => flat.push(c),
        }
    }
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
}

fn cut(text: &str, most_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(most_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expect: &str) {
        let base = Url::parse("https://site.example/post/").unwrap();
        assert_eq!(article_html(html, Some(&base)), expect, "{html}");
    }

    #[test]
    fn only_the_elements_of_an_article_remain() {
        check(
            "<p onclick=x style=y class=z>a<script>b</script><span>c</span></p>",
            "<p>ac</p>",
        );
        check(
            "<iframe src=//x>d</iframe><form><input>e</form><svg><style><img src=x onerror=y></style></svg>",
            "e",
        );
        check(
            "a < b &amp; &rsquo;c&rsquo; <!-- d -->",
            "a &lt; b &amp; ’c’ ",
        );
        check("<p>one<p>two <b>three", "<p>one</p><p>two <b>three</b></p>");
        check(
            "<<script>script>alert(1)<</script>/script>",
            "&lt;/script&gt;",
        );
    }

    #[test]
    fn links_are_absolute_and_of_three_schemes() {
        check(
            "<a href='/x?a=1&amp;b=2'>y</a>",
            "<a href=\"https://site.example/x?a=1&amp;b=2\" rel=\"noopener noreferrer\">y</a>",
        );
        for href in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            "java\nscript:x",
            "data:text/html,x",
            "vbscript:x",
            "file:///x",
            " javascript:x",
        ] {
            check(
                &format!("<a href=\"{href}\">y</a>"),
                "<a rel=\"noopener noreferrer\">y</a>",
            );
        }
        check(
            "<a href='mailto:a@example.org'>y</a>",
            "<a href=\"mailto:a@example.org\" rel=\"noopener noreferrer\">y</a>",
        );
    }

    #[test]
    fn images_are_loadable_or_gone() {
        check(
            "<img src='data:x' data-src='/a.jpg' alt='\"A\"' width=600 onload=x>",
            "<img src=\"https://site.example/a.jpg\" alt=\"&quot;A&quot;\" width=\"600\">",
        );
        check(
            "<p><img src=/a.webp><img src=/p.gif width=1 height=1></p>",
            "<p></p>",
        );
    }

    #[test]
    fn what_is_too_deep_or_too_large_becomes_plain_text_quickly() {
        let deep = format!("{}deep{}", "<div>".repeat(50_000), "</div>".repeat(50_000));
        check(&deep[..MAX_BYTES], "<p>deep</p>");
        check(&"<div></p></x>".repeat(300), "");
        check(&format!("{}y", "<a><div></a>".repeat(600)), "<p>y</p>");
        let long = format!("<b>{}</b>", "word ".repeat(60_000));
        let cleaned = article_html(&long, None);
        assert!(cleaned.starts_with("<p>word word") && cleaned.len() <= MAX_BYTES + 10);
        // 200 formatting elements, opened again in each of 60,000 paragraphs.
        let formats = (0..200).fold(String::new(), |all, n| all + &format!("<b><i{n}>"));
        let again = article_html(&format!("<p>{formats}{}", "<p>x".repeat(60_000)), None);
        assert!(again.len() < 1 << 20, "{}", again.len());
    }

    proptest::proptest! {
        #[test]
        fn a_second_pass_changes_nothing(html in "(<(p|b|a href=x|img src=/y|div|td|svg|script)>|</(p|b|a|div)>|[a-c &<>\"']){0,30}") {
            let base = Url::parse("https://site.example/").unwrap();
            let once = article_html(&html, Some(&base));
            proptest::prop_assert!(!once.contains("<script") && !once.contains("<svg"));
            proptest::prop_assert_eq!(article_html(&once, Some(&base)), once);
        }
    }
}
