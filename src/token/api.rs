//! API tokens: `pr_`, 8 characters by which an operator knows the token, 43 secret ones.

use super::{base32, base64url, from_base64url, sha256};
use crate::id::{Entropy, random_bytes};

/// A new API token. It is shown once; only [`ApiToken::hash`] and the prefix are stored. `Debug` hides the secret.
pub struct ApiToken {
    /// The 8 characters after `pr_`, by which lists name the token.
    pub prefix: String,
    secret: [u8; 32],
}

impl ApiToken {
    /// A new random token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            prefix: base32(&random_bytes::<5>(entropy)),
            secret: random_bytes(entropy),
        }
    }

    /// The token as given to its user: 54 characters.
    pub fn text(&self) -> String {
        format!("pr_{}{}", self.prefix, base64url(&self.secret))
    }

    /// What is stored to find it again.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.text().as_bytes())
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiToken(pr_{}..)", self.prefix)
    }
}

/// The stored hash of a token that a request brought; `None` when it has not the form of one.
pub fn api_token_hash(text: &str) -> Option<[u8; 32]> {
    let rest = text.strip_prefix("pr_")?;
    let (prefix, secret) = rest.split_at_checked(8)?;
    let well_formed = prefix.bytes().all(|b| b.is_ascii_alphanumeric());
    from_base64url::<32>(secret).filter(|_| well_formed)?;
    Some(sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;

    #[test]
    fn a_token_is_found_by_its_hash_and_by_nothing_close_to_it() {
        let token = ApiToken::generate(&SeededEntropy::new(1));
        let text = token.text();
        assert_eq!(text.len(), 54);
        assert_eq!(api_token_hash(&text), Some(token.hash()));
        for wrong in ["", "pr_", &text[..53], &text[3..], "pr_éééé"] {
            assert_eq!(api_token_hash(wrong), None);
        }
        assert!(!format!("{token:?}").contains(&text[11..]));
    }
}
