//! The unsubscribe and preferences tokens: stateless, of one width, in the links of every mail.

use super::{KeyRing, Purpose, base64url, from_base64url};
use crate::id::{IssueId, SubscriptionId};

/// The width of an unsubscribe or preferences token: it fits a line of quoted-printable with its soft break.
pub const READER_TOKEN_CHARS: usize = 74;

/// What a reader's token is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderToken {
    /// The subscription it may reduce or show.
    pub subscription: SubscriptionId,
    /// The issue in whose mail it stood; none in a notice.
    pub issue: Option<IssueId>,
}

/// The strings that stand in a rendered mail where each reader's tokens go, [`READER_TOKEN_CHARS`] wide.
///
/// Nobody outside can know them, so no article can place a reader's token into a link of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMarks {
    /// Stands for the unsubscribe token.
    pub unsubscribe: String,
    /// Stands for the preferences token.
    pub preferences: String,
}

impl KeyRing {
    /// `v1.{key}.{subscription}.{issue}.{code}` of [`READER_TOKEN_CHARS`] characters, all `[A-Za-z0-9._-]`.
    ///
    /// `purpose` is [`Purpose::Unsubscribe`] or [`Purpose::Preferences`]. The last character is one of `AQgw`, so
    /// no link ends in punctuation.
    pub fn reader_token(&self, purpose: Purpose, about: ReaderToken) -> String {
        let key = self.newest();
        let issue = about.issue.unwrap_or(IssueId(uuid::Uuid::nil()));
        let fields = [about.subscription.0.as_bytes(), issue.0.as_bytes()];
        let code = key.mac(purpose.label(), &fields.map(|id| &id[..]));
        format!(
            "v1.{}.{}.{}.{}",
            key.id,
            base64url(fields[0]),
            base64url(fields[1]),
            base64url(&code[..16]),
        )
    }

    /// What the token is about; `None` for anything that this ring did not make for this purpose.
    pub fn read_reader_token(&self, purpose: Purpose, token: &str) -> Option<ReaderToken> {
        if token.len() != READER_TOKEN_CHARS {
            return None;
        }
        let mut parts = token.split('.');
        let mut next = || parts.next();
        let (version, key_id) = (next()?, next()?);
        let subscription = from_base64url::<16>(next()?)?;
        let issue = from_base64url::<16>(next()?)?;
        let code = from_base64url::<16>(next()?)?;
        let key = self.keys.iter().find(|key| key.id == key_id)?;
        let sound = version == "v1"
            && next().is_none()
            && key.verifies(purpose.label(), &[&subscription, &issue], &code);
        sound.then(|| ReaderToken {
            subscription: SubscriptionId(uuid::Uuid::from_bytes(subscription)),
            issue: (issue != [0; 16]).then(|| IssueId(uuid::Uuid::from_bytes(issue))),
        })
    }

    /// The marks of this ring. They are made by its oldest key, so that they outlast a new one.
    pub fn slot_marks(&self) -> SlotMarks {
        let oldest = self.keys.first().expect("a ring has at least one key");
        let mark = |name: &str| {
            let code = base64url(&oldest.mac(Purpose::Slot.label(), &[name.as_bytes()]));
            let text = format!("slot.{name}.{code}");
            format!("{text:_<READER_TOKEN_CHARS$}")
        };
        SlotMarks {
            unsubscribe: mark("unsubscribe"),
            preferences: mark("preferences"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SeededEntropy, random_bytes};
    use crate::token::key_ring::Secret;

    fn about(seed: u64, issue: bool) -> ReaderToken {
        let entropy = SeededEntropy::new(seed);
        ReaderToken {
            subscription: SubscriptionId(uuid::Uuid::from_bytes(random_bytes(&entropy))),
            issue: issue.then(|| IssueId(uuid::Uuid::from_bytes(random_bytes(&entropy)))),
        }
    }

    #[test]
    fn a_token_is_74_plain_characters_and_reads_back() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let purposes = [Purpose::Unsubscribe, Purpose::Preferences];
        for seed in 0..200 {
            let about = about(seed, seed.is_multiple_of(2));
            for (purpose, other) in purposes.into_iter().zip(purposes.into_iter().rev()) {
                let token = ring.reader_token(purpose, about);
                assert_eq!(token.len(), READER_TOKEN_CHARS);
                assert!(
                    token
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                );
                assert!(token.ends_with(['A', 'Q', 'g', 'w']));
                assert_eq!(ring.read_reader_token(purpose, &token), Some(about));
                assert_eq!(ring.read_reader_token(other, &token), None);
            }
        }
    }

    #[test]
    fn no_changed_character_is_accepted() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let token = ring.reader_token(Purpose::Unsubscribe, about(3, true));
        for at in 0..token.len() {
            for other in ['A', 'B', '.', '_', '9'] {
                let mut forged = token.clone();
                forged.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                if forged != token {
                    assert_eq!(ring.read_reader_token(Purpose::Unsubscribe, &forged), None);
                }
            }
        }
        for forged in [
            "",
            "v1",
            &token[..73],
            &format!("{token}A"),
            "é".repeat(37).as_str(),
        ] {
            assert_eq!(ring.read_reader_token(Purpose::Unsubscribe, forged), None);
        }
    }

    #[test]
    fn links_outlive_a_new_key() {
        let mut ring = KeyRing::generate(&SeededEntropy::new(1));
        let token = ring.reader_token(Purpose::Preferences, about(4, true));
        let marks = ring.slot_marks();
        ring.keys.push(Secret::new("k2", [2; 32]));
        assert!(
            ring.read_reader_token(Purpose::Preferences, &token)
                .is_some()
        );
        assert_eq!(ring.slot_marks(), marks);
    }

    #[test]
    fn marks_are_as_wide_as_tokens_and_differ_between_instances() {
        let marks = KeyRing::generate(&SeededEntropy::new(1)).slot_marks();
        assert_eq!(marks.unsubscribe.len(), READER_TOKEN_CHARS);
        assert_eq!(marks.preferences.len(), READER_TOKEN_CHARS);
        assert_ne!(marks.unsubscribe, marks.preferences);
        assert_ne!(
            marks,
            KeyRing::generate(&SeededEntropy::new(2)).slot_marks()
        );
    }

    #[test]
    fn a_link_that_is_made_after_a_new_key_is_by_it_and_reads_back() {
        let old = KeyRing::generate(&SeededEntropy::new(1));
        let mut ring = old.clone();
        ring.keys.push(Secret::new("k2", [2; 32]));
        for purpose in [Purpose::Unsubscribe, Purpose::Preferences] {
            let reader = about(4, true);
            let token = ring.reader_token(purpose, reader);
            assert_eq!(ring.read_reader_token(purpose, &token), Some(reader));
            assert_eq!(old.read_reader_token(purpose, &token), None);
        }
    }
}
