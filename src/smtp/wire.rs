//! The last look at a message before it may leave.

use bytes::Bytes;

/// Longest line, its CRLF not counted. RFC 5322, section 2.1.1.
pub const MAX_LINE_BYTES: usize = 998;

/// Bytes of a message as they go on the wire: dot-stuffed (RFC 5321, section 4.5.2), CRLF line ends, ending with CRLF,
/// without the closing dot. They cannot end the message early and cannot hold a second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire(Bytes);

/// Why bytes may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is nothing.
    #[error("the message is empty")]
    Empty,
    /// A CR without LF or an LF without CR.
    #[error("the message has a bare CR or LF at byte {0}")]
    BareLineEnd(usize),
    /// A line of more than [`MAX_LINE_BYTES`].
    #[error("the message has a line of more than {MAX_LINE_BYTES} bytes at byte {0}")]
    LineTooLong(usize),
    /// A line begins with one dot that is followed by no second one.
    #[error("the message has a line with an unstuffed dot at byte {0}")]
    UnstuffedDot(usize),
    /// The last line has no CRLF.
    #[error("the message does not end with CRLF")]
    UnfinishedLine,
    /// A NUL.
    #[error("the message has a NUL byte at byte {0}")]
    Nul(usize),
}

impl Wire {
    /// Checks `bytes`, which are dot-stuffed already.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, WireError> {
        let bytes = bytes.into();
        check(&bytes).map(|()| Self(bytes))
    }

    /// The bytes, without the closing dot.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are, dot-stuffing included.
    pub fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    /// The message as its reader gets it, dot-stuffing undone.
    pub fn unstuffed(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.0.len());
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        message
    }
}

fn check(bytes: &[u8]) -> Result<(), WireError> {
    let Some(last) = bytes.len().checked_sub(1) else {
        return Err(WireError::Empty);
    };
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(WireError::Nul(at));
    }
    if bytes[0] == b'\n' {
        return Err(WireError::BareLineEnd(0));
    }
    if let Some(at) = first_unpaired(bytes) {
        let at = if bytes[at] == b'\r' { at } else { at + 1 };
        return Err(WireError::BareLineEnd(at));
    }
    match bytes[last] {
        b'\n' => {}
        b'\r' => return Err(WireError::BareLineEnd(last)),
        _ => return Err(WireError::UnfinishedLine),
    }
    // the first line has no LF before it
    let dotted = memchr::memmem::find_iter(bytes, b"\n.").map(|at| at + 1);
    let first = bytes.starts_with(b".").then_some(0);
    let mut dotted = first.into_iter().chain(dotted);
    if let Some(at) = dotted.find(|at| bytes[at + 1] != b'.') {
        return Err(WireError::UnstuffedDot(at));
    }
    first_long_line(bytes).map_or(Ok(()), |at| Err(WireError::LineTooLong(at)))
}

/// The first byte that is a CR without an LF behind it, or has an LF without a CR behind it. Every byte of every message
/// is looked at, so this counts: without a way out of the inner loop the compiler compares many pairs at once.
fn first_unpaired(bytes: &[u8]) -> Option<usize> {
    const PIECE: usize = 1024;
    let is_unpaired = |(left, right): (&u8, &u8)| (*left == b'\r') != (*right == b'\n');
    let pairs = bytes.chunks(PIECE).zip(bytes[1..].chunks(PIECE));
    for (piece, (left, right)) in pairs.enumerate() {
        let pairs = left.iter().zip(right);
        if pairs
            .clone()
            .fold(false, |any, pair| any | is_unpaired(pair))
        {
            let at = pairs.clone().position(is_unpaired)?;
            return Some(piece * PIECE + at);
        }
    }
    None
}

/// Where a line of more than [`MAX_LINE_BYTES`] begins; all lines end with CRLF. From one line's begin as far as it may
/// reach, and back to the last begin of a line there: those between are short enough.
fn first_long_line(bytes: &[u8]) -> Option<usize> {
    let most = MAX_LINE_BYTES + 2;
    let mut begin = 0;
    while let Some(reach) = bytes[begin..].get(..most) {
        match memchr::memrchr(b'\n', reach) {
            Some(end) => begin += end + 1,
            None => return Some(begin),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_stuffed_message_passes_and_is_unstuffed_for_its_reader() {
        let wire = Wire::parse("Subject: x\r\n\r\n..\r\n..dot\r\na.b\r\n").unwrap();
        assert_eq!(wire.unstuffed(), b"Subject: x\r\n\r\n.\r\n.dot\r\na.b\r\n");
    }

    #[test]
    fn smuggled_line_ends_are_refused() {
        for (bytes, error) in [
            ("x\n.\r\nMAIL FROM:<a@b.c>\r\n", WireError::BareLineEnd(1)),
            ("x\r.\r\n", WireError::BareLineEnd(1)),
            ("x\r", WireError::BareLineEnd(1)),
            ("x\r\r\n", WireError::BareLineEnd(1)),
            ("x\r\n\n", WireError::BareLineEnd(3)),
            (
                "x\r\n.\r\nMAIL FROM:<a@b.c>\r\n",
                WireError::UnstuffedDot(3),
            ),
            (".x\r\n", WireError::UnstuffedDot(0)),
            ("x", WireError::UnfinishedLine),
            ("", WireError::Empty),
            ("a\0b\r\n", WireError::Nul(1)),
        ] {
            assert_eq!(Wire::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_may_have_998_bytes_and_no_more() {
        let line = |length| "x".repeat(length) + "\r\n";
        assert!(Wire::parse(line(998)).is_ok());
        assert_eq!(Wire::parse(line(999)), Err(WireError::LineTooLong(0)));
        let after_others = [line(998), line(10), line(700), line(999), line(1)].concat();
        assert_eq!(
            Wire::parse(after_others),
            Err(WireError::LineTooLong(1000 + 12 + 702))
        );
    }

    #[test]
    fn what_is_wrong_is_found_wherever_it_stands() {
        // around the ends of the pieces in which pairs are compared, too
        for at in [2, 72, 5000]
            .into_iter()
            .chain(1020..1028)
            .chain(2044..2052)
        {
            let lines = ("y".repeat(498) + "\r\n").repeat((at - 2) / 500);
            let before = "x".repeat((at - 2) % 500) + "\r\n" + &lines;
            assert_eq!(before.len(), at);
            for (bytes, error) in [
                ("z\rz\r\n", WireError::BareLineEnd(at + 1)),
                ("z\nz\r\n", WireError::BareLineEnd(at + 1)),
                ("\nz\r\n", WireError::BareLineEnd(at)),
                ("z\r", WireError::BareLineEnd(at + 1)),
                (".\r\n", WireError::UnstuffedDot(at)),
                ("..\r\n.z\r\n", WireError::UnstuffedDot(at + 4)),
                ("z", WireError::UnfinishedLine),
            ] {
                assert_eq!(
                    Wire::parse(before.clone() + bytes),
                    Err(error),
                    "{bytes:?} at {at}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_passes_holds_no_early_end(text in "[.\r\nab]{0,40}") {
            if let Ok(wire) = Wire::parse(text) {
                let mut sent = b"\r\n".to_vec();
                sent.extend_from_slice(wire.as_bytes());
                proptest::prop_assert!(memchr::memmem::find(&sent, b"\n.\r").is_none());
                proptest::prop_assert!(memchr::memmem::find(&sent, b"\r.\r").is_none());
                proptest::prop_assert!(memchr::memmem::find(&sent, b"\n.\n").is_none());
            }
        }
    }
}
