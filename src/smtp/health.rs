//! Whether a relay may be used, and from when on. Pure but for the randomness it is given.

use std::time::Duration;

use super::doubts::Doubts;
use crate::clock::Timestamp;
use crate::id::{Entropy, random_bytes};

/// First rest; each further one is twice as long, up to [`LONGEST_REST`].
pub(crate) const FIRST_REST: Duration = Duration::from_secs(30);
/// Longest rest.
pub(crate) const LONGEST_REST: Duration = Duration::from_mins(15);
/// A halted relay is tried this often, and whenever it is configured anew.
pub(crate) const HALTED_RETRY: Duration = Duration::from_hours(1);
/// Connections lost in a row, without a word, until the relay rests.
const LOSSES: u32 = 3;

/// What is known of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// In use.
    Ok,
    /// Resting until then; after that, one connection probes.
    BackingOff {
        /// When it may be tried again.
        until: Timestamp,
        /// What happened, for people.
        reason: String,
    },
    /// It needs a person. Tried once an hour nevertheless.
    Halted {
        /// When it may be tried again.
        until: Timestamp,
        /// What is wrong, for people.
        reason: String,
    },
}

impl Health {
    /// From when on it may be tried.
    pub fn usable_from(&self) -> Option<Timestamp> {
        match self {
            Self::Ok => None,
            Self::BackingOff { until, .. } | Self::Halted { until, .. } => Some(*until),
        }
    }
}

/// Health with the history that decides the next rest.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) health: Health,
    rests: u32,
    losses: u32,
    protocol_errors: u32,
    data_after_refusal: u32,
    doubts: Doubts,
    unusable_since: Option<Timestamp>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            health: Health::Ok,
            rests: 0,
            losses: 0,
            protocol_errors: 0,
            data_after_refusal: 0,
            doubts: Doubts::default(),
            unusable_since: None,
        }
    }

    /// A message was answered for, or a recipient: the relay works. A connection that is open from before says nothing
    /// about a halted relay; the one that tries it when its time has come does.
    pub(crate) fn works(&mut self, now: Timestamp) {
        if let Health::Halted { until, .. } = self.health
            && now < until
        {
            return;
        }
        self.health = Health::Ok;
        self.unusable_since = None;
        self.rests = 0;
        self.losses = 0;
    }

    /// The relay rests, at least for `minimum`. `jitter` is 0.8 to 1.2.
    pub(crate) fn rest(
        &mut self,
        now: Timestamp,
        minimum: Option<Duration>,
        jitter: f64,
        reason: String,
    ) {
        let doubled = FIRST_REST.saturating_mul(1 << self.rests.min(10));
        let rest = doubled.min(LONGEST_REST).mul_f64(jitter);
        let until = now + rest.max(minimum.unwrap_or(Duration::ZERO));
        // Twenty connections that fail together are one failure, and it does not end an earlier, longer rest.
        if self
            .health
            .usable_from()
            .is_some_and(|earlier| earlier > now)
        {
            return;
        }
        self.rests = self.rests.saturating_add(1);
        self.losses = 0;
        self.unusable_since.get_or_insert(now);
        self.health = Health::BackingOff { until, reason };
    }

    pub(crate) fn halt(&mut self, now: Timestamp, reason: String) {
        let until = now + HALTED_RETRY;
        self.unusable_since.get_or_insert(now);
        self.health = Health::Halted { until, reason };
    }

    /// Since when nothing went through it.
    pub(crate) fn unusable_since(&self) -> Option<Timestamp> {
        self.unusable_since
    }

    /// A message was written to its end. A relay that falls silent after too many of them is halted.
    pub(crate) fn transmitted(&mut self, now: Timestamp, is_doubt: bool) {
        self.doubts.transmitted(is_doubt);
        if is_doubt && self.doubts.are_too_many() {
            let (doubts, of) = (self.doubts.doubts(), self.doubts.transmissions());
            self.halt(
                now,
                format!("the final reply was lost for {doubts} of the last {of} mails"),
            );
            self.doubts = Doubts::default();
        }
    }

    /// A connection was lost within a message. The third in a row is more than bad luck.
    pub(crate) fn lost(&mut self, now: Timestamp, jitter: f64, reason: String) {
        self.losses += 1;
        if self.losses >= LOSSES {
            self.rest(now, None, jitter, reason);
        }
    }

    /// The relay answered what nobody may answer there. The second time it is halted.
    pub(crate) fn misbehaved(&mut self, now: Timestamp, reason: String) {
        self.protocol_errors += 1;
        if self.protocol_errors >= 2 {
            self.protocol_errors = 0;
            self.halt(now, reason);
        }
    }

    /// The relay answered DATA with 354 although it had refused the recipient.
    pub(crate) fn answered_data_after_refusal(&mut self) {
        self.data_after_refusal += 1;
    }

    pub(crate) fn pipelining(&self) -> super::connection::Pipelining {
        use super::connection::Pipelining;
        if self.protocol_errors > 0 {
            Pipelining::Off
        } else if self.data_after_refusal >= 3 {
            Pipelining::DataAlone
        } else {
            Pipelining::Full
        }
    }
}

/// A factor from 0.8 to 1.2, so that what failed together does not come back together.
pub(crate) fn jitter(entropy: &dyn Entropy) -> f64 {
    let random = u16::from_le_bytes(random_bytes(entropy));
    0.8 + 0.4 * f64::from(random) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_of(record: &Record, now: Timestamp) -> Duration {
        record.health.usable_from().unwrap().since(now)
    }

    #[test]
    fn rests_double_up_to_a_quarter_of_an_hour() {
        let mut record = Record::new();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut rests = Vec::new();
        for _ in 0..7 {
            record.rest(now, None, 1.0, String::new());
            rests.push(rest_of(&record, now).as_secs());
            now = record.health.usable_from().unwrap();
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 900, 900]);
        record.works(now);
        record.rest(now, None, 1.0, String::new());
        assert_eq!(rest_of(&record, now).as_secs(), 30);
    }

    #[test]
    fn failures_at_one_time_count_once_and_a_longer_rest_stands() {
        let mut record = Record::new();
        let now = Timestamp::UNIX_EPOCH;
        record.rest(now, Some(Duration::from_mins(30)), 1.0, "login".to_owned());
        record.rest(now, None, 1.0, "another".to_owned());
        assert_eq!(rest_of(&record, now).as_secs(), 1800);
        assert_eq!(record.rests, 1);
    }

    #[test]
    fn three_losses_in_a_row_are_a_reason_to_rest() {
        let mut record = Record::new();
        let now = Timestamp::UNIX_EPOCH;
        record.lost(now, 1.0, String::new());
        record.lost(now, 1.0, String::new());
        record.works(now);
        record.lost(now, 1.0, String::new());
        record.lost(now, 1.0, String::new());
        assert_eq!(record.health, Health::Ok);
        record.lost(now, 1.0, String::new());
        assert_eq!(rest_of(&record, now), FIRST_REST);
    }

    #[test]
    fn five_lost_replies_among_few_halt_and_are_then_forgotten() {
        let mut record = Record::new();
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..4 {
            record.transmitted(now, true);
        }
        assert_eq!(record.health, Health::Ok);
        record.transmitted(now, true);
        assert_eq!(rest_of(&record, now), HALTED_RETRY);
        record.works(now);
        assert_eq!(rest_of(&record, now), HALTED_RETRY);
        let later = now + HALTED_RETRY;
        record.works(later);
        record.transmitted(later, true);
        assert_eq!(record.health, Health::Ok);
    }

    #[test]
    fn a_halted_relay_is_unusable_since_its_first_failure() {
        let now = Timestamp::UNIX_EPOCH;
        let later = now + Duration::from_secs(40);
        for is_resting in [false, true] {
            let mut record = Record::new();
            if is_resting {
                record.rest(now, None, 1.0, "down".to_owned());
            }
            record.halt(later, "535 wrong".to_owned());
            let since = if is_resting { now } else { later };
            assert_eq!(record.unusable_since(), Some(since));
        }
    }

    #[test]
    fn the_third_354_behind_a_refused_recipient_lets_data_go_alone() {
        use super::super::connection::Pipelining;
        let mut record = Record::new();
        for expected in [Pipelining::Full, Pipelining::Full, Pipelining::DataAlone] {
            record.answered_data_after_refusal();
            assert_eq!(record.pipelining(), expected);
        }
    }

    #[test]
    fn the_second_impossible_answer_halts() {
        use super::super::connection::Pipelining;
        let mut record = Record::new();
        assert_eq!(record.pipelining(), Pipelining::Full);
        record.misbehaved(Timestamp::UNIX_EPOCH, "2xx to DATA".to_owned());
        assert_eq!(
            (record.pipelining(), &record.health),
            (Pipelining::Off, &Health::Ok)
        );
        record.misbehaved(Timestamp::UNIX_EPOCH, "2xx to DATA".to_owned());
        assert_eq!(rest_of(&record, Timestamp::UNIX_EPOCH), HALTED_RETRY);
    }

    #[test]
    fn a_relay_is_unusable_since_its_first_failure_and_until_it_works() {
        let at = |minutes| Timestamp::UNIX_EPOCH + Duration::from_mins(minutes);
        let mut record = Record::new();
        for minutes in [1, 20] {
            record.rest(at(minutes), None, 1.0, String::new());
            assert_eq!(record.unusable_since(), Some(at(1)), "{minutes}");
        }
        record.works(at(40));
        assert_eq!(record.unusable_since(), None);
    }

    #[test]
    fn behind_a_rest_and_behind_a_halt_it_is_counted_anew() {
        let mut record = Record::new();
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..LOSSES {
            record.lost(now, 1.0, String::new());
        }
        now = now + FIRST_REST;
        record.lost(now, 1.0, String::new());
        assert_eq!(
            record.health.usable_from(),
            Some(now),
            "one lost connection"
        );
        for _ in 0..2 {
            record.misbehaved(now, "2xx to DATA".to_owned());
        }
        now = now + HALTED_RETRY;
        record.misbehaved(now, "2xx to DATA".to_owned());
        assert_eq!(record.health.usable_from(), Some(now), "one odd answer");
    }

    #[test]
    fn a_relay_that_is_down_for_a_day_goes_on_resting_a_quarter_of_an_hour() {
        let mut record = Record::new();
        let mut now = Timestamp::UNIX_EPOCH;
        for number in 0..100 {
            record.rest(now, None, 1.0, String::new());
            let rest = rest_of(&record, now);
            assert!(number < 5 || rest == LONGEST_REST, "{number}: {rest:?}");
            now = now + rest;
        }
    }

    #[test]
    fn a_rest_is_as_much_shorter_or_longer_as_chance_says_and_as_long_as_was_asked_for() {
        let now = Timestamp::UNIX_EPOCH;
        for (factor, minimum, seconds) in [
            (0.8, None, 24),
            (1.2, None, 36),
            (0.8, Some(Duration::from_mins(30)), 1800),
        ] {
            let mut record = Record::new();
            record.rest(now, minimum, factor, String::new());
            assert_eq!(rest_of(&record, now).as_secs(), seconds, "{factor}");
        }
    }

    /// Randomness that is always the same.
    struct Same(u8);

    impl Entropy for Same {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn chance_makes_a_rest_up_to_a_fifth_shorter_or_longer() {
        for (byte, expected) in [(0, 0.8), (u8::MAX, 1.2)] {
            let factor = jitter(&Same(byte));
            assert!((factor - expected).abs() < 1e-9, "{factor}");
        }
    }

    #[test]
    fn a_good_answer_makes_no_odd_one_forgotten() {
        use super::super::connection::Pipelining;
        let mut record = Record::new();
        let now = Timestamp::UNIX_EPOCH;
        record.misbehaved(now, "2xx to DATA".to_owned());
        record.works(now);
        assert_eq!(record.pipelining(), Pipelining::Off);
        record.misbehaved(now, "2xx to DATA".to_owned());
        assert!(matches!(record.health, Health::Halted { .. }));
    }

    #[test]
    fn a_halted_relay_does_not_begin_to_rest_when_something_else_fails() {
        let mut record = Record::new();
        let now = Timestamp::UNIX_EPOCH;
        record.halt(now, "535 wrong".to_owned());
        record.rest(now, None, 1.0, "closed".to_owned());
        assert!(matches!(record.health, Health::Halted { .. }));
        assert_eq!(rest_of(&record, now), HALTED_RETRY);
    }

    #[test]
    fn a_relay_that_falls_silent_is_halted_and_it_is_said_how_often_it_did() {
        let mut record = Record::new();
        for is_doubt in [false, true, true, true, true, true] {
            record.transmitted(Timestamp::UNIX_EPOCH, is_doubt);
        }
        let Health::Halted { reason, .. } = record.health else {
            panic!("it is in use");
        };
        assert_eq!(reason, "the final reply was lost for 5 of the last 6 mails");
    }

    #[test]
    fn a_good_answer_ends_a_rest_at_once_and_leaves_a_halted_relay_unusable() {
        let now = Timestamp::UNIX_EPOCH;
        let mut record = Record::new();
        record.rest(now, None, 1.0, "busy".to_owned());
        record.works(now);
        assert_eq!(record.health, Health::Ok);
        record.halt(now, "535 wrong".to_owned());
        record.works(now);
        assert_eq!(record.unusable_since(), Some(now));
    }

    #[test]
    fn lost_replies_are_counted_across_good_answers_and_across_rests() {
        for is_good_between in [true, false] {
            let mut record = Record::new();
            let mut now = Timestamp::UNIX_EPOCH;
            for number in 1..=5 {
                record.lost(now, 1.0, "closed".to_owned());
                record.transmitted(now, true);
                let is_halted = matches!(record.health, Health::Halted { .. });
                assert_eq!(is_halted, number == 5, "{number} {is_good_between}");
                now = record.health.usable_from().unwrap_or(now);
                if is_good_between {
                    record.works(now);
                    record.transmitted(now, false);
                }
            }
        }
    }

    #[test]
    fn a_message_that_was_answered_halts_nobody_though_older_ones_are_forgotten() {
        let mut record = Record::new();
        // five of five hundred, and behind the next one five of the last 251
        for number in 1..=501 {
            let is_doubt = (496..=500).contains(&number);
            record.transmitted(Timestamp::UNIX_EPOCH, is_doubt);
        }
        assert_eq!(record.health, Health::Ok);
    }

    #[test]
    fn how_a_relay_is_spoken_to_is_remembered_over_a_rest_and_over_a_halt() {
        use super::super::connection::Pipelining;
        let now = Timestamp::UNIX_EPOCH;
        let (mut careless, mut odd) = (Record::new(), Record::new());
        for _ in 0..3 {
            careless.answered_data_after_refusal();
        }
        odd.misbehaved(now, "2xx to DATA".to_owned());
        for (record, expected) in [
            (&mut careless, Pipelining::DataAlone),
            (&mut odd, Pipelining::Off),
        ] {
            record.rest(now, None, 1.0, "busy".to_owned());
            record.halt(now, "535 wrong".to_owned());
            record.works(now + HALTED_RETRY);
            assert_eq!(record.health, Health::Ok);
            assert_eq!(record.pipelining(), expected);
        }
    }

    fn reason_of(record: &Record) -> &str {
        match &record.health {
            Health::Ok => "",
            Health::BackingOff { reason, .. } | Health::Halted { reason, .. } => reason,
        }
    }

    #[test]
    fn a_relay_is_unusable_for_what_happened_last_and_not_for_what_came_beside_a_rest() {
        let mut record = Record::new();
        let mut now = Timestamp::UNIX_EPOCH;
        for (beside, failed) in [(true, "421 busy"), (false, "451 not now")] {
            record.rest(now, None, 1.0, failed.to_owned());
            assert_eq!(reason_of(&record), failed);
            if beside {
                record.rest(now, None, 1.0, "closed".to_owned());
                assert_eq!(reason_of(&record), failed);
            }
            now = record.health.usable_from().unwrap();
        }
        for failed in ["535 wrong", "534 too weak"] {
            record.halt(now, failed.to_owned());
            assert_eq!(reason_of(&record), failed);
        }
    }

    #[test]
    fn a_relay_that_is_careless_and_odd_hears_one_command_at_a_time() {
        use super::super::connection::Pipelining;
        let mut record = Record::new();
        for _ in 0..3 {
            record.answered_data_after_refusal();
        }
        record.misbehaved(Timestamp::UNIX_EPOCH, "2xx to DATA".to_owned());
        assert_eq!(record.pipelining(), Pipelining::Off);
    }
}
