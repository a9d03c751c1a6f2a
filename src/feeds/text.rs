//! From markup to plain text that is safe in a subject, a heading and a text part.

use super::html::{Piece, pieces};

/// `html` as one line of text: tags gone, entities resolved, control and direction characters removed, spaces joined.
pub(crate) fn from_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for piece in pieces(html) {
        match piece {
            Piece::Text(stretch) => text.push_str(stretch),
            Piece::Open(tag) if !is_inline(&tag.name) => text.push(' '),
            Piece::Close(name) if !is_inline(&name) => text.push(' '),
            Piece::Open(_) | Piece::Close(_) => {}
        }
    }
    one_line(&resolve_entities(&text))
}

/// A title as one line of text. Feeds put both markup and plain text with angle brackets into titles, so a tag that is
/// no HTML element stays, as in "What `Vec<T>` is".
pub(crate) fn from_title(title: &str) -> String {
    let mut text = String::with_capacity(title.len());
    for piece in pieces(title) {
        match piece {
            Piece::Text(stretch) => text.push_str(stretch),
            Piece::Open(tag) if is_element(&tag.name) => {}
            Piece::Close(name) if is_element(&name) => {}
            Piece::Open(_) | Piece::Close(_) => return from_title_as_written(title),
        }
    }
    one_line(&resolve_entities(&text))
}

/// `text` with spaces joined and control, direction and invisible characters removed.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let before = line.len();
        if before > 0 {
            line.push(' ');
        }
        let start = line.len();
        line.extend(word.chars().filter(|c| !is_invisible(*c)));
        if line.len() == start {
            line.truncate(before);
        }
    }
    line
}

/// `text` with HTML's entities resolved, all 2,231 of them. Angle brackets stay as they are.
pub(crate) fn resolve_entities(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    // The parser behind the sanitiser knows every entity. It gets no tag to see, and writes back only these four.
    let escaped = text.replace('<', "&lt;").replace('\0', "");
    let cleaned = ammonia::Builder::empty().clean(&escaped).to_string();
    cleaned
        .replace("&nbsp;", "\u{a0}")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// The first `most` characters of `text` or a little more, cut where a sentence ends, else between words with an ellipsis.
pub(crate) fn cut_at_sentence(text: &str, most: usize) -> String {
    let slack = most + most / 7;
    let Some((limit, _)) = text.char_indices().nth(slack) else {
        return text.to_owned();
    };
    let head = &text[..limit];
    let earliest = head.char_indices().nth(most / 2).map_or(0, |(at, _)| at);
    if let Some(end) = sentence_ends(head).filter(|end| *end > earliest).last() {
        return head[..end].to_owned();
    }
    let hard = head.char_indices().nth(most).map_or(limit, |(at, _)| at);
    let end = head[..hard]
        .rfind(' ')
        .filter(|end| *end > 0)
        .unwrap_or(hard);
    format!(
        "{}…",
        head[..end].trim_end_matches([' ', ',', ';', ':', '-', '–'])
    )
}

/// Where sentences end: behind the mark and closing quotes, before a space. A full stop after one letter, or two that begin with
/// a capital, is taken for an abbreviation ("U.S.", "Mr.").
fn sentence_ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.char_indices().filter_map(|(at, mark)| {
        if matches!(mark, '。' | '！' | '？') {
            return Some(at + mark.len_utf8());
        }
        if !matches!(mark, '.' | '!' | '?' | '…') {
            return None;
        }
        let behind = &text[at + mark.len_utf8()..];
        let rest = behind.trim_start_matches(['"', '\'', ')', '”', '’', '»']);
        let word = text[..at]
            .rsplit(|c: char| !c.is_alphabetic())
            .next()
            .unwrap_or_default();
        let letters = word.chars().take(3).count();
        let short = letters == 1 || (letters == 2 && word.starts_with(char::is_uppercase));
        let abbreviation = mark == '.' && short;
        (rest.starts_with(' ') && !abbreviation).then(|| text.len() - rest.len())
    })
}

fn from_title_as_written(title: &str) -> String {
    one_line(&resolve_entities(title))
}

fn is_inline(name: &str) -> bool {
    matches!(
        name,
        "a" | "abbr"
            | "b"
            | "bdi"
            | "bdo"
            | "big"
            | "cite"
            | "code"
            | "del"
            | "em"
            | "font"
            | "i"
            | "ins"
            | "kbd"
            | "mark"
            | "q"
            | "s"
            | "small"
            | "span"
            | "strong"
            | "sub"
            | "sup"
            | "tt"
            | "u"
            | "var"
            | "wbr"
    )
}

fn is_element(name: &str) -> bool {
    is_inline(name)
        || matches!(
            name,
            "applet"
                | "article"
                | "audio"
                | "blockquote"
                | "br"
                | "button"
                | "center"
                | "div"
                | "embed"
                | "figure"
                | "form"
                | "h1"
                | "h2"
                | "h3"
                | "h4"
                | "h5"
                | "h6"
                | "hr"
                | "iframe"
                | "img"
                | "input"
                | "li"
                | "link"
                | "marquee"
                | "math"
                | "meta"
                | "noscript"
                | "object"
                | "ol"
                | "p"
                | "picture"
                | "pre"
                | "script"
                | "section"
                | "source"
                | "strike"
                | "style"
                | "svg"
                | "table"
                | "tbody"
                | "td"
                | "template"
                | "textarea"
                | "th"
                | "title"
                | "tr"
                | "ul"
                | "video"
        )
}

/// Characters that show nothing, or turn the direction of what follows (Unicode TR 9; "Trojan Source").
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_one_line_of_text() {
        assert_eq!(from_html("<p>One</p><p>two<br>three</p>"), "One two three");
        assert_eq!(
            from_html("It&rsquo;s 5&nbsp;&lt;&#x20AC;&gt; &amp; <b>mo</b>re"),
            "It’s 5 <€> & more"
        );
        assert_eq!(from_html("<script>alert(1)</script>x<!-- y -->"), "x");
        assert_eq!(from_html("a\u{0}b\u{202e}c\u{200b}d\u{7}e"), "a bcd e");
    }

    #[test]
    fn titles_keep_what_only_looks_like_a_tag() {
        assert_eq!(from_title("<em>AT&amp;T</em> &#8211; now"), "AT&T – now");
        assert_eq!(from_title("What Vec<T> is"), "What Vec<T> is");
        assert_eq!(from_title("1 < 2 &lt; 3"), "1 < 2 < 3");
        assert_eq!(from_title("Hi<script>alert(1)</script>"), "Hi");
    }

    #[test]
    fn summaries_end_at_a_sentence_where_there_is_one() {
        let text = "The U.S. court ruled today. It said no. The company, which had hoped for more, will appeal next week.";
        assert_eq!(
            cut_at_sentence(text, 50),
            "The U.S. court ruled today. It said no."
        );
        assert_eq!(cut_at_sentence("short", 280), "short");
        assert_eq!(
            cut_at_sentence("no end in these many words", 10),
            "no end in…"
        );
        assert_eq!(
            cut_at_sentence(&"長".repeat(40), 10),
            format!("{}…", "長".repeat(10))
        );
    }
}
