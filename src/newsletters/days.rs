//! On which days a schedule is due.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Weekday};

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Days of the calendar. Never none.
///
/// Written `all`, `mon,thu`, `1,15` or `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// Every day.
    All,
    /// Some days of each week: bit 0 is Monday.
    OfWeek(u8),
    /// Some days of each month: bit 1 is the first. A day that a month lacks is its last day. Bit 0 is the
    /// last day of each month.
    OfMonth(u32),
}

/// A text that names no days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `all`, weekdays such as mon,thu, or days of the month such as 1,15 or last")]
pub struct DaysError;

impl Days {
    /// Whether `date` is one of them.
    pub fn contains(self, date: Date) -> bool {
        match self {
            Self::All => true,
            Self::OfWeek(bits) => bits & (1 << date.weekday().to_monday_zero_offset()) != 0,
            Self::OfMonth(bits) => {
                let day = date.day();
                if day == date.days_in_month() {
                    // The last day stands for all that this month lacks, and for `last`.
                    bits & (u32::MAX << day | 1) != 0
                } else {
                    bits & (1 << day) != 0
                }
            }
        }
    }
}

impl FromStr for Days {
    type Err = DaysError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        let (mut week, mut month) = (0_u8, 0_u32);
        for part in text.split(',').map(str::trim) {
            if let Some((_, day)) = WEEKDAYS.iter().find(|(name, _)| *name == part) {
                week |= 1 << day.to_monday_zero_offset();
            } else if part == "last" {
                month |= 1;
            } else {
                let day: u32 = part.parse().map_err(|_| DaysError)?;
                if !(1..=31).contains(&day) {
                    return Err(DaysError);
                }
                month |= 1 << day;
            }
        }
        match (week, month) {
            (week, 0) if week > 0 => Ok(Self::OfWeek(week)),
            (0, month) if month > 0 => Ok(Self::OfMonth(month)),
            _ => Err(DaysError),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = match *self {
            Self::All => vec!["all".to_owned()],
            Self::OfWeek(bits) => (0..7)
                .filter(|day| bits & (1 << day) != 0)
                .map(|day| WEEKDAYS[day].0.to_owned())
                .collect(),
            Self::OfMonth(bits) => {
                let days = (1..32)
                    .filter(|day| bits & (1 << day) != 0)
                    .map(|day| day.to_string());
                days.chain((bits & 1 != 0).then(|| "last".to_owned()))
                    .collect()
            }
        };
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_are_read_as_they_are_written() {
        for text in [
            "all",
            "mon",
            "mon,thu,sun",
            "1",
            "1,15,31",
            "1,last",
            "last",
        ] {
            assert_eq!(text.parse::<Days>().unwrap().to_string(), text);
        }
        for text in ["", "0", "32", "mon,1", "Monday", "mon,", "-1", "all,mon"] {
            assert_eq!(text.parse::<Days>(), Err(DaysError), "{text:?}");
        }
    }

    #[test]
    fn a_day_that_a_month_lacks_is_its_last() {
        let of = |text: &str, year, month| {
            let days: Days = text.parse().unwrap();
            let first = date(year, month, 1);
            (1..=first.days_in_month())
                .filter(|day| days.contains(date(year, month, *day)))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("31", 2027, 2), [28]);
        assert_eq!(of("30,31", 2028, 2), [29]);
        assert_eq!(of("30", 2027, 4), [30]);
        assert_eq!(of("31", 2027, 5), [31]);
        assert_eq!(of("last", 2027, 4), [30]);
        assert_eq!(of("1,15", 2027, 2), [1, 15]);
        assert_eq!(of("mon", 2027, 3), [1, 8, 15, 22, 29]);
    }

    #[test]
    fn each_day_of_the_week_is_due_on_its_day() {
        // 1 March 2027 is a Monday
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        for (name, day) in names.into_iter().zip(1..) {
            let days: Days = name.parse().unwrap();
            let due: Vec<i8> = (1..=7)
                .filter(|day| days.contains(date(2027, 3, *day)))
                .collect();
            assert_eq!(due, [day], "{name}");
            assert_eq!(days.to_string(), name);
        }
    }
}
