//! What people call an issue: `world/12`.

use std::fmt;
use std::str::FromStr;

use super::{Issue, store};
use crate::db::Db;
use crate::id::{IssueId, NewsletterId};
use crate::newsletters::Slug;

/// What an operator names an issue by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `world/12`: the newsletter's slug and the issue's number in it. Without the slug the only newsletter is meant.
    Number(Option<Slug>, i64),
    /// Its id.
    Id(IssueId),
}

/// A text that names no issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a newsletter and a number, such as world/12, or an id; `paperround issue list` prints them"
)]
pub struct ReferenceError;

impl Reference {
    /// What `issue` of the newsletter `slug` is called.
    pub fn of(issue: &Issue, slug: &Slug) -> Self {
        Self::Number(Some(slug.clone()), issue.number)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let (slug, number) = match text.split_once('/') {
            Some((slug, number)) => (Some(slug.parse().map_err(|_| ReferenceError)?), number),
            None => (None, text),
        };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(number) if digits && number > 0 => Ok(Self::Number(slug, number)),
            Ok(_) | Err(_) => Err(ReferenceError),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(Some(slug), number) => write!(f, "{slug}/{number}"),
            Self::Number(None, number) => number.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// The issue of a newsletter with this number.
pub async fn by_number(
    db: &Db,
    newsletter: NewsletterId,
    number: i64,
) -> sqlx::Result<Option<Issue>> {
    // the newest below the next number is that one, or an older one where it is missing
    let before = Some(number.saturating_add(1));
    let found = store::issues::of_newsletter(db, newsletter, before, 1).await?;
    Ok(found.into_iter().find(|issue| issue.number == number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_has_one_name_and_an_id() {
        let id = "0198e0a2-7c1b-7000-8000-000000000001";
        for (text, reference) in [
            (
                "world/12",
                Reference::Number(Some("world".parse().unwrap()), 12),
            ),
            ("12", Reference::Number(None, 12)),
            (id, Reference::Id(id.parse().unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(reference.clone()), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        for text in [
            "",
            "/",
            "world",
            "world/",
            "/12",
            "world/0",
            "world/-1",
            "world/+1",
            "world/1/2",
            "World/1",
            "world/x",
            "world/99999999999999999999",
            "world 12",
        ] {
            assert_eq!(text.parse::<Reference>(), Err(ReferenceError), "{text:?}");
        }
    }
}
