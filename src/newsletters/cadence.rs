//! How often a reader wants mail, and how often a schedule makes it.

use std::fmt;

text_enum! {
    /// The rhythm of an interest or of a schedule. In order: rarer is greater.
    pub enum Cadence {
        /// No mail. An interest that is off stays as the memory of what was given.
        Off = "off",
        /// As soon as there is something.
        Immediate = "immediate",
        /// Each day of the schedule.
        Daily = "daily",
        /// Each week.
        Weekly = "weekly",
        /// Each month.
        Monthly = "monthly",
    }
}

/// A set of cadences: those that are due in one issue. `Off` is never in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Cadences(u8);

impl Cadences {
    /// No cadence.
    pub const NONE: Self = Self(0);

    /// This set with `cadence` in it; `Off` changes nothing.
    #[must_use]
    pub const fn with(self, cadence: Cadence) -> Self {
        match cadence {
            Cadence::Off => self,
            Cadence::Immediate | Cadence::Daily | Cadence::Weekly | Cadence::Monthly => {
                Self(self.0 | 1 << cadence as u8)
            }
        }
    }

    /// Whether `cadence` is in it.
    pub const fn contains(self, cadence: Cadence) -> bool {
        self.0 & (1 << cadence as u8) != 0
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it, most frequent first.
    pub fn iter(self) -> impl Iterator<Item = Cadence> + Clone {
        Cadence::ALL
            .iter()
            .copied()
            .filter(move |cadence| self.contains(*cadence))
    }
}

impl FromIterator<Cadence> for Cadences {
    fn from_iter<I: IntoIterator<Item = Cadence>>(cadences: I) -> Self {
        cadences.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Cadences {
    /// `daily and weekly`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, cadence) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            f.write_str(cadence.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Cadences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As JSON: `["daily", "weekly"]`.
impl serde::Serialize for Cadences {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Cadences {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Cadence>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_in_order_and_read_back() {
        let set: Cadences = [Cadence::Weekly, Cadence::Off, Cadence::Daily]
            .into_iter()
            .collect();
        assert_eq!(set.to_string(), "daily and weekly");
        assert!(!set.contains(Cadence::Off) && set.contains(Cadence::Daily));
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["daily","weekly"]"#);
        assert_eq!(serde_json::from_str::<Cadences>(&json).unwrap(), set);
    }

    #[test]
    fn a_wrong_text_is_told_what_may_be_written() {
        assert_eq!(
            "hourly".parse::<Cadence>(),
            Err("must be one of: off immediate daily weekly monthly")
        );
        for cadence in Cadence::ALL {
            assert_eq!(cadence.as_str().parse(), Ok(*cadence));
        }
    }
}
