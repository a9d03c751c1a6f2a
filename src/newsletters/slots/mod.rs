//! Due slots: which schedules are due now, what becomes one issue, and how each slot is settled once.
//!
//! 1. [`find`] reads the schedules in use and says what is due: schedules of a newsletter that are due at one
//!    instant make one issue, and slots that were missed are told apart.
//! 2. The caller reads the newsletter's feeds once more, then opens a transaction.
//! 3. In it [`weigh`] says which schedules have something to say, the caller makes the issue, and [`settle`]
//!    records every slot with what became of it. A second scheduler finds the slots settled and makes nothing.

mod store;

use std::collections::BTreeMap;

use super::schedule::choose_due;
use super::{Cadence, Cadences, Mode, Schedule};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{IssueId, NewsletterId, ScheduleId};

crate::text_enum! {
    /// What became of a slot.
    pub enum Outcome {
        /// An issue was made.
        Issue = "issue",
        /// No article had been released since the last issue of this cadence.
        NothingNew = "nothing_new",
        /// The service was down, and the schedule's rule makes up for another slot or for none.
        Missed = "missed",
        /// There were articles, but fewer than the schedule's minimum: they wait for the next slot.
        BelowMinimum = "below_minimum",
    }
}

/// What is due now.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One for each issue to make, oldest first.
    pub due: Vec<DueIssue>,
    /// Slots to record as missed.
    pub missed: Vec<DueSlot>,
}

/// The slots of one newsletter that are due at one instant.
#[derive(Clone, Debug)]
pub struct DueIssue {
    /// Whose.
    pub newsletter_id: NewsletterId,
    /// The instant.
    pub at: Timestamp,
    /// At least one.
    pub slots: Vec<DueSlot>,
}

/// A slot that has passed and is not settled.
#[derive(Clone, Debug)]
pub struct DueSlot {
    /// Its schedule.
    pub schedule: Schedule,
    /// Its name, unique within the schedule.
    pub name: String,
    /// When it was due.
    pub at: Timestamp,
}

/// Which slots of a due issue have something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// One outcome for each slot, in their order.
    pub outcomes: Vec<Outcome>,
    /// The cadences the issue serves. Empty: no issue.
    pub cadences: Cadences,
}

/// A slot as it was settled.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct SettledSlot {
    /// Its schedule.
    pub schedule_id: ScheduleId,
    /// The schedule's cadence.
    pub cadence: Cadence,
    /// Its name.
    pub slot: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// The issue, if there is one.
    pub issue_id: Option<IssueId>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What an immediate schedule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waiting {
    /// The number released last in the newsletter.
    newest_seq: i64,
    /// How many released articles no issue of the cadence had yet.
    articles: i64,
    /// Whether a slot was settled when that number was the newest: nothing has come since.
    is_settled: bool,
    /// When the schedule's last slot was due.
    last_at: Option<Timestamp>,
}

/// What is due at `now`, on all newsletters.
pub async fn find(db: &Db, now: Timestamp) -> sqlx::Result<Plan> {
    let mut candidates = Vec::new();
    for schedule in super::store::enabled_schedules(db).await? {
        let waiting = match schedule.cadence {
            Cadence::Immediate => store::waiting(db, &schedule).await?,
            Cadence::Off | Cadence::Daily | Cadence::Weekly | Cadence::Monthly => {
                Waiting::default()
            }
        };
        candidates.push((schedule, waiting));
    }
    Ok(plan(candidates, now))
}

/// Which of the slots of `due` have something to say, as the transaction sees it.
pub async fn weigh(tx: &mut Tx<'_>, due: &DueIssue) -> sqlx::Result<Weighed> {
    let mut weighed = Weighed {
        outcomes: Vec::new(),
        cadences: Cadences::NONE,
    };
    let cutoffs = store::recent_cutoffs(tx, due.newsletter_id).await?;
    for slot in &due.slots {
        let cadence = slot.schedule.cadence;
        let cutoff = last_cutoff(&cutoffs, cadence);
        let articles = store::ready_above(tx, due.newsletter_id, cutoff).await?;
        let outcome = if articles == 0 {
            Outcome::NothingNew
        } else if articles < i64::from(slot.schedule.min_articles) {
            Outcome::BelowMinimum
        } else {
            weighed.cadences = weighed.cadences.with(cadence);
            Outcome::Issue
        };
        weighed.outcomes.push(outcome);
    }
    Ok(weighed)
}

/// Records what became of each slot of `due`; `issue` is the issue of those whose outcome is one.
///
/// `false`: another scheduler was first, and the caller's transaction must be undone.
pub async fn settle(
    tx: &mut Tx<'_>,
    due: &DueIssue,
    weighed: &Weighed,
    issue: Option<IssueId>,
    now: Timestamp,
) -> sqlx::Result<bool> {
    for (slot, outcome) in due.slots.iter().zip(&weighed.outcomes) {
        let issue = issue.filter(|_| *outcome == Outcome::Issue);
        if !store::settle(tx, slot, *outcome, issue, now).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Records that `slot` was missed. Harmless when it is settled already.
pub async fn settle_missed(tx: &mut Tx<'_>, slot: &DueSlot, now: Timestamp) -> sqlx::Result<()> {
    store::settle(tx, slot, Outcome::Missed, None, now)
        .await
        .map(drop)
}

/// The same in a transaction of its own.
pub async fn record_missed(db: &Db, slot: DueSlot, now: Timestamp) -> sqlx::Result<()> {
    db.write(move |tx| Box::pin(async move { settle_missed(tx, &slot, now).await }))
        .await
}

/// The newest settled slots of a newsletter, newest first.
pub async fn recent(
    db: &Db,
    newsletter: NewsletterId,
    limit: u32,
) -> sqlx::Result<Vec<SettledSlot>> {
    store::recent(db, newsletter, limit).await
}

impl DueIssue {
    /// The cards of its issue: the most that a schedule with a part in it allows.
    pub fn max_cards(&self, weighed: &Weighed) -> u32 {
        let cards = self.served(weighed).map(|schedule| schedule.max_cards);
        cards.max().unwrap_or(0)
    }

    /// Whether its issue goes by itself: not if a schedule with a part in it wants a draft.
    pub fn mode(&self, weighed: &Weighed) -> Mode {
        let mut served = self.served(weighed);
        if served.any(|schedule| schedule.mode == Mode::Draft) {
            Mode::Draft
        } else {
            Mode::Automatic
        }
    }

    /// The schedules whose slots have something to say.
    fn served<'a>(&'a self, weighed: &'a Weighed) -> impl Iterator<Item = &'a Schedule> {
        let slots = self.slots.iter().zip(&weighed.outcomes);
        slots
            .filter(|(_, outcome)| **outcome == Outcome::Issue)
            .map(|(slot, _)| &slot.schedule)
    }
}

/// The highest cutoff of an issue that served `cadence`; 0 where there was none.
fn last_cutoff(cutoffs: &[(Cadences, i64)], cadence: Cadence) -> i64 {
    let served = cutoffs
        .iter()
        .filter(|(cadences, _)| cadences.contains(cadence));
    served.map(|(_, cutoff)| *cutoff).max().unwrap_or(0)
}

fn plan(candidates: Vec<(Schedule, Waiting)>, now: Timestamp) -> Plan {
    let mut missed = Vec::new();
    let mut groups: BTreeMap<(Timestamp, NewsletterId), Vec<DueSlot>> = BTreeMap::new();
    let mut immediate = Vec::new();
    for (schedule, waiting) in candidates {
        match schedule.cadence {
            Cadence::Off => {}
            Cadence::Immediate => immediate.extend(immediate_slot(schedule, waiting, now)),
            Cadence::Daily | Cadence::Weekly | Cadence::Monthly => {
                let slots = schedule.calendar.slots_between(schedule.handled_to, now);
                for (slot, is_due) in choose_due(slots, schedule.missed, schedule.max_lateness, now)
                {
                    let slot = DueSlot {
                        schedule: schedule.clone(),
                        name: slot.name,
                        at: slot.at,
                    };
                    if is_due {
                        groups
                            .entry((slot.at, schedule.newsletter_id))
                            .or_default()
                            .push(slot);
                    } else {
                        missed.push(slot);
                    }
                }
            }
        }
    }
    for slot in immediate {
        // What is due at this moment goes out with the newest issue that is due anyway.
        let newsletter = slot.schedule.newsletter_id;
        let newest = groups
            .keys()
            .rev()
            .find(|(_, of)| *of == newsletter)
            .copied();
        groups
            .entry(newest.unwrap_or((slot.at, newsletter)))
            .or_default()
            .push(slot);
    }
    let due = groups
        .into_iter()
        .map(|((at, newsletter_id), slots)| DueIssue {
            newsletter_id,
            at,
            slots,
        });
    Plan {
        due: due.collect(),
        missed,
    }
}

fn immediate_slot(schedule: Schedule, waiting: Waiting, now: Timestamp) -> Option<DueSlot> {
    // what was found to be for nobody, or was cancelled, comes with the next article
    let enough = !waiting.is_settled && waiting.articles >= i64::from(schedule.min_articles.max(1));
    let rested = waiting
        .last_at
        .is_none_or(|last| now.since(last) >= schedule.min_interval);
    let name = slot_of(waiting.newest_seq);
    (enough && rested).then_some(DueSlot {
        schedule,
        name,
        at: now,
    })
}

/// The slot of an immediate schedule when this number is the newest.
fn slot_of(newest_seq: i64) -> String {
    format!("seq:{newest_seq}")
}

#[cfg(test)]
mod tests;
