//! Hashes of what is not kept in the clear: stored tokens, and addresses under a pepper.

use aws_lc_rs::digest;

use super::KeyRing;
use super::key_ring::Secret;

/// SHA-256, for tokens that are found by their hash. Not for addresses, which can be guessed.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 gives 32 bytes")
}

/// A keyed hash of an address, and the two characters that name its pepper.
///
/// Hashes for different uses differ, so tables cannot be joined by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PepperedHash {
    /// The pepper's id.
    pub pepper: String,
    /// HMAC-SHA-256 of the address key.
    pub hash: [u8; 32],
}

impl KeyRing {
    /// The key of `suppressions` for an address, by the newest pepper. `email_key` is the normalized address.
    pub fn suppression_key(&self, email_key: &str) -> PepperedHash {
        peppered(self.newest_pepper(), "suppress", email_key)
    }

    /// The suppression keys of an address by every pepper, newest first: a suppression outlives its pepper.
    pub fn suppression_keys(&self, email_key: &str) -> Vec<PepperedHash> {
        let newest_first = self.peppers.iter().rev();
        newest_first
            .map(|pepper| peppered(pepper, "suppress", email_key))
            .collect()
    }

    /// The key under which an address, a network or a domain is counted against a limit.
    pub fn limit_key(&self, counted: &str) -> [u8; 32] {
        peppered(self.newest_pepper(), "limit", counted).hash
    }

    /// The hash that stands for an address in consent events.
    pub fn consent_hash(&self, email_key: &str) -> PepperedHash {
        peppered(self.newest_pepper(), "consent", email_key)
    }

    /// The consent hashes of an address by every pepper, newest first.
    pub fn consent_hashes(&self, email_key: &str) -> Vec<PepperedHash> {
        let newest_first = self.peppers.iter().rev();
        newest_first
            .map(|pepper| peppered(pepper, "consent", email_key))
            .collect()
    }
}

fn peppered(pepper: &Secret, use_: &str, text: &str) -> PepperedHash {
    PepperedHash {
        pepper: pepper.id.clone(),
        hash: pepper.mac(use_, &[text.as_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;

    #[test]
    fn hashes_for_different_uses_cannot_be_joined() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let ada = "ada@example.org";
        let hashes = [
            ring.suppression_key(ada).hash,
            ring.limit_key(ada),
            ring.consent_hash(ada).hash,
        ];
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[1], hashes[2]);
        assert_ne!(hashes[0], hashes[2]);
    }

    #[test]
    fn an_old_pepper_still_finds_its_suppression() {
        let mut ring = KeyRing::generate(&SeededEntropy::new(1));
        let stored = ring.suppression_key("ada@example.org");
        ring.peppers.push(Secret::new("p2", [9; 32]));
        assert_ne!(ring.suppression_key("ada@example.org"), stored);
        assert!(ring.suppression_keys("ada@example.org").contains(&stored));
    }

    #[test]
    fn sha256_is_sha256() {
        let hex = data_encoding::HEXLOWER.encode(&sha256(b"abc"));
        assert_eq!(
            hex,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
