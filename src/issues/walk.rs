//! The walk over readers: what each is due, grouped by mail. Pure; prepare and preview share it.

use std::collections::BTreeMap;

use super::article::{IssueArticle, released};
use super::due::{Due, Interest, Move, Reach, Released, due};
use crate::clock::Timestamp;
use crate::id::{ArticleId, SubscriptionId};
use crate::newsletters::Cadence;
use crate::texts::Texts;

/// An active reader, as read for one issue.
#[derive(Clone, Debug)]
pub(in crate::issues) struct Reader {
    pub(in crate::issues) subscription: SubscriptionId,
    pub(in crate::issues) email: String,
    pub(in crate::issues) locale: Option<String>,
    pub(in crate::issues) paused_until: Option<Timestamp>,
    /// An older mail of theirs has not come to its end (see [`unsent`](super::unsent)).
    pub(in crate::issues) waits: bool,
    pub(in crate::issues) interests: Vec<Interest>,
}

/// What an issue holds, in the forms the walk needs.
#[derive(Clone, Debug)]
pub(in crate::issues) struct Contents {
    pub(in crate::issues) reach: Reach,
    /// In the order of the mail.
    pub(in crate::issues) articles: Vec<IssueArticle>,
    released: Vec<Released>,
}

/// A mail: its language and its articles in order.
pub(in crate::issues) type MailKey = (String, Vec<ArticleId>);

/// What some readers get, and what moves with it.
#[derive(Clone, Debug, Default)]
pub(in crate::issues) struct Plan<'a> {
    /// Readers by the mail they get.
    pub(in crate::issues) mails: BTreeMap<MailKey, Vec<(&'a Reader, Vec<Move>)>>,
    /// Moves of readers it has nothing for.
    pub(in crate::issues) silent: Vec<(&'a Reader, Vec<Move>)>,
    /// Readers who are paused: nothing of theirs moves.
    pub(in crate::issues) paused: usize,
    /// Readers who wait for the end of an older mail: nothing of theirs moves.
    pub(in crate::issues) waiting: usize,
}

impl Contents {
    pub(in crate::issues) fn new(reach: Reach, articles: Vec<IssueArticle>) -> Self {
        Self {
            reach,
            released: released(&articles),
            articles,
        }
    }

    /// What these readers get. `locale` is for those who chose none.
    pub(in crate::issues) fn plan<'a>(
        &self,
        readers: &'a [Reader],
        locale: &str,
        texts: &Texts,
        now: Timestamp,
    ) -> Plan<'a> {
        let mut plan = Plan::default();
        for reader in readers {
            if reader.paused_until.is_some_and(|until| until > now) {
                plan.paused += 1;
                continue;
            }
            if reader.waits {
                plan.waiting += 1;
                continue;
            }
            let Due { articles, moves } = due(&reader.interests, &self.released, self.reach);
            let shown: Vec<ArticleId> = self
                .articles
                .iter()
                .filter(|article| article.decision.is_shown() && articles.contains(&article.id))
                .map(|article| article.id)
                .collect();
            if shown.is_empty() {
                plan.silent.push((reader, moves));
                continue;
            }
            let language = texts.language_for(reader.locale.as_deref().unwrap_or(locale));
            let key = (language.to_owned(), shown);
            plan.mails.entry(key).or_default().push((reader, moves));
        }
        plan
    }
}

impl Reader {
    /// The cadence of the interest that `moved` moves.
    pub(in crate::issues) fn cadence_of(&self, moved: &Move) -> Cadence {
        let interest = self.interests.iter().find(|interest| {
            interest.topic_id == moved.topic_id && interest.start_seq == moved.start_seq
        });
        interest.map_or(Cadence::Off, |interest| interest.cadence)
    }
}
