//! The key ring, and every token that stands in a link or a header.
//!
//! All tokens but the random ones are message authentication codes: HMAC-SHA-256 over a [`Purpose`] and what the
//! token is about, so that the service can check a token without having stored it, and no token made for one
//! purpose works for another. Keys live in `secrets.toml`, outside the database and its copies of it: without the
//! file every mailed link is dead, with a stolen database alone none can be made.
//!
//! | token | made by | in |
//! |---|---|---|
//! | confirm | [`KeyRing::confirm_token`] | the link of a confirmation |
//! | unsubscribe, preferences | [`KeyRing::reader_token`] | links and `List-Unsubscribe` |
//! | envelope sender, Message-ID, `X-Delivery` ... | `address` | the mail itself, to know what bounced |
//! | API token | [`ApiToken`] | `Authorization` |
//!
//! Fields of a code have fixed widths (ids are 16 bytes), or stand last: no two lists of fields give the same bytes.

mod address;
mod api;
mod confirm;
mod file;
mod hash;
mod key_ring;
mod link;

pub use api::{ApiToken, api_token_hash};
pub use confirm::ConfirmToken;
pub use file::SecretsError;
pub use hash::{PepperedHash, sha256};
pub use key_ring::KeyRing;
pub use link::{READER_TOKEN_CHARS, ReaderToken, SlotMarks};

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};

/// What a code is for. A code of one purpose never verifies as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Ends a subscription.
    Unsubscribe,
    /// Opens a reader's preferences.
    Preferences,
    /// Confirms a sign-up, or says that it was somebody else's.
    Confirm,
    /// Names a delivery in the envelope sender.
    Bounce,
    /// Names a delivery in its Message-ID.
    MessageId,
    /// Names a delivery in `X-Delivery`.
    Delivery,
    /// Names a delivery in `CFBL-Feedback-ID` (RFC 9477).
    Feedback,
    /// Ends a subscription by mail.
    UnsubscribeMail,
    /// Marks the places in a rendered mail where a reader's tokens go.
    Slot,
    /// Signs what a form carries through a browser and back.
    Form,
    /// Names the instance that has the ring.
    Instance,
}

impl Purpose {
    /// The text that goes into the code. Never changed: links already mailed depend on it.
    const fn label(self) -> &'static str {
        match self {
            Self::Unsubscribe => "unsubscribe",
            Self::Preferences => "preferences",
            Self::Confirm => "confirm",
            Self::Bounce => "bounce",
            Self::MessageId => "message-id",
            Self::Delivery => "delivery",
            Self::Feedback => "feedback",
            Self::UnsubscribeMail => "unsubscribe-mail",
            Self::Slot => "slot",
            Self::Form => "form",
            Self::Instance => "instance",
        }
    }
}

/// Lower-case base32 without padding (RFC 4648, section 6): it survives a relay that folds case.
fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// Reads what [`base32`] wrote, in any case.
fn from_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()?;
    bytes.try_into().ok()
}

/// base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Reads what [`base64url`] wrote.
fn from_base64url<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_are_those_of_the_links_that_were_mailed_and_all_differ() {
        let labels = [
            (Purpose::Unsubscribe, "unsubscribe"),
            (Purpose::Preferences, "preferences"),
            (Purpose::Confirm, "confirm"),
            (Purpose::Bounce, "bounce"),
            (Purpose::MessageId, "message-id"),
            (Purpose::Delivery, "delivery"),
            (Purpose::Feedback, "feedback"),
            (Purpose::UnsubscribeMail, "unsubscribe-mail"),
            (Purpose::Slot, "slot"),
            (Purpose::Form, "form"),
            (Purpose::Instance, "instance"),
        ];
        for (purpose, label) in labels {
            assert_eq!(purpose.label(), label);
        }
    }
}
