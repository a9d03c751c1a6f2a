//! The confirm token: derived from the sign-up and random bytes of its row, so that a retry mails the same link and
//! a stolen database holds none.

use super::{KeyRing, Purpose, base64url, from_base64url, sha256};
use crate::id::SignupId;

/// The secret of a confirmation link: 43 characters of base64url. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmToken([u8; 32]);

impl ConfirmToken {
    /// The token in a link, if it has the right form. Whether it is anyone's is for the database to say.
    pub fn parse(text: &str) -> Option<Self> {
        from_base64url(text).map(Self)
    }

    /// SHA-256 of the token, as stored with the sign-up.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// The 43 characters that go into the link.
    pub fn text(&self) -> String {
        base64url(&self.0)
    }
}

impl std::fmt::Debug for ConfirmToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfirmToken(..)")
    }
}

impl KeyRing {
    /// The token of a new sign-up, by the newest key. `salt` is the 16 random bytes of its row.
    pub fn confirm_token(&self, signup: SignupId, salt: &[u8; 16]) -> ConfirmToken {
        ConfirmToken(self.mac(Purpose::Confirm, &[signup.0.as_bytes(), salt]))
    }

    /// The token of a stored sign-up, by whichever key gave it; `None` when no key of the ring did.
    pub fn stored_confirm_token(
        &self,
        signup: SignupId,
        salt: &[u8; 16],
        hash: &[u8; 32],
    ) -> Option<ConfirmToken> {
        let fields: [&[u8]; 2] = [signup.0.as_bytes(), salt];
        self.keys
            .iter()
            .rev()
            .map(|key| ConfirmToken(key.mac(Purpose::Confirm.label(), &fields)))
            .find(|token| token.hash() == *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;
    use crate::token::key_ring::Secret;

    #[test]
    fn a_retry_after_a_new_key_mails_the_same_link() {
        let mut ring = KeyRing::generate(&SeededEntropy::new(1));
        let signup = SignupId(uuid::Uuid::from_u128(5));
        let token = ring.confirm_token(signup, &[3; 16]);
        assert_eq!(token.text().len(), 43);
        assert_eq!(ConfirmToken::parse(&token.text()), Some(token.clone()));
        ring.keys.push(Secret::new("k2", [2; 32]));
        let again = ring.stored_confirm_token(signup, &[3; 16], &token.hash());
        assert_eq!(again, Some(token.clone()));
        assert_eq!(
            ring.stored_confirm_token(signup, &[4; 16], &token.hash()),
            None
        );
    }

    #[test]
    fn the_text_of_a_token_is_not_printed_by_accident() {
        let ring = KeyRing::generate(&SeededEntropy::new(1));
        let token = ring.confirm_token(SignupId(uuid::Uuid::nil()), &[0; 16]);
        assert!(!format!("{token:?}").contains(&token.text()));
    }
}
