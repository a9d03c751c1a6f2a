//! Storing entries: which are new articles, which are edits, which are nothing new.

use super::identity::{Identity, KeyKind, identify};
use super::read::Prepared;
use super::release::Beginning;
use super::store::{self, Found, NewArticle};
use super::topics::TopicRules;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{ArticleId, FeedId, Ids, NewsletterId, TopicId};

/// Where entries are stored.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) newsletter_id: NewsletterId,
    /// The feed that brings them; `None` for entries that are posted.
    pub(crate) feed_id: Option<FeedId>,
    /// Where articles without an address lead.
    pub(crate) home: String,
    pub(crate) rules: TopicRules,
    pub(crate) ids: Ids,
    pub(crate) now: Timestamp,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    New,
    Edited,
    Nothing,
}

/// How many entries of a feed were what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Articles never seen before.
    pub new: usize,
    /// Articles whose texts changed.
    pub edited: usize,
    /// Articles that are as they were.
    pub unchanged: usize,
}

impl Saved {
    pub(crate) fn count(&mut self, change: Change) {
        match change {
            Change::New => self.new += 1,
            Change::Edited => self.edited += 1,
            Change::Nothing => self.unchanged += 1,
        }
    }
}

impl std::ops::AddAssign for Saved {
    fn add_assign(&mut self, other: Self) {
        self.new += other.new;
        self.edited += other.edited;
        self.unchanged += other.unchanged;
    }
}

/// Stores one entry, the newsletter being locked. `order` is its place among the entries stored together: articles that
/// are released at one instant are numbered in this order. `topics` come beside those of the rules.
pub(crate) async fn save(
    tx: &mut Tx<'_>,
    to: &Destination,
    prepared: &Prepared,
    order: usize,
    beginning: Beginning,
    topics: &[TopicId],
) -> sqlx::Result<(ArticleId, Change)> {
    let found = store::matches(tx, to.newsletter_id, &prepared.keys).await?;
    let shared: Vec<_> = found.iter().map(|found| found.shared.clone()).collect();
    let mut all_topics = to.rules.topics_of(&prepared.entry, to.feed_id);
    all_topics.extend(topics);
    let url = prepared
        .draft
        .url
        .as_ref()
        .map_or(to.home.as_str(), url::Url::as_str);
    let (id, change, takes_guid) = match identify(&prepared.entry, &shared) {
        Identity::Known(id) => (id, change_of(&found, id, to, prepared), false),
        Identity::New { takes_guid } => (to.ids.next(), Change::New, takes_guid),
    };
    match change {
        Change::New => {
            let micros = i64::try_from(order).unwrap_or(0);
            let new = NewArticle {
                id,
                newsletter_id: to.newsletter_id,
                feed_id: to.feed_id,
                state: beginning.state,
                held_reason: beginning.held_reason,
                first_seen_at: Timestamp::from_micros(to.now.as_micros() + micros),
                release_at: beginning.release_at,
            };
            store::insert(tx, &new, &prepared.draft, url).await?;
        }
        Change::Edited => store::edit(tx, id, &prepared.draft, url, to.now).await?,
        Change::Nothing => {}
    }
    // Another feed may show the article in another category; its own says nothing new with the same text.
    if change != Change::Nothing || found.iter().all(|found| found.feed_id != to.feed_id) {
        store::add_topics(tx, id, &all_topics).await?;
    }
    for key in &prepared.keys {
        let has = |found: &Found| found.shared.article_id == id && found.shared.kind == key.kind;
        if takes_guid && key.kind == KeyKind::Guid {
            store::move_key(tx, to.newsletter_id, key, id).await?;
        } else if !found.iter().any(has) {
            store::add_key(tx, to.newsletter_id, key, id).await?;
        }
    }
    Ok((id, change))
}

/// Whether `prepared` changes the texts of article `id`. Only the feed that brought an article edits it: another's copy
/// differs in trifles, and the two would overwrite each other at each poll.
fn change_of(found: &[Found], id: ArticleId, to: &Destination, prepared: &Prepared) -> Change {
    let stored = found.iter().find(|found| found.shared.article_id == id);
    let differs = stored.is_some_and(|stored| {
        stored.feed_id == to.feed_id && stored.content_hash != prepared.draft.content_hash
    });
    if differs {
        Change::Edited
    } else {
        Change::Nothing
    }
}
