//! All SQL of feeds and articles.

mod articles;
mod feeds;
mod keys;
mod topics;

pub(crate) use articles::{
    NewArticle, add_topics, due_to_release, edit, insert, lock_newsletter, newsletters_to_release,
    release_one, take_seqs,
};
pub use articles::{article, articles, dismiss, hold, newest_seq, ready_after, topics_of};
pub(crate) use feeds::{
    Claim, claim, fail, feed_in, feeds_to_poll, insert_feed, is_being_read, leave, record,
    url_is_taken,
};
pub use feeds::{feed, feeds_of, pause, resume};
pub(crate) use keys::{Found, add_key, matches, move_key};
pub use topics::list_rules;
pub(crate) use topics::{delete_rule, insert_rule, rules_of, topics_by_slug};
