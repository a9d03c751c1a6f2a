//! How fast a relay may be used: a bucket of tokens, one for each message. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// How much less one message may take from its token to the relay than another: in that time the relay sees more arrive
/// than tokens were given.
const UNEVEN: Duration = Duration::from_millis(25);

/// So many messages a second, and so many at once after a quiet time.
///
/// A bucket's level is one instant, that at which it will be full again; so a level can be stored and needs no upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// In which one token comes back.
    interval: Duration,
    /// How many tokens the bucket holds.
    burst: u32,
}

impl Allowance {
    /// `rate` messages a second, at least one a day; at most `burst` at once.
    ///
    /// It is the relay that counts, where they arrive: what may arrive too close together is not part of the burst, so in
    /// no second it sees more than `rate` and `burst`, wherever the burst is large enough for that.
    pub fn per_second(rate: f64, burst: u32) -> Self {
        let micros = (1e6 / rate.clamp(1.0 / 86_400.0, 1e6)).ceil();
        let interval = Duration::from_secs_f64(micros / 1e6);
        let too_close = UNEVEN.as_micros() / interval.as_micros();
        let too_close = u32::try_from(too_close).unwrap_or(u32::MAX);
        Self {
            interval,
            burst: burst.saturating_sub(too_close).max(1),
        }
    }

    /// Takes a token at `now` out of a bucket that would be full at `full_at`: when it will be full instead, or, where
    /// it is empty, when the next token comes back.
    ///
    /// In any span of time no more tokens are given than the rate allows for it, and `burst`.
    pub fn take(&self, full_at: Timestamp, now: Timestamp) -> Result<Timestamp, Timestamp> {
        let whole = self.interval * self.burst;
        // no bucket is emptier than empty: a clock that was set back is not waited for
        let missing = full_at.since(now).min(whole) + self.interval;
        if missing <= whole {
            Ok(now + missing)
        } else {
            Err(now + missing.saturating_sub(whole))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(allowance: Allowance, at: &[u64]) -> Vec<u64> {
        let mut full_at = Timestamp::UNIX_EPOCH;
        let mut taken = Vec::new();
        for micros in at {
            let now = Timestamp::UNIX_EPOCH + Duration::from_micros(*micros);
            if let Ok(level) = allowance.take(full_at, now) {
                full_at = level;
                taken.push(*micros);
            }
        }
        taken
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let allowance = Allowance::per_second(10.0, 5);
        let every_ms: Vec<u64> = (0..2_000).map(|ms| 1_000_000 + ms * 1_000).collect();
        let taken = taken(allowance, &every_ms);
        assert_eq!(taken.iter().filter(|at| **at < 1_005_000).count(), 5);
        assert_eq!(taken.len(), 5 + 19);
    }

    #[test]
    fn an_empty_bucket_says_when_the_next_token_comes() {
        let allowance = Allowance::per_second(2.0, 1);
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(9);
        let level = allowance.take(Timestamp::UNIX_EPOCH, now).unwrap();
        let next = allowance.take(level, now).unwrap_err();
        assert_eq!(next.since(now), Duration::from_millis(500));
        assert!(allowance.take(level, next).is_ok());
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_relay_for_long() {
        let allowance = Allowance::per_second(1.0, 3);
        let now = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
        let next = allowance
            .take(now + Duration::from_hours(9), now)
            .unwrap_err();
        assert_eq!(next.since(now), Duration::from_secs(1));
    }

    #[test]
    fn a_burst_that_is_small_for_the_rate_leaves_one_message_at_a_time() {
        let every_ms: Vec<u64> = (0..1_000).map(|ms| 1_000_000 + ms * 1_000).collect();
        let taken = taken(Allowance::per_second(400.0, 1), &every_ms);
        assert!(taken.len() > 300, "{}", taken.len());
    }

    #[test]
    fn of_a_burst_is_kept_back_what_25_milliseconds_bring() {
        for (rate, burst, at_once) in [(200.0, 50, 45), (40.0, 5, 4), (39.0, 5, 5), (14.0, 50, 50)]
        {
            let allowance = Allowance::per_second(rate, burst);
            let given = taken(allowance, &[3_600_000_000; 60]);
            assert_eq!(given.len(), at_once, "{rate}");
        }
    }

    #[test]
    fn however_low_a_rate_is_it_is_one_message_a_day() {
        let (day, second) = (86_400_000_000, 1_000_000);
        let asked = [day, 2 * day - second, 2 * day + second];
        let taken = taken(Allowance::per_second(1e-9, 1), &asked);
        assert_eq!(taken, [day, 2 * day + second]);
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_rate_and_burst(
            rate in 1_u32..200, burst in 1_u32..20,
            mut at in prop::collection::vec(0_u64..5_000_000, 1..400),
        ) {
            at.sort_unstable();
            let taken = taken(Allowance::per_second(f64::from(rate), burst), &at);
            for (index, first) in taken.iter().enumerate() {
                for (count, last) in taken[index..].iter().enumerate() {
                    let span = last - first;
                    let allowed = u64::from(burst) * 1_000_000 + span * u64::from(rate);
                    prop_assert!((count as u64 + 1) * 1_000_000 <= allowed, "{taken:?}");
                }
            }
        }

        #[test]
        fn no_second_of_a_relay_sees_more_whose_messages_are_not_equally_quick(
            rate in 1_u32..400, burst in 11_u32..20,
            under_way in prop::collection::vec(0_u64..25_000, 1..1_500),
        ) {
            let always: Vec<u64> = (0..3_000).map(|ms| ms * 1_000).collect();
            let taken = taken(Allowance::per_second(f64::from(rate), burst), &always);
            let mut arrived: Vec<u64> = taken
                .iter()
                .zip(under_way.iter().cycle())
                .map(|(at, under_way)| at + under_way)
                .collect();
            arrived.sort_unstable();
            for (index, first) in arrived.iter().enumerate() {
                let count = arrived[index..].partition_point(|at| *at < first + 1_000_000);
                prop_assert!(count <= (rate + burst) as usize, "{count} from {first} on");
            }
        }
    }
}
