//! The text part's last touch: lines of at most 72 characters, links whole and alone.

use super::clean;

/// The width of a text part's lines (RFC 5322, section 2.1.1 recommends at most 78).
const WIDTH: usize = 72;

/// What a line of a list begins with.
const ITEM: &str = "* ";

/// `text` wrapped at spaces, without trailing white space, with at most one blank line in a row.
///
/// A word longer than a line, such as a link, is never broken. What follows `* ` is indented under it.
pub(super) fn wrapped(text: &str) -> String {
    let cleaned = clean::lines(text);
    let mut out = String::with_capacity(cleaned.len() + cleaned.len() / WIDTH);
    let mut blank = true;
    for line in cleaned.lines().map(str::trim_end) {
        if line.is_empty() {
            if !blank {
                out.push('\n');
            }
            blank = true;
            continue;
        }
        blank = false;
        wrap_line(line, &mut out);
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn wrap_line(line: &str, out: &mut String) {
    let (mark, words) = match line.strip_prefix(ITEM) {
        Some(words) => (ITEM, words),
        None => ("", line),
    };
    out.push_str(mark);
    let indent = mark.len();
    let mut used = indent;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        let alone = is_link(word);
        if used > indent && (alone || used + 1 + width > WIDTH) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        } else if used > indent {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used = if alone { WIDTH } else { used + width };
    }
    out.push('\n');
}

fn is_link(word: &str) -> bool {
    word.starts_with("https://") || word.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_links_are_whole_and_alone() {
        let link = format!("https://news.example/{}", "a".repeat(200));
        let text = wrapped(&format!(
            "{} see {link} for {}",
            "word ".repeat(30),
            "more ".repeat(30)
        ));
        assert!(text.lines().any(|line| line == link));
        assert!(
            text.lines()
                .all(|line| line == link || line.chars().count() <= WIDTH)
        );
        assert_eq!(text.split_whitespace().count(), 63);
    }

    #[test]
    fn blank_lines_never_pile_up_and_lists_hang() {
        assert_eq!(wrapped("\n\na \n\n\n \nb\n\n"), "a\n\nb\n");
        let list = wrapped(&format!("* {}", "word ".repeat(20)));
        let lines: Vec<&str> = list.lines().collect();
        assert!(lines[0].starts_with("* word word"));
        assert!(lines[1].starts_with("  word word"));
        assert_eq!(
            wrapped("* One\n* https://news.example/"),
            "* One\n* https://news.example/\n"
        );
    }

    #[test]
    fn a_link_without_tls_stands_alone_too() {
        let text = wrapped("see http://news.example/ for more");
        assert_eq!(text, "see\nhttp://news.example/\nfor more\n");
    }

    #[test]
    fn a_line_is_filled_up_to_its_width() {
        let full = format!("{}{}", "aaaaaaa ".repeat(8), "a".repeat(8));
        assert_eq!(wrapped(&full), format!("{full}\n"));
        assert_eq!(wrapped(&format!("{full}a")).lines().count(), 2);
    }
}
