//! One complete SMTP reply (RFC 5321, section 4.2), read with patience for servers and with limits for hostile ones.

use std::fmt;
use std::str::FromStr;

use lettre::transport::smtp::response::Response;

/// Longest line that is taken, its line end included. RFC 5321, section 4.5.3.1.5 allows 512.
pub const MAX_LINE_BYTES: usize = 2 * 1024;
/// Longest reply that is taken, all its lines together.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;
/// Lines that are kept of a reply; the rest is read and dropped.
const MAX_LINES: usize = 100;

/// A complete reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits as a number. Any three digits may stand here; what they mean is the reader's affair.
    pub code: u16,
    /// The enhanced code of the first line that begins with one.
    pub enhanced: Option<EnhancedCode>,
    /// The text of each line without code, separator and line end: printable ASCII, what was not is `?`.
    pub lines: Vec<String>,
}

impl Reply {
    /// The text of all lines on one, at most 500 characters, for records and for people.
    pub fn text(&self) -> String {
        let mut text = self.lines.join(" ");
        text.truncate(500);
        text.trim().to_owned()
    }

    /// Whether the code is 200 to 299: the command was done.
    pub fn is_done(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the code is 400 to 499: not now.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether the code is 500 to 599: never.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The same reply in lettre's type, for its EHLO and AUTH grammar. `None` where lettre refuses the digits.
    pub(crate) fn to_response(&self) -> Option<Response> {
        let last = self.lines.len().saturating_sub(1);
        let line = |(index, text): (usize, &String)| {
            let separator = if index == last { ' ' } else { '-' };
            format!("{:03}{separator}{text}\r\n", self.code)
        };
        let normal: String = self.lines.iter().enumerate().map(line).collect();
        Response::from_str(&normal).ok()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {}", self.code, self.text())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// An enhanced status code (RFC 3463): class 2, 4 or 5, subject and detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 the address, 2 the mailbox, 3 the mail system, 7 policy.
    pub subject: u16,
    /// The detail within the subject.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code that `line` begins with, if it begins with one.
    pub fn at_start_of(line: &str) -> Option<Self> {
        let (class, rest) = line.split_once('.')?;
        let (subject, rest) = rest.split_once('.')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        Some(Self {
            class,
            subject: three_digits(subject)?,
            detail: three_digits(&rest[..digits])?,
        })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line does not begin with three digits and a space, a hyphen or its end.
    #[error("a line that does not begin with a reply code")]
    NoCode,
    /// Two lines of one reply carry different codes.
    #[error("a reply whose lines carry different codes")]
    CodesDiffer,
    /// A line is longer than [`MAX_LINE_BYTES`].
    #[error("a reply line of more than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    /// The reply is longer than [`MAX_REPLY_BYTES`].
    #[error("a reply of more than {MAX_REPLY_BYTES} bytes")]
    ReplyTooLong,
}

/// Takes lines until they make a reply.
#[derive(Debug, Default)]
pub struct ReplyParser {
    code: Option<u16>,
    lines: Vec<String>,
    taken_bytes: usize,
}

impl ReplyParser {
    /// Takes one line, its line end (LF or CRLF) included. Answers the reply when this was its last line.
    pub fn take_line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        self.taken_bytes += line.len();
        if line.len() > MAX_LINE_BYTES {
            return Err(ReplyError::LineTooLong);
        }
        if self.taken_bytes > MAX_REPLY_BYTES {
            return Err(ReplyError::ReplyTooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let code = leading_code(line).ok_or(ReplyError::NoCode)?;
        let (last, text) = match line.get(3) {
            None => (true, &line[3..]),
            Some(b' ') => (true, &line[4..]),
            Some(b'-') => (false, &line[4..]),
            Some(_) => return Err(ReplyError::NoCode),
        };
        if *self.code.get_or_insert(code) != code {
            return Err(ReplyError::CodesDiffer);
        }
        if self.lines.len() < MAX_LINES || last {
            self.lines.push(printable(text));
        }
        if !last {
            return Ok(None);
        }
        let lines = std::mem::take(self).lines;
        let enhanced = lines
            .iter()
            .find_map(|line| EnhancedCode::at_start_of(line));
        Ok(Some(Reply {
            code,
            enhanced,
            lines,
        }))
    }
}

/// The code that `bytes` begin with: three digits, whatever follows.
pub fn leading_code(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..3)?;
    digits.iter().all(u8::is_ascii_digit).then(|| {
        digits
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
    })
}

/// `bytes` as printable ASCII: anything else becomes `?`.
pub fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        })
        .collect()
}

fn three_digits(text: &str) -> Option<u16> {
    let plausible = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plausible.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let mut parser = ReplyParser::default();
        let mut last = Ok(None);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            last = parser.take_line(line);
            if !matches!(last, Ok(None)) {
                break;
            }
        }
        last
    }

    #[test]
    fn a_reply_without_text_is_a_reply() {
        for bytes in [&b"250\r\n"[..], b"250 \r\n", b"250\n"] {
            let reply = read(bytes).unwrap().unwrap();
            assert_eq!((reply.code, reply.text()), (250, String::new()));
            assert!(reply.to_response().unwrap().has_code(250));
        }
    }

    #[test]
    fn the_first_enhanced_code_of_any_line_counts() {
        let reply = read(b"550-No such person\r\n550-5.1.1 Try again\r\n550 5.7.1 later\r\n");
        let reply = reply.unwrap().unwrap();
        assert_eq!(reply.enhanced.unwrap().to_string(), "5.1.1");
        assert_eq!(reply.text(), "No such person 5.1.1 Try again 5.7.1 later");
    }

    #[test]
    fn what_only_looks_like_an_enhanced_code_is_none() {
        for line in [
            "3.1.1 x",
            "5.1 x",
            "5.1.1234 x",
            "52.1.1",
            "5..1",
            "",
            "5.1.x",
            "1.2.3.4",
        ] {
            assert_eq!(EnhancedCode::at_start_of(line), None, "{line}");
        }
        assert_eq!(EnhancedCode::at_start_of("4.2.2: full").unwrap().detail, 2);
    }

    #[test]
    fn bytes_that_are_no_text_become_question_marks() {
        let reply = read(b"250 caf\xe9\x07 \xff\r\n").unwrap().unwrap();
        assert_eq!(reply.lines, ["caf?? ?"]);
    }

    #[test]
    fn codes_that_differ_are_no_reply() {
        assert_eq!(read(b"250-a\r\n550 b\r\n"), Err(ReplyError::CodesDiffer));
    }

    #[test]
    fn lines_without_code_are_no_reply() {
        for bytes in [
            &b"hello\r\n"[..],
            b"25\r\n",
            b"250ok\r\n",
            b"\r\n",
            b"2 50 x\r\n",
        ] {
            assert_eq!(read(bytes), Err(ReplyError::NoCode));
        }
    }

    #[test]
    fn lines_and_replies_are_bounded() {
        let mut line = b"250 ".to_vec();
        line.resize(MAX_LINE_BYTES + 1, b'x');
        assert_eq!(read(&line), Err(ReplyError::LineTooLong));
        let endless = b"250-more\r\n".repeat(MAX_REPLY_BYTES / 10 + 1);
        assert_eq!(read(&endless), Err(ReplyError::ReplyTooLong));
    }

    #[test]
    fn a_line_of_two_kib_and_a_reply_of_64_are_taken() {
        let mut line = b"250 ".to_vec();
        line.resize(MAX_LINE_BYTES - 2, b'x');
        line.extend_from_slice(b"\r\n");
        let reply = read(&line).unwrap().unwrap();
        assert_eq!(reply.lines[0].len(), 2048 - "250 \r\n".len());
        // lines of 16 bytes
        let mut bytes = b"250-0123456789\r\n".repeat(MAX_REPLY_BYTES / 16 - 1);
        bytes.extend_from_slice(b"250 0123456789\r\n");
        assert_eq!(bytes.len(), 65_536);
        assert!(matches!(read(&bytes), Ok(Some(_))));
    }

    #[test]
    fn replies_are_bounded_each_and_not_all_of_a_connection_together() {
        let mut parser = ReplyParser::default();
        let line = b"250 2.0.0 Ok: queued as 4Yx0Zl3QJvz9sT\r\n";
        for _ in 0..=MAX_REPLY_BYTES / line.len() {
            assert!(matches!(parser.take_line(line), Ok(Some(_))));
        }
    }

    #[test]
    fn of_a_long_reply_the_last_line_is_kept_and_its_text_is_short() {
        let mut bytes = b"550-more of the same\r\n".repeat(1_000);
        bytes.extend_from_slice(b"550 5.7.1 the end\r\n");
        let reply = read(&bytes).unwrap().unwrap();
        assert_eq!(reply.lines.len(), MAX_LINES + 1);
        assert_eq!(reply.enhanced.unwrap().to_string(), "5.7.1");
        assert!(reply.text().len() <= 500, "{}", reply.text().len());
    }

    #[test]
    fn five_hundred_characters_of_a_reply_are_kept_for_people() {
        let reply = read(format!("550 {}\r\n", "x".repeat(600)).as_bytes());
        assert_eq!(reply.unwrap().unwrap().text(), "x".repeat(500));
    }

    #[test]
    fn each_number_of_an_enhanced_code_may_have_three_digits() {
        let code = EnhancedCode::at_start_of("5.7.509 no DMARC").unwrap();
        assert_eq!((code.class, code.subject, code.detail), (5, 7, 509));
        let code = EnhancedCode::at_start_of("4.999.999").unwrap();
        assert_eq!((code.class, code.subject, code.detail), (4, 999, 999));
    }

    #[test]
    fn digits_beyond_the_grammar_are_kept_as_they_are() {
        assert_eq!(read(b"999 odd\r\n").unwrap().unwrap().code, 999);
        assert_eq!(
            read(b"090 odd\r\n").unwrap().unwrap().to_string(),
            "090 odd"
        );
        assert!(read(b"269 odd\r\n").unwrap().unwrap().is_done());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_a_clear_error(bytes: Vec<u8>) {
            if let Ok(Some(reply)) = read(&bytes) {
                proptest::prop_assert!(reply.lines.iter().all(|line| line.bytes().all(|b| (b' '..=b'~').contains(&b))));
            }
        }
    }
}
