//! How often a relay falls silent after a message. Pure.

use serde::{Deserialize, Serialize};

/// Half of the transmissions that doubts are measured against.
const HALF: u64 = 250;
/// So many lost replies of late are too many, when they are more than so many percent.
const TOO_MANY: (u64, u64) = (5, 1);

/// The latest transmissions and those among them whose final reply was lost: a relay that drops every final reply would
/// mail a list twice.
///
/// They are kept in two halves; the older one goes when the newer one is full. So 250 to 500 are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubts {
    newer: Half,
    older: Half,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    transmissions: u64,
    doubts: u64,
}

impl Doubts {
    /// Adds a message that was written to its end.
    pub fn transmitted(&mut self, is_doubt: bool) {
        if self.newer.transmissions >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.transmissions += 1;
        self.newer.doubts += u64::from(is_doubt);
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.newer.add(other.newer);
        self.older.add(other.older);
    }

    /// Messages whose final reply was lost.
    pub fn doubts(&self) -> u64 {
        self.newer.doubts + self.older.doubts
    }

    /// Messages that were written to their end.
    pub fn transmissions(&self) -> u64 {
        self.newer.transmissions + self.older.transmissions
    }

    /// Whether somebody must look before more is sent.
    pub fn are_too_many(&self) -> bool {
        let doubts = self.doubts();
        doubts >= TOO_MANY.0 && doubts * 100 > self.transmissions() * TOO_MANY.1
    }
}

impl Half {
    fn add(&mut self, other: Self) {
        self.transmissions += other.transmissions;
        self.doubts += other.doubts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_counted_is_added_with_its_older_half() {
        let mut own = Doubts::default();
        for number in 0..300 {
            own.transmitted(number % 100 == 0);
        }
        let mut all = own;
        all.add(&own);
        assert_eq!((all.transmissions(), all.doubts()), (600, 6));
    }
}
