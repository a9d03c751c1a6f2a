//! Making an issue, and freezing what it may hold.

use std::cmp::Reverse;

use super::article::IssueArticle;
use super::due::Reach;
use super::store::articles::Candidate;
use super::{Decision, IssueKind, IssueState, store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::InDoubt;
use crate::db::Tx;
use crate::id::{Ids, IssueId, NewsletterId};
use crate::newsletters::slots::{self, DueIssue, Outcome, Weighed};
use crate::newsletters::{Cadences, Mode, Newsletter};

/// An issue that is to be made.
#[derive(Clone, Debug)]
pub struct NewIssue {
    /// Whose.
    pub newsletter_id: NewsletterId,
    /// Why.
    pub kind: IssueKind,
    /// The cadences it serves: those of all schedules due at `due_at`.
    pub cadences: Cadences,
    /// When it was due.
    pub due_at: Timestamp,
    /// Articles with picture and summary in each mail; the rest are headlines.
    pub max_cards: u32,
    /// Whether it is sent without an operator's word.
    pub release_when_prepared: bool,
    /// The editor's subject; else the first headlines are the subject.
    pub subject: Option<String>,
    /// The editor's words at the top; paragraphs are separated by blank lines.
    pub intro: Option<String>,
    /// What happens to a mail whose final reply is lost.
    pub in_doubt: InDoubt,
}

/// What [`create`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// An issue, to be frozen next.
    Issue(IssueId),
    /// No issue: no article is new for any reader of these cadences.
    NothingNew,
}

/// Why no issue can be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Bulk mail must name the sender's postal address.
    #[error(
        "the newsletter {0} has no postal address, which every issue must show: set one with \
         `paperround newsletter edit {0} --postal-address`"
    )]
    NoPostalAddress(String),
    /// There is no such newsletter.
    #[error("there is no such newsletter")]
    NoNewsletter,
    /// Another scheduler was first: nothing is left to do.
    #[error("the slots are settled already")]
    Settled,
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Makes the issue, if there is something for it.
pub async fn create(
    tx: &mut Tx<'_>,
    ids: &Ids,
    new: &NewIssue,
    now: Timestamp,
) -> Result<Created, ComposeError> {
    // a scheduled one is made all the same and fails when it is frozen, where the operator sees it
    if new.kind != IssueKind::Scheduled {
        sendable(tx, new.newsletter_id).await?;
    }
    if !somebody_lacks_something(tx, new.newsletter_id, new.cadences, now).await? {
        return Ok(Created::NothingNew);
    }
    let id = ids.next();
    store::issues::insert(tx, id, new, now).await?;
    Ok(Created::Issue(id))
}

/// Whether an article is new for an interest of one of these cadences.
async fn somebody_lacks_something(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    cadences: Cadences,
    now: Timestamp,
) -> sqlx::Result<bool> {
    match store::issues::lowest_given(tx, newsletter, cadences, now).await? {
        Some(lowest) => Ok(store::articles::count_ready_above(tx, newsletter, lowest).await? > 0),
        None => Ok(false),
    }
}

/// Slots without news are not empty where a reader's pause is over, or an older mail was given up.
async fn catch_up(
    tx: &mut Tx<'_>,
    due: &DueIssue,
    weighed: &mut Weighed,
    now: Timestamp,
) -> sqlx::Result<()> {
    for (slot, outcome) in due.slots.iter().zip(&mut weighed.outcomes) {
        let cadence = slot.schedule.cadence;
        let alone = Cadences::NONE.with(cadence);
        if *outcome == Outcome::NothingNew
            && somebody_lacks_something(tx, due.newsletter_id, alone, now).await?
        {
            *outcome = Outcome::Issue;
            weighed.cadences = weighed.cadences.with(cadence);
        }
    }
    Ok(())
}

/// Makes an issue that an operator asked for.
pub async fn create_manual(app: &App, new: NewIssue) -> Result<Created, ComposeError> {
    let (ids, now) = (app.ids.clone(), app.clock.now());
    app.db
        .write(move |tx| Box::pin(async move { create(tx, &ids, &new, now).await }))
        .await
}

/// Makes the issue of a newsletter's slots that are due at one instant, and settles them with it.
///
/// [`ComposeError::Settled`]: another scheduler was first, and nothing was changed.
pub async fn create_due(app: &App, due: DueIssue) -> Result<Created, ComposeError> {
    let (ids, now) = (app.ids.clone(), app.clock.now());
    let in_doubt = app.config.delivery.in_doubt;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let mut weighed = slots::weigh(tx, &due).await?;
                catch_up(tx, &due, &mut weighed, now).await?;
                let mut created = Created::NothingNew;
                if !weighed.cadences.is_empty() {
                    let new = scheduled(&due, &weighed, in_doubt);
                    created = create(tx, &ids, &new, now).await?;
                }
                let issue = match created {
                    Created::Issue(id) => Some(id),
                    Created::NothingNew => {
                        // there were articles, but nobody for them
                        let outcomes = weighed.outcomes.iter_mut();
                        outcomes
                            .filter(|outcome| **outcome == Outcome::Issue)
                            .for_each(|outcome| *outcome = Outcome::NothingNew);
                        None
                    }
                };
                if !slots::settle(tx, &due, &weighed, issue, now).await? {
                    return Err(ComposeError::Settled);
                }
                Ok(created)
            })
        })
        .await
}

fn scheduled(due: &DueIssue, weighed: &Weighed, in_doubt: InDoubt) -> NewIssue {
    NewIssue {
        newsletter_id: due.newsletter_id,
        kind: IssueKind::Scheduled,
        cadences: weighed.cadences,
        due_at: due.at,
        max_cards: due.max_cards(weighed),
        release_when_prepared: due.mode(weighed) == Mode::Automatic,
        subject: None,
        intro: None,
        in_doubt,
    }
}

/// What [`freeze`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// The issue is preparing.
    Yes,
    /// Another issue of the newsletter is preparing; this one waits.
    Waits,
    /// The issue is not scheduled any more.
    NotScheduled,
}

/// Fixes what the issue may hold: the cutoff, and for each article that a due interest could still want a decision
/// and its texts as they are now.
pub async fn freeze(
    tx: &mut Tx<'_>,
    issue: IssueId,
    now: Timestamp,
) -> Result<Frozen, ComposeError> {
    let issue = store::issues::by_id_in(tx, issue).await?;
    let Some(issue) = issue.filter(|issue| issue.state == IssueState::Scheduled) else {
        return Ok(Frozen::NotScheduled);
    };
    if store::issues::is_preparing(tx, issue.newsletter_id).await? {
        return Ok(Frozen::Waits);
    }
    sendable(tx, issue.newsletter_id).await?;
    let draft = gather(
        tx,
        issue.newsletter_id,
        issue.cadences.0,
        issue.max_cards,
        now,
    )
    .await?;
    if !store::issues::freeze(tx, issue.id, draft.reach.cutoff, now).await? {
        return Ok(Frozen::NotScheduled);
    }
    store::articles::insert(tx, issue.id, &draft.articles).await?;
    Ok(Frozen::Yes)
}

/// The articles that an issue could hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Whom and what it reaches: up to the newest number that was given.
    pub reach: Reach,
    /// Every article considered, in the order of the mail.
    pub articles: Vec<IssueArticle>,
}

/// What an issue of these cadences could hold now, with the decision for each article. Changes nothing.
///
/// They reach down to the lowest number that a due interest was given, and to the lowest to which one may be put back
/// while the issue is prepared, for then the readers of unsent mails get those articles with this one.
///
/// Newest first. The first `max_cards` are cards, the rest headlines; a mail with fewer articles shows its own first
/// ones as cards.
pub async fn gather(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    cadences: Cadences,
    max_cards: i64,
    now: Timestamp,
) -> sqlx::Result<Gathered> {
    let cutoff = store::articles::newest_seq(tx, newsletter).await?;
    let given = store::issues::lowest_given(tx, newsletter, cadences, now).await?;
    let unsent = store::issues::lowest_unsent(tx, newsletter).await?;
    let lowest = given.into_iter().chain(unsent).min();
    let floor = lowest.map_or(cutoff, |lowest| lowest.min(cutoff));
    let candidates = store::articles::candidates(tx, newsletter, floor, cutoff).await?;
    Ok(Gathered {
        reach: Reach {
            cadences,
            floor,
            cutoff,
        },
        articles: decide(candidates, max_cards),
    })
}

/// Orders the candidates and decides on each. Dates order, but never say what is new.
fn decide(mut candidates: Vec<Candidate>, max_cards: i64) -> Vec<IssueArticle> {
    candidates.sort_by_key(|candidate| {
        let content = &candidate.content;
        let at = content.published_at.unwrap_or(candidate.first_seen_at);
        Reverse((at, content.seq))
    });
    let mut cards = 0;
    let mut decide = |(position, candidate): (usize, Candidate)| {
        let decision = match candidate.is_withdrawn {
            true => Decision::Withdrawn,
            false if cards < max_cards => Decision::Card,
            false => Decision::Headline,
        };
        cards += i64::from(decision == Decision::Card);
        IssueArticle {
            id: candidate.id,
            position: i64::try_from(position).unwrap_or(i64::MAX),
            decision,
            reason: candidate
                .is_withdrawn
                .then(|| "it was withdrawn before the issue was frozen".to_owned()),
            content: candidate.content,
        }
    };
    candidates
        .into_iter()
        .enumerate()
        .map(&mut decide)
        .collect()
}

/// The newsletter, if it may be sent.
async fn sendable(tx: &mut Tx<'_>, id: NewsletterId) -> Result<Newsletter, ComposeError> {
    let newsletter = crate::newsletters::store::by_id_in(tx, id).await?;
    let newsletter = newsletter.ok_or(ComposeError::NoNewsletter)?;
    let address = newsletter.postal_address.as_deref().unwrap_or_default();
    if address.trim().is_empty() {
        return Err(ComposeError::NoPostalAddress(newsletter.slug.to_string()));
    }
    Ok(newsletter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issues::article::ArticleContent;

    fn candidate(seq: i64, published_at: i64, is_withdrawn: bool) -> Candidate {
        Candidate {
            id: crate::id::ArticleId(uuid::Uuid::from_u128(seq.unsigned_abs().into())),
            first_seen_at: Timestamp::UNIX_EPOCH,
            is_withdrawn,
            content: ArticleContent {
                seq,
                topics: Vec::new(),
                topic_name: None,
                title: format!("Article {seq}"),
                url: "https://a.example/".to_owned(),
                summary: String::new(),
                author: None,
                published_at: Some(Timestamp::from_micros(published_at)),
                image: None,
            },
        }
    }

    #[test]
    fn the_newest_are_cards_and_what_was_withdrawn_takes_no_place() {
        let candidates = vec![
            candidate(1, 10, false),
            candidate(2, 40, true),
            candidate(3, 30, false),
            candidate(4, 20, false),
        ];
        let decided = decide(candidates, 2);
        let shown: Vec<_> = decided
            .iter()
            .map(|article| (article.content.seq, article.decision))
            .collect();
        let expected = [
            (2, Decision::Withdrawn),
            (3, Decision::Card),
            (4, Decision::Card),
            (1, Decision::Headline),
        ];
        assert_eq!(shown, expected);
        assert!(decided[0].reason.is_some());
    }

    #[test]
    fn of_articles_published_at_one_time_the_latest_number_comes_first() {
        let candidates = (1..=3).map(|seq| candidate(seq, 10, false)).collect();
        let decided = decide(candidates, 12);
        let order: Vec<_> = decided.iter().map(|article| article.content.seq).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn fourteen_articles_with_room_for_twelve_cards_are_fourteen_articles() {
        let candidates = (1..=14).map(|seq| candidate(seq, seq, false)).collect();
        let decided = decide(candidates, 12);
        let count = |decision| decided.iter().filter(|it| it.decision == decision).count();
        assert_eq!((count(Decision::Card), count(Decision::Headline)), (12, 2));
    }

    #[test]
    fn an_article_without_a_date_stands_where_it_was_first_seen() {
        let mut undated = candidate(2, 0, false);
        undated.content.published_at = None;
        undated.first_seen_at = Timestamp::from_micros(20);
        let candidates = vec![candidate(1, 10, false), undated, candidate(3, 30, false)];
        let decided = decide(candidates, 12);
        let order: Vec<_> = decided.iter().map(|article| article.content.seq).collect();
        assert_eq!(order, [3, 2, 1]);
    }
}
