//! Which topics an article belongs to: what its feed says of it, mapped by the newsletter's rules.

use url::Url;

use super::entry::Entry;
use crate::id::{FeedId, TopicId, TopicRuleId};
use crate::text_enum;

text_enum! {
    /// What of an article a rule looks at.
    pub enum RuleField {
        /// Its categories and tags: feeds do not tell them apart.
        Category = "category",
        /// The same as `category`.
        Tag = "tag",
        /// Each of its authors.
        Author = "author",
        /// Its address: the path for patterns that begin with a slash, else host and path without `www.`.
        Url = "url",
    }
}

/// Maps what a feed says to a topic.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TopicRule {
    /// The topic that a match gets.
    pub topic_id: TopicId,
    /// Only for articles of this feed; `None` for all.
    pub feed_id: Option<FeedId>,
    /// What is looked at.
    pub field: RuleField,
    /// What it must be, whatever the case; `*` stands for anything. The pattern of a URL matches its beginning.
    pub pattern: String,
}

/// A rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct ListedRule {
    /// Its id.
    pub id: TopicRuleId,
    /// The topic's slug.
    pub topic: String,
    /// What is looked at.
    pub field: RuleField,
    /// What it must be.
    pub pattern: String,
    /// The address of the one feed it is for; `None` for all.
    pub feed: Option<String>,
}

/// What decides the topics of a newsletter's articles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRules {
    /// The built-in topic `all`, which every article has.
    pub all: Option<TopicId>,
    /// The rules.
    pub rules: Vec<TopicRule>,
}

impl TopicRules {
    /// The topics of `entry`, each once, `all` first.
    pub fn topics_of(&self, entry: &Entry, feed_id: Option<FeedId>) -> Vec<TopicId> {
        let mut topics: Vec<TopicId> = self.all.into_iter().collect();
        for rule in &self.rules {
            let here = rule.feed_id.is_none() || rule.feed_id == feed_id;
            if here && !topics.contains(&rule.topic_id) && rule.matches(entry) {
                topics.push(rule.topic_id);
            }
        }
        topics
    }
}

impl TopicRule {
    fn matches(&self, entry: &Entry) -> bool {
        let pattern = self.pattern.trim().to_lowercase();
        let any = |names: &[String]| {
            names
                .iter()
                .any(|name| glob(&pattern, &name.to_lowercase()))
        };
        match self.field {
            RuleField::Category | RuleField::Tag => any(&entry.categories),
            RuleField::Author => any(&entry.authors),
            RuleField::Url => entry
                .url
                .as_ref()
                .is_some_and(|url| url_matches(&pattern, url)),
        }
    }
}

fn url_matches(pattern: &str, url: &Url) -> bool {
    let path = url.path().to_lowercase();
    let pattern = format!("{pattern}*");
    if pattern.starts_with('/') {
        return glob(&pattern, &path);
    }
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    let pattern = pattern
        .split_once("://")
        .map_or(pattern.as_str(), |(_, rest)| rest);
    let pattern = pattern.strip_prefix("www.").unwrap_or(pattern);
    glob(pattern, &format!("{host}{path}"))
}

/// Whether `text` is `pattern`, in which `*` stands for any characters. Linear in both for each star.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            url: Url::parse("https://www.site.example/Asia/2027/post").ok(),
            categories: vec!["Asia-Pacific".to_owned(), "Trade".to_owned()],
            authors: vec!["Ada Lovelace".to_owned()],
            ..Entry::default()
        }
    }

    fn matches(field: RuleField, pattern: &str) -> bool {
        let topic_id = uuid::Uuid::nil().into();
        let rule = TopicRule {
            topic_id,
            feed_id: None,
            field,
            pattern: pattern.to_owned(),
        };
        rule.matches(&entry())
    }

    #[test]
    fn patterns_are_whole_names_beginnings_of_addresses_or_have_stars() {
        use RuleField::{Author, Category, Tag, Url};
        for (field, pattern) in [
            (Category, "asia-pacific"),
            (Tag, "TRADE"),
            (Category, "asia*"),
            (Category, "*-pac*c"),
            (Author, "*Lovelace"),
            (Url, "/asia/"),
            (Url, "site.example/asia"),
            (Url, "https://www.site.example/"),
            (Url, "/*/2027/"),
        ] {
            assert!(matches(field, pattern), "{field:?} {pattern}");
        }
        for (field, pattern) in [
            (Category, "asia"),
            (Category, ""),
            (Author, "ada"),
            (Url, "/europe/"),
            (Url, "other.example"),
        ] {
            assert!(!matches(field, pattern), "{field:?} {pattern}");
        }
    }

    #[test]
    fn a_rule_of_one_feed_leaves_other_feeds_alone() {
        let [all, asia]: [TopicId; 2] = [1, 2].map(|n| uuid::Uuid::from_u128(n).into());
        let [mine, other]: [FeedId; 2] = [3, 4].map(|n| uuid::Uuid::from_u128(n).into());
        let rule = |feed_id| TopicRule {
            topic_id: asia,
            feed_id,
            field: RuleField::Url,
            pattern: "/".to_owned(),
        };
        let rules = TopicRules {
            all: Some(all),
            rules: vec![rule(Some(mine)), rule(Some(mine))],
        };
        assert_eq!(rules.topics_of(&entry(), Some(mine)), [all, asia]);
        assert_eq!(rules.topics_of(&entry(), Some(other)), [all]);
        assert_eq!(rules.topics_of(&entry(), None), [all]);
    }
}
