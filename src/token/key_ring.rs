//! The ring: signing keys, peppers, and the one code function.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::Purpose;
use crate::id::{Entropy, InstanceId, random_bytes};

/// The instance's secrets: keys that sign tokens and peppers that blind addresses.
///
/// The newest (last) key signs and all verify, so a key can be added at any time; likewise the peppers.
/// `Debug` shows how many there are and nothing else.
#[derive(Clone)]
pub struct KeyRing {
    pub(super) keys: Vec<Secret>,
    pub(super) peppers: Vec<Secret>,
}

/// One key or pepper, with the two characters that name it.
#[derive(Clone)]
pub(super) struct Secret {
    pub(super) id: String,
    pub(super) bytes: [u8; 32],
    hmac: hmac::Key,
}

impl KeyRing {
    /// A new ring with one key and one pepper, kept nowhere: for tests, and as the start of a secrets file.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            keys: vec![Secret::new("k1", random_bytes(entropy))],
            peppers: vec![Secret::new("p1", random_bytes(entropy))],
        }
    }

    /// HMAC-SHA-256 by the newest key over the purpose, a zero byte and the fields (32 bytes).
    pub fn mac(&self, purpose: Purpose, fields: &[&[u8]]) -> [u8; 32] {
        self.newest().mac(purpose.label(), fields)
    }

    /// Whether some key of the ring gave this code, or a code that starts with it.
    ///
    /// Compares in constant time. `code` must be at least 10 bytes, else nothing verifies.
    pub fn verify(&self, purpose: Purpose, fields: &[&[u8]], code: &[u8]) -> bool {
        self.keys
            .iter()
            .any(|key| key.verifies(purpose.label(), fields, code))
    }

    /// The id of the instance whose ring this is. Its oldest key gives it, so that it outlasts a new one.
    pub fn instance_id(&self) -> InstanceId {
        let oldest = self.keys.first().expect("a ring has at least one key");
        let code = oldest.mac(Purpose::Instance.label(), &[]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&code[..16]);
        InstanceId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whether this ring understands everything that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        let has = |ours: &[Secret], theirs: &Secret| {
            ours.iter()
                .any(|secret| secret.id == theirs.id && secret.bytes == theirs.bytes)
        };
        other.keys.iter().all(|key| has(&self.keys, key))
            && other
                .peppers
                .iter()
                .all(|pepper| has(&self.peppers, pepper))
    }

    /// The key that signs.
    pub(super) fn newest(&self) -> &Secret {
        self.keys.last().expect("a ring has at least one key")
    }

    /// The pepper that new hashes use.
    pub(super) fn newest_pepper(&self) -> &Secret {
        self.peppers.last().expect("a ring has at least one pepper")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.keys.len())
            .field("peppers", &self.peppers.len())
            .finish()
    }
}

impl Secret {
    pub(super) fn new(id: &str, bytes: [u8; 32]) -> Self {
        Self {
            id: id.to_owned(),
            bytes,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        }
    }

    pub(super) fn mac(&self, label: &str, fields: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.hmac);
        context.update(label.as_bytes());
        context.update(&[0]);
        for field in fields {
            context.update(field);
        }
        context
            .sign()
            .as_ref()
            .try_into()
            .expect("HMAC-SHA-256 gives 32 bytes")
    }

    pub(super) fn verifies(&self, label: &str, fields: &[&[u8]], code: &[u8]) -> bool {
        let full = self.mac(label, fields);
        (10..=full.len()).contains(&code.len())
            && constant_time::verify_slices_are_equal(&full[..code.len()], code).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;

    #[test]
    fn a_code_verifies_for_its_purpose_and_fields_only() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let code = ring.mac(Purpose::Unsubscribe, &[b"a"]);
        assert!(ring.verify(Purpose::Unsubscribe, &[b"a"], &code));
        assert!(ring.verify(Purpose::Unsubscribe, &[b"a"], &code[..16]));
        assert!(!ring.verify(Purpose::Unsubscribe, &[b"a"], &code[..9]));
        assert!(!ring.verify(Purpose::Unsubscribe, &[b"b"], &code));
        assert!(!ring.verify(Purpose::Preferences, &[b"a"], &code));
    }

    #[test]
    fn the_newest_key_signs_and_older_ones_still_verify() {
        let old = KeyRing::generate(&SeededEntropy::new(1));
        let mut ring = old.clone();
        ring.keys.push(Secret::new("k2", [7; 32]));
        assert_eq!(ring.instance_id(), old.instance_id());
        assert!(ring.covers(&old) && !old.covers(&ring));
        let mut blinded = old.clone();
        blinded.peppers.push(Secret::new("p2", [7; 32]));
        assert!(blinded.covers(&old) && !old.covers(&blinded));
        let code = old.mac(Purpose::Bounce, &[b"x"]);
        assert!(ring.verify(Purpose::Bounce, &[b"x"], &code));
        assert_ne!(ring.mac(Purpose::Bounce, &[b"x"]), code);
    }

    #[test]
    fn debug_shows_no_secret() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        assert_eq!(format!("{ring:?}"), "KeyRing { keys: 1, peppers: 1 }");
    }

    #[test]
    fn a_ring_of_other_secrets_with_the_same_names_is_not_covered() {
        let [one, other] = [1, 2].map(|seed| KeyRing::generate(&SeededEntropy::new(seed)));
        let mut half = one.clone();
        half.peppers.clone_from(&other.peppers);
        assert!(one.covers(&one));
        assert!(!one.covers(&other) && !one.covers(&half));
    }

    #[test]
    fn a_ring_that_lacks_an_older_secret_does_not_cover() {
        let [one, other] = [1, 2].map(|seed| KeyRing::generate(&SeededEntropy::new(seed)));
        let renewed = |old: &KeyRing| {
            let mut ring = old.clone();
            ring.keys.push(Secret::new("k2", [7; 32]));
            ring.peppers.push(Secret::new("p2", [8; 32]));
            ring
        };
        let whole = renewed(&one);
        let (mut other_keys, mut other_peppers) = (whole.clone(), whole.clone());
        other_keys.keys = renewed(&other).keys;
        other_peppers.peppers = renewed(&other).peppers;
        for lacking in [other_keys, other_peppers] {
            assert!(!lacking.covers(&whole) && !whole.covers(&lacking));
        }
        assert!(renewed(&one).covers(&whole));
    }
}
