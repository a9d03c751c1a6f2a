//! Values made fit for a header or a line of text.

/// The longest subject in characters.
pub const SUBJECT_CHARS: usize = 150;

/// One line of plain text: control and bidirectional characters gone, white space collapsed, at most `max_chars`.
///
/// A cut value ends with an ellipsis.
pub fn one_line(text: &str, max_chars: usize) -> String {
    let visible = text.chars().map(|c| if is_break(c) { ' ' } else { c });
    let visible: String = visible.filter(|c| !is_unwanted(*c)).collect();
    let mut line = String::with_capacity(visible.len());
    for word in visible.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    truncated(&line, max_chars)
}

/// A subject: one line of at most [`SUBJECT_CHARS`] that does not pose as an answer (Gmail refuses those).
pub fn subject(text: &str) -> String {
    let line = one_line(text, SUBJECT_CHARS);
    let mut rest = line.as_str();
    while let Some(after) = answer_prefix(rest) {
        rest = after.trim_start();
    }
    rest.to_owned()
}

/// Text of several lines: the same characters go, line ends become `\n`, tabs become spaces.
pub fn lines(text: &str) -> String {
    let unified = text.replace("\r\n", "\n");
    let unified = unified.chars().map(|c| match c {
        '\n' => '\n',
        c if is_break(c) => '\n',
        '\t' => ' ',
        c => c,
    });
    unified.filter(|c| *c == '\n' || !is_unwanted(*c)).collect()
}

/// `text` cut to `max_chars` at a word's end where there is one near, with an ellipsis.
pub fn truncated(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max_chars.saturating_sub(1)).collect();
    let at_word = kept.rfind(' ').filter(|at| *at > kept.len() / 2);
    let kept = at_word.map_or(kept.as_str(), |at| &kept[..at]);
    format!("{}…", kept.trim_end_matches([' ', ',', ';', ':', '.']))
}

fn answer_prefix(text: &str) -> Option<&str> {
    ["re:", "fwd:", "fw:", "aw:", "wg:"]
        .iter()
        .find_map(|prefix| {
            let (head, tail) = text.split_at_checked(prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some(tail)
        })
}

/// Ends a line somewhere: CR, LF, VT, FF, NEL, U+2028, U+2029.
fn is_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// C0 but the tab, DEL, C1, and the characters that turn the direction of what follows (U+2068 and U+2069 too, when
/// they come from outside: unbalanced ones leak).
fn is_unwanted(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_one_plain_line() {
        let hostile = "a\r\nBcc: x@y\u{2028}b\u{202E}c\u{0} \t d\u{85}e";
        assert_eq!(one_line(hostile, 99), "a Bcc: x@y bc d e");
        assert_eq!(one_line("one two three", 9), "one two…");
        assert_eq!(one_line("onetwothree", 4), "one…");
    }

    #[test]
    fn a_subject_never_poses_as_an_answer() {
        assert_eq!(subject("Re: RE: fwd:  News"), "News");
        assert_eq!(subject("Reform passes"), "Reform passes");
        assert!(subject(&"long ".repeat(99)).chars().count() <= SUBJECT_CHARS);
    }

    #[test]
    fn lines_keep_their_breaks_and_nothing_else_unseen() {
        assert_eq!(lines("a\r\nb\u{2029}c\td\u{7}"), "a\nb\nc d");
    }

    #[test]
    fn no_character_that_turns_the_direction_of_text_is_left_in_a_value() {
        let marks = "\u{200E}\u{200F}\u{FEFF}";
        let embedding = "\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}";
        let isolating = "\u{2066}\u{2067}\u{2068}\u{2069}";
        for c in [marks, embedding, isolating].concat().chars() {
            let text = format!("a{c}b");
            let cleaned = (one_line(&text, 9), lines(&text));
            assert_eq!(cleaned, ("ab".to_owned(), "ab".to_owned()), "{c:?}");
        }
    }

    #[test]
    fn whatever_ends_a_line_keeps_its_words_apart() {
        for c in "\n\r\u{B}\u{C}\u{85}\u{2028}\u{2029}".chars() {
            let text = format!("a{c}b");
            let cleaned = (one_line(&text, 9), lines(&text));
            assert_eq!(cleaned, ("a b".to_owned(), "a\nb".to_owned()), "{c:?}");
        }
    }

    #[test]
    fn a_text_is_cut_at_a_word_that_ends_near_and_only_where_it_is_too_long() {
        for (text, max_chars, expected) in [
            ("one two", 7, "one two"),
            ("one two!", 7, "one tw…"),
            ("one two, three", 10, "one two…"),
            ("a bcdefghijk", 10, "a bcdefgh…"),
            ("日本語の長い題", 7, "日本語の長い題"),
        ] {
            assert_eq!(truncated(text, max_chars), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_is_known_in_each_language_that_is_known() {
        for prefix in ["Re:", "FWD:", "Fw:", "AW:", "Wg:", "WG: AW:"] {
            assert_eq!(subject(&format!("{prefix} News")), "News", "{prefix}");
        }
        assert_eq!(subject("Awards: the winners"), "Awards: the winners");
    }
}
