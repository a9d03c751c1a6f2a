//! Issues: what is due to whom, composing, rendering, preparing.
//!
//! ```text
//! compose::create   scheduled   one issue for all that is due at one instant
//! compose::freeze   preparing   the cutoff and a decision for each article are fixed
//! prepare           preparing   readers in chunks: what each is due, variants, deliveries, interests moved
//! release           sending     the set of deliveries is closed; from now on they may be claimed
//! ```
//!
//! [`advance`](advance::advance) drives this; every step may be repeated after a crash and takes no input but the
//! database. [`preview`] walks the same way and writes nothing.

pub mod advance;
pub mod article;
pub mod compose;
pub mod copy;
pub mod due;
pub mod manual;
mod page;
pub mod prepare;
pub mod preview;
pub mod reference;
pub mod release;
pub mod render;
pub mod store;
mod unsent;
mod walk;

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::id::{IssueId, NewsletterId, SubscriptionId};
use crate::newsletters::Cadences;
use crate::text_enum;

text_enum! {
    /// Why an issue exists.
    pub enum IssueKind {
        /// A schedule was due.
        Scheduled = "scheduled",
        /// An operator asked for it.
        Manual = "manual",
        /// It mends an earlier one.
        Correction = "correction",
    }
}

text_enum! {
    /// Where an issue stands. Paused is no state: `paused_at` says it.
    pub enum IssueState {
        /// Being written by an editor.
        Draft = "draft",
        /// Waits to be frozen.
        Scheduled = "scheduled",
        /// Frozen; its deliveries are being made, or wait for an operator to release them.
        Preparing = "preparing",
        /// Its deliveries may be claimed.
        Sending = "sending",
        /// Nothing of it is open any more.
        Finished = "finished",
        /// Ended by an operator.
        Cancelled = "cancelled",
        /// It could not be prepared; `state_reason` says why.
        Failed = "failed",
        /// It had nothing for anyone.
        Skipped = "skipped",
    }
}

impl IssueState {
    /// Whether something may still come of it.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Draft | Self::Scheduled | Self::Preparing | Self::Sending => true,
            Self::Finished | Self::Cancelled | Self::Failed | Self::Skipped => false,
        }
    }
}

text_enum! {
    /// What became of an article in an issue.
    pub enum Decision {
        /// Shown with picture and summary.
        Card = "card",
        /// Shown as a line with a link.
        Headline = "headline",
        /// Taken back by its site before the issue was frozen.
        Withdrawn = "withdrawn",
        /// Left out by the editor.
        Excluded = "excluded",
        /// The same as another article of the issue.
        Duplicate = "duplicate",
    }
}

impl Decision {
    /// Whether readers see the article.
    pub const fn is_shown(self) -> bool {
        match self {
            Self::Card | Self::Headline => true,
            Self::Withdrawn | Self::Excluded | Self::Duplicate => false,
        }
    }
}

/// One edition of a newsletter.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Issue {
    /// Its id.
    pub id: IssueId,
    /// Whose.
    pub newsletter_id: NewsletterId,
    /// Its number within the newsletter, from 1.
    pub number: i64,
    /// Why it exists.
    pub kind: IssueKind,
    /// The cadences it serves.
    pub cadences: Json<Cadences>,
    /// When it was due.
    pub due_at: Timestamp,
    /// Where it stands.
    pub state: IssueState,
    /// Why it failed or was skipped, in words.
    pub state_reason: Option<String>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// Whether it is released by itself once it is prepared.
    pub release_when_prepared: bool,
    /// How many articles of a mail are cards.
    pub max_cards: i64,
    /// The newest number it may hold; set when frozen.
    pub cutoff_seq: Option<i64>,
    /// The editor's subject; once prepared, the subject most readers got.
    pub subject: Option<String>,
    /// The editor's words at the top.
    pub intro: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was frozen.
    pub frozen_at: Option<Timestamp>,
    /// The last subscription that was prepared.
    pub prepared_to: Option<SubscriptionId>,
    /// Active readers looked at.
    pub candidates: i64,
    /// Deliveries made.
    pub queued: i64,
    /// Readers for whom it had nothing, or who are paused.
    pub excluded: i64,
    /// When all readers were looked at.
    pub prepared_at: Option<Timestamp>,
    /// When sending was allowed: the `Date` of every copy.
    pub released_at: Option<Timestamp>,
    /// When nothing was open any more.
    pub finished_at: Option<Timestamp>,
}
