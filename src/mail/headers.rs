//! Header lines. Names are constants; values are cleaned here, so that none can end its line.

use lettre::message::header::{From as FromHeader, Headers, ReplyTo, Subject};

use super::clean;
use super::encode::{Slot, SlotKind};
use super::message::{EncodeError, Mailbox};
use super::quoted_printable::Mark;

/// Header lines as they are written, and their slots.
#[derive(Default)]
pub(super) struct HeaderWriter {
    pub(super) bytes: Vec<u8>,
    pub(super) slots: Vec<Slot>,
}

impl HeaderWriter {
    /// `From`, and `Reply-To` where there is one: names as RFC 2047 encoded words where they are not ASCII.
    pub(super) fn mailbox(
        &mut self,
        from: &Mailbox,
        reply_to: Option<&str>,
    ) -> Result<(), EncodeError> {
        let name = clean::one_line(&from.name, 100);
        let name = Some(name).filter(|name| !name.is_empty());
        let mailbox = lettre::message::Mailbox::new(name, address(&from.address)?);
        let mut headers = Headers::new();
        headers.set(FromHeader::from(lettre::message::Mailboxes::from(mailbox)));
        if let Some(reply_to) = reply_to {
            let mailbox = lettre::message::Mailbox::new(None, address(reply_to)?);
            headers.set(ReplyTo::from(lettre::message::Mailboxes::from(mailbox)));
        }
        self.bytes.extend_from_slice(headers.to_string().as_bytes());
        Ok(())
    }

    /// `Subject`, as RFC 2047 encoded words where it is not ASCII.
    pub(super) fn subject(&mut self, text: &str) {
        let mut headers = Headers::new();
        headers.set(Subject::from(clean::subject(text)));
        self.bytes.extend_from_slice(headers.to_string().as_bytes());
    }

    /// A line whose value is ours; anything but visible ASCII and spaces is dropped from it.
    pub(super) fn line(&mut self, name: &'static str, value: &str) {
        let kept: String = value.chars().filter(|c| matches!(c, ' '..='~')).collect();
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(kept.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A line in which a value is put later, between `before` and `after`.
    pub(super) fn slot(&mut self, name: &'static str, before: &str, kind: SlotKind, after: &str) {
        self.line(name, before);
        self.bytes.truncate(self.bytes.len() - 2);
        self.slots.push(Slot {
            at: self.bytes.len(),
            kind,
        });
        self.bytes.extend_from_slice(after.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A line with a link in brackets, and a slot where the link has a mark.
    pub(super) fn link(&mut self, name: &'static str, url: &str, marks: &[Mark<'_>]) {
        let found = marks.iter().find_map(|(mark, kind)| {
            let (before, after) = url.split_once(mark)?;
            Some((before, *kind, after))
        });
        match found {
            Some((before, kind, after)) => {
                self.slot(name, &format!("<{before}"), kind, &format!("{after}>"));
            }
            None => self.line(name, &format!("<{url}>")),
        }
    }
}

/// `name <id>` for `List-Id` (RFC 2919): without a name that is not ASCII, since Gmail refuses encoded words there.
pub(super) fn list_id(name: &str, id: &str) -> String {
    let name = clean::one_line(name, 120);
    if name.is_empty() || !name.is_ascii() {
        return format!("<{id}>");
    }
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{quoted}\" <{id}>")
}

fn address(text: &str) -> Result<lettre::Address, EncodeError> {
    let parsed: Option<lettre::Address> = text.parse().ok();
    parsed
        .filter(|_| text.is_ascii() && !text.chars().any(|c| c.is_control() || c == ' '))
        .ok_or(EncodeError::Sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_named_in_quoted_ascii_or_by_its_id_alone() {
        let id = "world.lists.example";
        for (name, expected) in [
            ("World News", r#""World News" <world.lists.example>"#),
            (
                r#"The "Daily" \ World"#,
                r#""The \"Daily\" \\ World" <world.lists.example>"#,
            ),
            ("K\u{f6}lner Woche", "<world.lists.example>"),
            ("", "<world.lists.example>"),
        ] {
            assert_eq!(list_id(name, id), expected, "{name}");
        }
    }
}
