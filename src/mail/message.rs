//! A message before it is encoded, and the one way to encode it (RFC 5322, RFC 2045 and 2046).

use uuid::Uuid;

use super::encode::{Encoded, SlotKind};
use super::headers::{HeaderWriter, list_id};
use super::quoted_printable::{self, Mark};
use super::template::Rendered;
use crate::token::SlotMarks;

/// The largest message in octets.
const MESSAGE_BYTES: usize = 1_000_000;

/// A name and an address.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// The display name; may be empty.
    pub name: String,
    /// The address, ASCII.
    pub address: String,
}

/// A mail to one person: what all its copies share. `To`, `Date`, `Message-ID` and `X-Delivery` are slots.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Who it is from.
    pub from: &'a Mailbox,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<&'a str>,
    /// Subject and both parts.
    pub content: &'a Rendered,
    /// No person wrote it: `Auto-Submitted: auto-generated` (RFC 3834).
    pub automatic: bool,
    /// The value of Google's `Feedback-ID`.
    pub feedback_id: Option<&'a str>,
    /// Headers of bulk mail. Notices have none: one-click unsubscribing from them would change nothing.
    pub list: Option<ListHeaders<'a>>,
    /// Names the MIME boundary: the variant, or the delivery of a notice.
    pub boundary: Uuid,
}

/// What makes a mail recognizable as a list's, and easy to leave (RFC 2919, 2369, 8058).
#[derive(Clone, Copy, Debug)]
pub struct ListHeaders<'a> {
    /// The newsletter's name.
    pub name: &'a str,
    /// Its id for life: `{slug}.{list_domain}`.
    pub id: &'a str,
    /// The link that answers a one-click POST. It must be `https` to be honored; the same as in the mail.
    pub unsubscribe_url: &'a str,
    /// A page that explains the newsletter.
    pub help_url: Option<&'a str>,
    /// The newsletter's archive.
    pub archive_url: Option<&'a str>,
}

/// Why a message cannot be encoded. Encoding again gives the same.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The From or Reply-To address is not one.
    #[error("the sender's address is not valid")]
    Sender,
    /// Bulk mail without an unsubscribe link in this part.
    #[error("the {0} part has no unsubscribe link")]
    NoWayOut(&'static str),
    /// The message is larger than a relay can be expected to take.
    #[error("the message has {0} bytes, more than {MESSAGE_BYTES}")]
    TooLarge(usize),
    /// The finished bytes break a rule of the wire.
    #[error("the encoded message has {0}")]
    Malformed(&'static str),
}

impl Message<'_> {
    /// The message as bytes with slots, checked. `marks` stand in the rendered parts and in the unsubscribe link
    /// where each reader's tokens go.
    pub fn encode(&self, marks: &SlotMarks) -> Result<Encoded, EncodeError> {
        let marks = [
            (marks.unsubscribe.as_str(), SlotKind::Unsubscribe),
            (marks.preferences.as_str(), SlotKind::Preferences),
        ];
        if let Some(list) = &self.list {
            self.require_way_out(list.unsubscribe_url)?;
        }
        let boundary = format!("=_pr{}", self.boundary.simple());
        let HeaderWriter {
            mut bytes,
            mut slots,
        } = self.headers(&marks, &boundary)?;

        let delimiter = format!("\r\n--{boundary}\r\n");
        let mut html_bytes = 0;
        for (kind, part) in [("plain", &self.content.text), ("html", &self.content.html)] {
            bytes.extend_from_slice(delimiter.as_bytes());
            let head = format!(
                "Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            );
            bytes.extend_from_slice(head.as_bytes());
            let (start, first_slot) = (bytes.len(), slots.len());
            quoted_printable::encode(part, &marks, &mut bytes, &mut slots);
            let tokens = (slots.len() - first_slot) * marks[0].0.len();
            html_bytes = bytes.len() - start + tokens;
        }
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

        check(&bytes)?;
        let encoded = Encoded {
            bytes,
            slots,
            html_bytes,
        };
        match encoded.wire_bytes() {
            size if size > MESSAGE_BYTES => Err(EncodeError::TooLarge(size)),
            _ => Ok(encoded),
        }
    }

    fn headers(&self, marks: &[Mark<'_>], boundary: &str) -> Result<HeaderWriter, EncodeError> {
        let mut headers = HeaderWriter::default();
        headers.mailbox(self.from, self.reply_to)?;
        headers.slot("To", "", SlotKind::To, "");
        headers.subject(&self.content.subject);
        headers.slot("Date", "", SlotKind::Date, "");
        headers.slot("Message-ID", "<", SlotKind::MessageId, ">");
        if let Some(list) = &self.list {
            headers.line("List-Id", &list_id(list.name, list.id));
            headers.link("List-Unsubscribe", list.unsubscribe_url, marks);
            headers.line("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
            if let Some(url) = list.help_url {
                headers.link("List-Help", url, &[]);
            }
            if let Some(url) = list.archive_url {
                headers.link("List-Archive", url, &[]);
            }
            headers.line("List-Post", "NO");
            headers.line("Precedence", "bulk");
        }
        if self.automatic {
            headers.line("Auto-Submitted", "auto-generated");
        }
        headers.line("X-Auto-Response-Suppress", "All");
        if let Some(feedback_id) = self.feedback_id {
            headers.line("Feedback-ID", feedback_id);
        }
        headers.slot("X-Delivery", "", SlotKind::Delivery, "");
        headers.line("MIME-Version", "1.0");
        let content_type = format!("multipart/alternative; boundary=\"{boundary}\"");
        headers.line("Content-Type", &content_type);
        Ok(headers)
    }

    fn require_way_out(&self, url: &str) -> Result<(), EncodeError> {
        for (name, part) in [("text", &self.content.text), ("HTML", &self.content.html)] {
            // In HTML the link stands escaped; a link of ours has nothing to escape but `&`.
            if !part.contains(url) && !part.contains(&url.replace('&', "&amp;")) {
                return Err(EncodeError::NoWayOut(name));
            }
        }
        Ok(())
    }
}

/// The last look at the bytes: what is wrong here can split a message in two on its way (SMTP smuggling), or is
/// broken again by a relay.
fn check(bytes: &[u8]) -> Result<(), EncodeError> {
    let Some(whole) = bytes.strip_suffix(b"\r\n") else {
        return Err(EncodeError::Malformed("no end"));
    };
    for line in whole.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') {
            return Err(EncodeError::Malformed("a bare CR"));
        }
        // Slots add at most 320 octets to a line.
        if line.len() > 998 - 320 {
            return Err(EncodeError::Malformed("a line over 998 octets"));
        }
        if line.starts_with(b".") {
            return Err(EncodeError::Malformed("a line that begins with a dot"));
        }
        if !line.iter().all(|b| (0x20..0x7f).contains(b) || *b == b'\t') {
            return Err(EncodeError::Malformed(
                "a character that is not plain ASCII",
            ));
        }
    }
    let ends = memchr::memchr_iter(b'\n', bytes);
    let bare = ends.into_iter().any(|at| at == 0 || bytes[at - 1] != b'\r');
    if bare {
        return Err(EncodeError::Malformed("a bare LF"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
