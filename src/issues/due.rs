//! Which articles a reader is due, and how the ledger of what they were given moves. Pure.
//!
//! Articles are told apart by their number (`seq`), never by a date. An [`Interest`] remembers two numbers:
//! up to `start_seq` nothing was its business, up to `given_seq` all was given. An article is due at an
//! issue if
//!
//! - an interest whose cadence is due has one of its topics and `given_seq < seq <= cutoff`, and
//! - no interest of the reader, of whatever cadence, has one of its topics and `start_seq < seq <= given_seq`:
//!   then it was given before.
//!
//! Afterwards every interest whose cadence was due stands at the cutoff, also where nothing matched.
//!
//! An issue holds the articles between its *floor* and its cutoff. An interest that stands below the floor (a mail
//! was given up, or a pause ended, after the issue was frozen) would lose what lies between: it takes no part, as if
//! its cadence were not due, and gets everything with the next issue.

use crate::id::{ArticleId, TopicId};
use crate::newsletters::{Cadence, Cadences};

/// A reader's wish for one topic, with the memory of what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// What it is about.
    pub topic_id: TopicId,
    /// The newest number when the interest began.
    pub start_seq: i64,
    /// How often.
    pub cadence: Cadence,
    /// The newest number that was given; never less than `start_seq`.
    pub given_seq: i64,
}

/// An article that has its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Its number within its newsletter.
    pub seq: i64,
    /// The article.
    pub id: ArticleId,
    /// Its topics, `all` among them.
    pub topics: Vec<TopicId>,
}

/// What one reader gets at one issue, and what that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The articles, by rising number. Empty: no mail, but the moves still happen.
    pub articles: Vec<ArticleId>,
    /// The interests that move, each to the cutoff.
    pub moves: Vec<Move>,
}

/// An interest that moves with a delivery. As JSON it stands beside the delivery, to be put back if that is
/// never sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Move {
    /// Which interest, together with `start_seq`.
    pub topic_id: TopicId,
    /// Which interest, together with `topic_id`.
    pub start_seq: i64,
    /// `given_seq` before.
    pub given_from: i64,
    /// `given_seq` afterwards: the cutoff.
    pub given_to: i64,
}

/// What an issue reaches: which cadences, and which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The cadences it serves.
    pub cadences: Cadences,
    /// It holds every article above this number ...
    pub floor: i64,
    /// ... and up to this one.
    pub cutoff: i64,
}

/// What the reader with these `interests` is due at an issue of this `reach`.
///
/// `released` holds, by rising number, at least every article above the floor and up to the cutoff; what lies beyond
/// the cutoff is not looked at.
pub fn due(interests: &[Interest], released: &[Released], reach: Reach) -> Due {
    let cutoff = reach.cutoff;
    let serves = |interest: &Interest| {
        reach.cadences.contains(interest.cadence) && interest.given_seq >= reach.floor
    };
    let moves: Vec<Move> = interests
        .iter()
        .filter(|interest| serves(interest) && interest.given_seq < cutoff)
        .map(|interest| Move {
            topic_id: interest.topic_id,
            start_seq: interest.start_seq,
            given_from: interest.given_seq,
            given_to: cutoff,
        })
        .collect();
    let Some(lowest) = moves.iter().map(|moved| moved.given_from).min() else {
        return Due::default();
    };
    let from = released.partition_point(|article| article.seq <= lowest);
    let to = released.partition_point(|article| article.seq <= cutoff);
    let articles = released[from..to]
        .iter()
        .filter(|article| {
            let about = |interest: &&Interest| article.topics.contains(&interest.topic_id);
            let mut wanted = false;
            for interest in interests.iter().filter(about) {
                if interest.given_seq < article.seq {
                    wanted |= serves(interest);
                } else if interest.start_seq < article.seq {
                    return false;
                }
            }
            wanted
        })
        .map(|article| article.id)
        .collect();
    Due { articles, moves }
}

impl Move {
    /// Moves `interest`, if it is the one meant and stands where it stood when the move was computed.
    /// `false`: it changed since; the reader must be computed again.
    pub fn apply(&self, interest: &mut Interest) -> bool {
        let applies = self.is_of(interest) && interest.given_seq == self.given_from;
        if applies {
            interest.given_seq = self.given_to;
        }
        applies
    }

    /// Puts `interest` back, if it is the one meant and nothing has moved it since. `false`: it stays.
    pub fn put_back(&self, interest: &mut Interest) -> bool {
        let applies = self.is_of(interest) && interest.given_seq == self.given_to;
        if applies {
            interest.given_seq = self.given_from;
        }
        applies
    }

    fn is_of(&self, interest: &Interest) -> bool {
        interest.topic_id == self.topic_id && interest.start_seq == self.start_seq
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
