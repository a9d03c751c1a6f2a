//! When a deferred delivery is tried again. Pure.

use std::time::Duration;

/// From the first try to the second, and so on; then always the last one.
const DELAYS: [Duration; 7] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    Duration::from_hours(4),
];

/// How long to wait after a connection was lost without anybody's fault: long enough not to spin.
pub const AFTER_LOSS: Duration = Duration::from_mins(1);

/// How long a notice waits after the relay refused its sender, which is a matter for the operator.
pub const AFTER_SENDER_REFUSED: Duration = Duration::from_mins(15);

/// The wait after `tries` replies. `jitter` is 0.8 to 1.2.
pub fn delay(tries: i64, jitter: f64) -> Duration {
    let index = usize::try_from(tries.max(1) - 1).unwrap_or(usize::MAX);
    let delay = DELAYS.get(index).unwrap_or(&DELAYS[DELAYS.len() - 1]);
    delay.mul_f64(jitter.clamp(0.8, 1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_four_hours_and_stay_there() {
        let minutes = |tries| delay(tries, 1.0).as_secs() / 60;
        let found: Vec<_> = (1..10).map(minutes).collect();
        assert_eq!(found, [1, 5, 15, 30, 60, 120, 240, 240, 240]);
        assert_eq!(minutes(0), 1);
        assert_eq!(minutes(i64::MAX), 240);
    }

    #[test]
    fn jitter_moves_a_wait_by_a_fifth_at_most() {
        assert_eq!(delay(1, 0.0).as_secs(), 48);
        assert_eq!(delay(1, 9.0).as_secs(), 72);
    }
}
