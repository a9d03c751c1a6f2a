//! Names in URLs.

use std::fmt;
use std::str::FromStr;

/// A name for URLs, commands and List-Ids: 1 to 40 lower-case letters, digits and single hyphens inside.
///
/// It can stand as a label in a host name and in a path without escapes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, sqlx::Type)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct Slug(String);

/// A text that is no slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 40 lower-case letters, digits and hyphens, such as world-news, with no hyphen at either end or two together"
)]
pub struct SlugError;

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The built-in topic that every article has.
    pub fn all() -> Self {
        Self("all".to_owned())
    }

    /// The slug that a name suggests: `World & Politics` gives `world-politics`. `None` where nothing of the
    /// name can stand in one.
    pub fn suggest(name: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == 40 {
                break;
            }
        }
        slug.trim_end_matches('-').parse().ok()
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letters = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let hyphens = text.starts_with('-') || text.ends_with('-') || text.contains("--");
        if letters && !hyphens && (1..=40).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SlugError)
        }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_needs_no_escapes_anywhere() {
        for text in ["world", "asia-pacific", "7-days", "a"] {
            assert_eq!(text.parse::<Slug>().unwrap().as_str(), text);
        }
        let long = "a".repeat(41);
        for text in [
            "", "World", "a b", "a/b", "-a", "a-", "a--b", "ä", "a.b", "a_b", "../x", "a\n", &long,
        ] {
            assert_eq!(text.parse::<Slug>(), Err(SlugError), "{text:?}");
        }
    }

    #[test]
    fn a_name_suggests_a_slug() {
        assert_eq!(
            Slug::suggest(" World & Politics! ").unwrap().as_str(),
            "world-politics"
        );
        assert_eq!(Slug::suggest("日本"), None);
        assert_eq!(Slug::suggest(&"a".repeat(60)).unwrap().as_str().len(), 40);
    }
}
