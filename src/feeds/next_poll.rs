//! When a feed is asked again. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// The longest that a failing feed, or a site that asks for patience, is left alone.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest that `Cache-Control` can stretch the time between polls.
const LONGEST_MAX_AGE: Duration = Duration::from_hours(6);

/// After a success: the feed's own interval, or longer where the site says that nothing changes before.
pub(crate) fn after_success(
    now: Timestamp,
    interval: Duration,
    max_age: Option<Duration>,
) -> Timestamp {
    now + interval.max(max_age.unwrap_or_default().min(LONGEST_MAX_AGE))
}

/// After the `failures`th failure in a row: the interval doubled each time, up to a day, and then spread by a quarter
/// either way by `random`, so that feeds that failed together do not come back together. Not before `retry_after`.
pub(crate) fn after_failure(
    now: Timestamp,
    interval: Duration,
    failures: i64,
    retry_after: Option<Duration>,
    random: u8,
) -> Timestamp {
    let doublings = u32::try_from(failures.saturating_sub(1))
        .unwrap_or(0)
        .min(16);
    let wait = interval.saturating_mul(1 << doublings).min(LONGEST);
    let spread = wait * 3 / 4 + wait * u32::from(random) / 512;
    now + spread.max(retry_after.unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const QUARTER: Duration = Duration::from_mins(15);

    #[test]
    fn a_site_can_ask_for_fewer_polls_but_not_for_more() {
        let wait = |max_age| after_success(NOW, QUARTER, max_age).since(NOW);
        assert_eq!(wait(None), QUARTER);
        assert_eq!(wait(Some(Duration::from_secs(5))), QUARTER);
        assert_eq!(wait(Some(Duration::from_hours(1))), Duration::from_hours(1));
        assert_eq!(
            wait(Some(Duration::from_hours(9999))),
            Duration::from_hours(6)
        );
    }

    #[test]
    fn failures_back_off_to_a_day_and_spread() {
        let wait =
            |failures, random| after_failure(NOW, QUARTER, failures, None, random).since(NOW);
        assert_eq!(wait(1, 128), QUARTER);
        assert_eq!(wait(3, 128), 4 * QUARTER);
        assert_eq!(wait(1_000_000, 128), LONGEST);
        assert!(wait(3, 0) >= 3 * QUARTER && wait(3, 255) <= 5 * QUARTER);
        let asked = after_failure(NOW, QUARTER, 1, Some(Duration::from_hours(2)), 0).since(NOW);
        assert_eq!(asked, Duration::from_hours(2));
    }
}
