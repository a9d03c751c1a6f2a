//! Bytes from the relay, until they make replies.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::reply::{MAX_LINE_BYTES, Reply, ReplyError, ReplyParser, printable};

/// What is kept of a reply for the record, should it never become complete.
const MAX_PARTIAL_BYTES: usize = 1024;

/// The read buffer of a connection. Bounded: a line longer than a reply's may be is an error before it is complete.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been looked through for a line end.
    searched: usize,
    parser: ReplyParser,
    /// The beginning of the reply being read, as it came.
    raw: Vec<u8>,
}

impl Input {
    /// Whether nothing is waiting: no byte of a next reply.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.raw.is_empty()
    }

    /// Reads once. Answers how many bytes came, 0 at the end of the stream.
    pub(crate) async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
    ) -> std::io::Result<usize> {
        self.buffer.reserve(MAX_LINE_BYTES);
        let room = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        stream.take(room).read_buf(&mut self.buffer).await
    }

    /// Takes bytes that were read elsewhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next reply, if the bytes so far hold one.
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                if self.searched > MAX_LINE_BYTES {
                    return Err(ReplyError::LineTooLong);
                }
                return Ok(None);
            };
            let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
            self.searched = 0;
            let room = MAX_PARTIAL_BYTES.saturating_sub(self.raw.len());
            self.raw.extend_from_slice(&line[..line.len().min(room)]);
            if let Some(reply) = self.parser.take_line(&line)? {
                self.raw.clear();
                return Ok(Some(reply));
            }
        }
    }

    /// What has been heard of a reply that is not complete.
    pub(crate) fn partial(&self) -> Option<String> {
        let mut bytes = self.raw.clone();
        bytes.extend_from_slice(&self.buffer);
        bytes.truncate(MAX_PARTIAL_BYTES);
        (!bytes.is_empty()).then(|| printable(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_found_however_the_bytes_are_cut() {
        let bytes = b"250-one\r\n250 two\r\n354 go\r\n";
        for cut in 0..bytes.len() {
            let mut input = Input::default();
            input.push(&bytes[..cut]);
            let mut codes = Vec::new();
            while let Some(reply) = input.next_reply().unwrap() {
                codes.push(reply.code);
            }
            input.push(&bytes[cut..]);
            while let Some(reply) = input.next_reply().unwrap() {
                codes.push(reply.code);
            }
            assert_eq!(codes, [250, 354]);
            assert!(input.is_empty());
        }
    }

    #[test]
    fn half_a_reply_is_kept_for_the_record() {
        let mut input = Input::default();
        input.push(b"250-first\r\n250 sec");
        assert_eq!(input.next_reply(), Ok(None));
        assert_eq!(input.partial().unwrap(), "250-first??250 sec");
        assert!(!input.is_empty());
    }

    #[test]
    fn a_line_without_end_is_refused_early() {
        let mut input = Input::default();
        input.push(&vec![b'2'; MAX_LINE_BYTES + 1]);
        assert_eq!(input.next_reply(), Err(ReplyError::LineTooLong));
    }
}
