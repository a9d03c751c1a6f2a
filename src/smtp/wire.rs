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
    if bytes.is_empty() {
        return Err(WireError::Empty);
    }
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(WireError::Nul(at));
    }
    let mut line_start = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[line_start..at];
        let line = line.strip_suffix(b"\r").ok_or(WireError::BareLineEnd(at))?;
        refuse_cr(line, line_start)?;
        if line.len() > MAX_LINE_BYTES {
            return Err(WireError::LineTooLong(line_start));
        }
        if line.starts_with(b".") && line.get(1) != Some(&b'.') {
            return Err(WireError::UnstuffedDot(line_start));
        }
        line_start = at + 1;
    }
    refuse_cr(&bytes[line_start..], line_start)?;
    if line_start != bytes.len() {
        return Err(WireError::UnfinishedLine);
    }
    Ok(())
}

fn refuse_cr(line: &[u8], line_start: usize) -> Result<(), WireError> {
    match memchr::memchr(b'\r', line) {
        Some(at) => Err(WireError::BareLineEnd(line_start + at)),
        None => Ok(()),
    }
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
