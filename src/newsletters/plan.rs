//! A schedule as it is stored: a calendar with what belongs to its issues.

use std::time::Duration;

use super::{Cadence, Calendar, Missed};
use crate::clock::Timestamp;
use crate::id::{NewsletterId, ScheduleId};
use crate::text_enum;

text_enum! {
    /// Whether an issue goes by itself.
    pub enum Mode {
        /// It is sent when it is due.
        Automatic = "automatic",
        /// It is composed and waits for an operator.
        Draft = "draft",
    }
}

/// When a newsletter's issues of one cadence are due, and what they may hold.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose.
    pub newsletter_id: NewsletterId,
    /// Whose interests it serves. Never `Off`.
    pub cadence: Cadence,
    /// When it is due. An immediate one is due whenever there is something; only its zone counts.
    pub calendar: Calendar,
    /// Whether its issues go by themselves.
    pub mode: Mode,
    /// Fewer articles wait for the next slot.
    pub min_articles: u32,
    /// Articles with picture and summary; the rest are headlines.
    pub max_cards: u32,
    /// Between two immediate issues.
    pub min_interval: Duration,
    /// What happens to slots that passed while the service was down.
    pub missed: Missed,
    /// A slot later than this is missed.
    pub max_lateness: Duration,
    /// Whether it is in use.
    pub enabled: bool,
    /// Slots up to here are settled.
    pub handled_to: Timestamp,
}
