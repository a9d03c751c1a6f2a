//! Quoted-printable (RFC 2045, section 6.7), with a reader's tokens on lines of their own.
//!
//! Two additions to the RFC's rules keep the bytes as they are on any way through a relay: no line begins with a dot,
//! so nothing is dot-stuffed, and none with `From `, so no mailbox file changes it (a change would break a signature).

use super::encode::{Slot, SlotKind};

/// Characters of a line before its soft break; with the `=` it has the 76 that the RFC allows.
const LINE: usize = 75;

/// Where a reader's token goes: the text that stands for it, and what it is.
pub(super) type Mark<'a> = (&'a str, SlotKind);

/// Writes `text` encoded, with CRLF line ends, the last line's included. Each mark becomes a slot of no width.
///
/// LF, CR and CRLF all end a line of `text`. A character is never split over two lines.
pub(super) fn encode(text: &str, marks: &[Mark<'_>], out: &mut Vec<u8>, slots: &mut Vec<Slot>) {
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in unified.lines() {
        encode_line(line, marks, out, slots);
        out.extend_from_slice(b"\r\n");
    }
}

fn encode_line(mut rest: &str, marks: &[Mark<'_>], out: &mut Vec<u8>, slots: &mut Vec<Slot>) {
    let mut column = 0;
    loop {
        let next = marks
            .iter()
            .filter_map(|(mark, kind)| Some((rest.find(mark)?, mark.len(), *kind)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, width, kind)) = next else {
            encode_plain(rest, true, &mut column, out);
            return;
        };
        encode_plain(&rest[..at], false, &mut column, out);
        if column > 0 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        slots.push(Slot {
            at: out.len(),
            kind,
        });
        rest = &rest[at + width..];
        if rest.is_empty() {
            return;
        }
        out.extend_from_slice(b"=\r\n");
    }
}

fn encode_plain(text: &str, ends_line: bool, column: &mut usize, out: &mut Vec<u8>) {
    for (at, c) in text.char_indices() {
        let last = ends_line && at + c.len_utf8() == text.len();
        let mut atom = atom(c, last);
        if *column + atom.len() > LINE {
            out.extend_from_slice(b"=\r\n");
            *column = 0;
        }
        if *column == 0 && (c == '.' || text[at..].starts_with("From ")) {
            atom = escaped(c);
        }
        out.extend_from_slice(&atom);
        *column += atom.len();
    }
}

/// How one character stands in the encoded text. White space at a line's end is always escaped.
fn atom(c: char, last: bool) -> Vec<u8> {
    match c {
        ' ' | '\t' if !last => vec![c as u8],
        '!'..='<' | '>'..='~' => vec![c as u8],
        _ => escaped(c),
    }
}

fn escaped(c: char) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).bytes();
    bytes
        .flat_map(|b| [b'=', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        encode(text, &[], &mut out, &mut Vec::new());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_text_stays_readable_and_the_rest_is_escaped() {
        assert_eq!(encoded("a = b é"), "a =3D b =C3=A9\r\n");
        assert_eq!(encoded("end \nend\t"), "end=20\r\nend=09\r\n");
        assert_eq!(encoded("a\rb\r\nc"), "a\r\nb\r\nc\r\n");
        assert_eq!(encoded("nul\0"), "nul=00\r\n");
    }

    #[test]
    fn no_line_begins_with_a_dot_or_with_from() {
        assert_eq!(encoded(".\n..x\nFrom me"), "=2E\r\n=2E.x\r\n=46rom me\r\n");
        let long = encoded(&".".repeat(200));
        assert!(
            long.lines()
                .all(|line| line.starts_with("=2E") && line.len() <= 76)
        );
    }

    #[test]
    fn lines_have_at_most_76_characters_and_whole_letters() {
        let text = encoded(&"漢字é".repeat(50));
        assert!(text.lines().all(|line| line.len() <= 76));
        assert!(
            text.lines()
                .all(|line| line.trim_end_matches('=').len() % 3 == 0)
        );
    }

    #[test]
    fn a_mark_becomes_a_slot_on_a_line_of_its_own() {
        let mark = "M".repeat(74);
        let mut slots = Vec::new();
        let mut out = Vec::new();
        let text = format!("<a href=x/{mark}>go</a>\nx/{mark}\n{mark}");
        encode(
            &text,
            &[(&mark, SlotKind::Unsubscribe)],
            &mut out,
            &mut slots,
        );
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            "<a href=3Dx/=\r\n=\r\n>go</a>\r\nx/=\r\n\r\n\r\n"
        );
        let at: Vec<usize> = slots.iter().map(|slot| slot.at).collect();
        assert_eq!(at, [15, 32, 34]);
        assert_eq!(&out[15..18], b"=\r\n");
    }

    #[test]
    fn no_line_begins_with_from_behind_a_soft_break_either() {
        let full = "x".repeat(75);
        assert_eq!(
            encoded(&format!("{full}From me")),
            format!("{full}=\r\n=46rom me\r\n")
        );
    }

    #[test]
    fn marks_become_slots_in_the_order_of_the_text_and_what_follows_one_begins_a_line() {
        let (leave, change) = ("L".repeat(74), "C".repeat(74));
        let marks = [
            (leave.as_str(), SlotKind::Unsubscribe),
            (change.as_str(), SlotKind::Preferences),
        ];
        let (mut out, mut slots) = (Vec::new(), Vec::new());
        let text = format!("x/{change}.\nx/{change} x/{leave}From me");
        encode(&text, &marks, &mut out, &mut slots);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "x/=\r\n=\r\n=2E\r\nx/=\r\n=\r\n x/=\r\n=\r\n=46rom me\r\n"
        );
        let kinds: Vec<SlotKind> = slots.iter().map(|slot| slot.kind).collect();
        let (leave, change) = (SlotKind::Unsubscribe, SlotKind::Preferences);
        assert_eq!(kinds, [change, change, leave]);
    }
}
