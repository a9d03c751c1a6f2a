//! An encoded message: its bytes as they go on the wire, and the places where what differs per reader goes.

use crate::clock::Timestamp;
use crate::token::READER_TOKEN_CHARS;

/// What goes into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum SlotKind {
    /// The recipient's address, the rest of a line.
    To = 1,
    /// 31 characters.
    Date = 2,
    /// The Message-ID between its brackets.
    MessageId = 3,
    /// The value of `X-Delivery`.
    Delivery = 4,
    /// The unsubscribe token.
    Unsubscribe = 5,
    /// The preferences token.
    Preferences = 6,
}

/// A place in the bytes at which something is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) at: usize,
    pub(super) kind: SlotKind,
}

/// A message encoded once for many readers. [`Encoded::splice`] makes each one's copy.
///
/// The bytes are final: ASCII, CRLF line ends, lines within 998 octets, none beginning with a dot, so that dot-stuffing
/// (RFC 5321, section 4.5.2) leaves them as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) slots: Vec<Slot>,
    pub(super) html_bytes: usize,
}

/// What differs per reader, or is known only at release.
#[derive(Clone, Copy, Debug)]
pub struct Slots<'a> {
    /// The recipient's address: ASCII, domain in A-labels.
    pub recipient: &'a str,
    /// The time of release of an issue, of queueing of a notice.
    pub date: Timestamp,
    /// `left@right`, without brackets, at most 120 characters.
    pub message_id: &'a str,
    /// The value of `X-Delivery`.
    pub delivery: &'a str,
    /// The unsubscribe token; needed where the message has a place for it.
    pub unsubscribe: Option<&'a str>,
    /// The preferences token; needed where the message has a place for it.
    pub preferences: Option<&'a str>,
}

/// Why a copy cannot be made: a value that is missing, or that would break its line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be made: bad {0}")]
pub struct SpliceError(&'static str);

/// The stored form is not one of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored message is damaged")]
pub struct DamagedError;

/// The first bytes of the stored form.
const MAGIC: &[u8; 4] = b"PRM1";

impl Encoded {
    /// One reader's message, ready for the wire but for the closing dot.
    pub fn splice(&self, values: &Slots<'_>) -> Result<Vec<u8>, SpliceError> {
        let date = values.date.to_rfc5322();
        let mut message = Vec::with_capacity(self.bytes.len() + self.slots.len() * 80);
        let mut from = 0;
        for slot in &self.slots {
            message.extend_from_slice(&self.bytes[from..slot.at]);
            message.extend_from_slice(checked(slot.kind, values, &date)?.as_bytes());
            from = slot.at;
        }
        message.extend_from_slice(&self.bytes[from..]);
        Ok(message)
    }

    /// Octets of one reader's message, without the address and Message-ID.
    pub fn wire_bytes(&self) -> usize {
        let fixed = |slot: &Slot| match slot.kind {
            SlotKind::To | SlotKind::MessageId => 0,
            SlotKind::Date => 31,
            SlotKind::Delivery => 43,
            SlotKind::Unsubscribe | SlotKind::Preferences => READER_TOKEN_CHARS,
        };
        self.bytes.len() + self.slots.iter().map(fixed).sum::<usize>()
    }

    /// Octets of the HTML part as encoded, tokens included. Gmail cuts a mail off near 102,000.
    pub fn html_bytes(&self) -> usize {
        self.html_bytes
    }

    /// The form in which a message is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(self.bytes.len() + 16 + self.slots.len() * 5);
        stored.extend_from_slice(MAGIC);
        stored.extend_from_slice(&u32_of(self.html_bytes));
        stored.extend_from_slice(&u32_of(self.slots.len()));
        for slot in &self.slots {
            stored.push(slot.kind as u8);
            stored.extend_from_slice(&u32_of(slot.at));
        }
        stored.extend_from_slice(&self.bytes);
        stored
    }

    /// Reads what [`Encoded::to_bytes`] wrote.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, DamagedError> {
        read(stored).ok_or(DamagedError)
    }
}

fn read(stored: &[u8]) -> Option<Encoded> {
    let (magic, mut rest) = stored.split_first_chunk::<4>()?;
    if magic != MAGIC {
        return None;
    }
    let html_bytes = take_u32(&mut rest)?;
    let count = take_u32(&mut rest)?;
    let mut slots = Vec::new();
    let mut least = 0;
    for _ in 0..count {
        let (kind, after) = rest.split_first()?;
        rest = after;
        let at = take_u32(&mut rest)?;
        let kind = slot_kind(*kind)?;
        if at < least {
            return None;
        }
        least = at;
        slots.push(Slot { at, kind });
    }
    (least <= rest.len()).then(|| Encoded {
        bytes: rest.to_vec(),
        slots,
        html_bytes,
    })
}

fn slot_kind(byte: u8) -> Option<SlotKind> {
    let all = [
        SlotKind::To,
        SlotKind::Date,
        SlotKind::MessageId,
        SlotKind::Delivery,
        SlotKind::Unsubscribe,
        SlotKind::Preferences,
    ];
    all.into_iter().find(|kind| *kind as u8 == byte)
}

fn u32_of(number: usize) -> [u8; 4] {
    u32::try_from(number)
        .expect("a message has at most 1 MB")
        .to_le_bytes()
}

fn take_u32(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// The value for a slot, if it keeps its line what it is.
fn checked<'a>(kind: SlotKind, values: &Slots<'a>, date: &'a str) -> Result<&'a str, SpliceError> {
    let visible = |text: &str| text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    let address = |text: &str, max| text.len() <= max && visible(text) && text.contains('@');
    let token = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        text.len() == READER_TOKEN_CHARS && text.bytes().all(plain) && !text.starts_with('.')
    };
    let (name, value, sound) = match kind {
        SlotKind::To => {
            let text = values.recipient;
            ("recipient", text, address(text, 320))
        }
        SlotKind::Date => ("date", date, date.len() == 31),
        SlotKind::MessageId => {
            let text = values.message_id;
            let sound = address(text, 120) && !text.contains(['<', '>']);
            ("Message-ID", text, sound)
        }
        SlotKind::Delivery => {
            let text = values.delivery;
            ("X-Delivery", text, text.len() == 43 && visible(text))
        }
        SlotKind::Unsubscribe => {
            let text = values.unsubscribe.unwrap_or_default();
            ("unsubscribe token", text, token(text))
        }
        SlotKind::Preferences => {
            let text = values.preferences.unwrap_or_default();
            ("preferences token", text, token(text))
        }
    };
    if sound {
        Ok(value)
    } else {
        Err(SpliceError(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_of_another_form_or_with_its_slots_in_disorder_is_damaged() {
        let slot = |at, kind| Slot { at, kind };
        let sound = Encoded {
            bytes: b"To: \r\nX-Delivery: \r\n".to_vec(),
            slots: vec![slot(4, SlotKind::To), slot(18, SlotKind::Delivery)],
            html_bytes: 0,
        };
        assert_eq!(Encoded::from_bytes(&sound.to_bytes()), Ok(sound.clone()));
        let mut of_another_form = sound.to_bytes();
        of_another_form[3] = b'2';
        let mut in_disorder = sound;
        in_disorder.slots.swap(0, 1);
        for stored in [of_another_form, in_disorder.to_bytes()] {
            assert_eq!(Encoded::from_bytes(&stored), Err(DamagedError));
        }
    }
}
