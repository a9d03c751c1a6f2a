//! When issues are due: local civil time, days, an IANA zone. Pure.
//!
//! A slot is one due time. Its name is the civil time and the zone (`2027-03-28T07:00 Europe/Berlin`), so
//! a repeated hour, a clock set back, a restart and a second scheduler all mean the same slot.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Disambiguation, TimeZone};

use super::Days;
use crate::clock::Timestamp;

/// The civil times at which a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    days: Days,
    local_time: LocalTime,
    zone: Zone,
}

/// A time of day with minutes: `07:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime(Time);

/// A time zone of the IANA database, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// One due time. In order of the instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When it is due.
    pub at: Timestamp,
    /// Its name, unique within its schedule.
    pub name: String,
}

text_enum! {
    /// What happens to slots that passed while the service was down.
    pub enum Missed {
        /// The newest makes an issue, the others are recorded as missed.
        Latest = "latest",
        /// Each makes an issue.
        All = "all",
        /// None makes an issue.
        None = "none",
    }
}

/// How late a slot may be and count as on time, where missed slots make no issue.
const PUNCTUAL: Duration = Duration::from_mins(15);

impl Calendar {
    /// Due at `local_time` in `zone` on each of `days`.
    pub fn new(days: Days, local_time: LocalTime, zone: Zone) -> Self {
        Self {
            days,
            local_time,
            zone,
        }
    }

    /// The days.
    pub fn days(&self) -> Days {
        self.days
    }

    /// The time of day.
    pub fn local_time(&self) -> LocalTime {
        self.local_time
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first slot strictly after `after`.
    ///
    /// A civil time that a clock change skips is due at the first moment after the gap; one that occurs
    /// twice is due the first time. `None` only at the end of jiff's calendar, in the year 9999.
    pub fn next_slot(&self, after: Timestamp) -> Option<Slot> {
        self.slots_from(after).find(|slot| slot.at > after)
    }

    /// All slots after `after` and up to `until`, oldest first.
    pub fn slots_between(&self, after: Timestamp, until: Timestamp) -> Vec<Slot> {
        self.slots_from(after)
            .skip_while(|slot| slot.at <= after)
            .take_while(|slot| slot.at <= until)
            .collect()
    }

    /// Slots in order, from some time before `after`.
    fn slots_from(&self, after: Timestamp) -> impl Iterator<Item = Slot> {
        // Two days back: a zone may skip a whole day, as Samoa did in 2011.
        let start = after
            .in_zone(self.zone.0.clone())
            .date()
            .saturating_sub(2.days());
        std::iter::successors(Some(start), |date| date.tomorrow().ok())
            .filter(|date| self.days.contains(*date))
            .filter_map(|date| self.slot_on(date))
    }

    fn slot_on(&self, date: Date) -> Option<Slot> {
        let civil = date.to_datetime(self.local_time.0);
        let name = format!("{}T{} {}", date, self.local_time, self.zone);
        Some(Slot {
            at: self.zone.instant_of(civil)?,
            name,
        })
    }
}

/// Which of `slots` (oldest first, all past `now`) make an issue (`true`) and which were missed (`false`).
///
/// A slot that is more than `max_lateness` late is missed whatever the rule.
pub fn choose_due(
    slots: Vec<Slot>,
    missed: Missed,
    max_lateness: Duration,
    now: Timestamp,
) -> Vec<(Slot, bool)> {
    let newest = slots.last().map(|slot| slot.name.clone());
    let decide = |slot: &Slot| {
        let lateness = now.since(slot.at);
        lateness <= max_lateness
            && match missed {
                Missed::Latest => newest.as_ref() == Some(&slot.name),
                Missed::All => true,
                Missed::None => lateness <= PUNCTUAL,
            }
    };
    slots
        .into_iter()
        .map(|slot| {
            let due = decide(&slot);
            (slot, due)
        })
        .collect()
}

impl Zone {
    /// The zone's name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The zone for jiff.
    pub fn to_jiff(&self) -> TimeZone {
        self.0.clone()
    }

    /// The instant of `civil` here: the first valid one after it where a clock change skips it, the earlier
    /// where it occurs twice.
    fn instant_of(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().ok(),
            AmbiguousOffset::Fold { .. } => ambiguous.disambiguate(Disambiguation::Earlier).ok(),
            AmbiguousOffset::Gap { .. } => {
                // Read with the offset before the change, the civil time lies as far behind the change as
                // it lies in the gap; the change itself is the last one up to there.
                let behind = ambiguous.disambiguate(Disambiguation::Later).ok()?;
                let change = self
                    .0
                    .preceding(behind.saturating_add(1.nanosecond()).ok()?)
                    .next();
                change.map(|change| change.timestamp()).or(Some(behind))
            }
        }
        .map(Timestamp::from)
    }
}

impl FromStr for Zone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "must be the name of a time zone, such as Europe/Berlin or America/New_York";
        let zone = TimeZone::get(text.trim()).map_err(|_| EXPECTED)?;
        if zone.iana_name().is_some() {
            Ok(Self(zone))
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LocalTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a time of day with minutes, such as 07:00 or 18:30";
        let (hour, minute) = text.split_once(':').ok_or(EXPECTED)?;
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(hour) || !digits(minute) {
            return Err(EXPECTED);
        }
        let (hour, minute) = (
            hour.parse().map_err(|_| EXPECTED)?,
            minute.parse().map_err(|_| EXPECTED)?,
        );
        Time::new(hour, minute, 0, 0)
            .map(Self)
            .map_err(|_| EXPECTED)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

#[cfg(test)]
mod tests;
