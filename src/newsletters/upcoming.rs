//! The next times at which a newsletter's issues are due. Pure.

use super::{Cadence, Cadences, Schedule};
use crate::clock::Timestamp;
use crate::newsletters::schedule::Zone;

/// An instant at which an issue will be due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// The instant.
    pub at: Timestamp,
    /// The zone of the first schedule that is due then.
    pub zone: Zone,
    /// What is due then, in one issue.
    pub cadences: Cadences,
}

/// The next `count` instants after `after` at which one or more of `schedules` are due.
///
/// Immediate schedules and those not in use are left out: nobody knows when they are due.
pub fn upcoming(schedules: &[Schedule], after: Timestamp, count: usize) -> Vec<Upcoming> {
    let known = |schedule: &&Schedule| {
        schedule.enabled && !matches!(schedule.cadence, Cadence::Off | Cadence::Immediate)
    };
    let mut found: Vec<Upcoming> = Vec::new();
    let mut from = after;
    while found.len() < count {
        let next = schedules
            .iter()
            .filter(known)
            .filter_map(|schedule| Some((schedule.calendar.next_slot(from)?.at, schedule)))
            .min_by_key(|(at, _)| *at);
        let Some((at, first)) = next else { break };
        let due = schedules.iter().filter(known).filter(|schedule| {
            schedule
                .calendar
                .next_slot(from)
                .is_some_and(|slot| slot.at == at)
        });
        let cadences = due.map(|schedule| schedule.cadence).collect();
        found.push(Upcoming {
            at,
            zone: first.calendar.zone().clone(),
            cadences,
        });
        from = at;
    }
    found
}
