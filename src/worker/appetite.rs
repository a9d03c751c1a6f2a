//! How much is claimed ahead: about what the lines send in a second. What a worker holds is kept from all others, and
//! goes back late where it dies.

use std::time::Duration;

use tokio::time::Instant;

/// Rows that wait in the process, at most: enough to keep fast lines busy while the next are claimed.
const MOST: usize = 1000;
/// Rows of one claim, at most: while it is written, marks and settles wait.
const MOST_AT_ONCE: usize = 500;
/// What a line has in hand: the message that it writes, and the one whose envelope goes along.
const IN_HAND: usize = 2;
/// Rows that wait for each line, at least.
const LEAST_PER_LINE: usize = 2;
/// A rate is not taken from a shorter time.
const SHORTEST: Duration = Duration::from_millis(5);

/// Follows the pace of the lines.
pub(super) struct Appetite {
    lines: usize,
    ahead: usize,
    /// When the pace was measured last, and how many were done by then.
    measured: (Instant, usize),
}

impl Appetite {
    /// Of a sender with so many lines, which has sent nothing yet.
    pub(super) fn new(lines: usize) -> Self {
        Self {
            lines,
            ahead: (lines * LEAST_PER_LINE).min(MOST),
            measured: (Instant::now(), 0),
        }
    }

    /// So many were done by now.
    pub(super) fn measure(&mut self, done: usize) {
        let (since, before) = self.measured;
        let elapsed = since.elapsed();
        if elapsed < SHORTEST || done == before {
            return;
        }
        let of_a_second =
            (done - before) * 1000 / usize::try_from(elapsed.as_millis()).unwrap_or(usize::MAX);
        let least = (self.lines * LEAST_PER_LINE).min(MOST);
        self.ahead = of_a_second.clamp(least, MOST);
        self.measured = (Instant::now(), done);
    }

    /// With so many in the process, waiting or in hand, nothing more is claimed.
    pub(super) fn enough(&self) -> usize {
        self.lines * IN_HAND + self.ahead
    }

    /// Rows of one claim.
    pub(super) fn claim(&self) -> usize {
        (self.ahead * 2).min(MOST_AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fast_lines_are_fed_further_ahead_than_slow_ones() {
        let mut appetite = Appetite::new(4);
        assert_eq!((appetite.enough(), appetite.claim()), (16, 16));
        // a thousand a second
        tokio::time::advance(Duration::from_millis(10)).await;
        appetite.measure(10);
        assert_eq!((appetite.enough(), appetite.claim()), (1008, 500));
        // twenty a second
        tokio::time::advance(Duration::from_secs(1)).await;
        appetite.measure(30);
        assert_eq!((appetite.enough(), appetite.claim()), (28, 40));
        // none: the relay rests, which says nothing about its pace
        tokio::time::advance(Duration::from_mins(1)).await;
        appetite.measure(30);
        assert_eq!(appetite.claim(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn many_lines_have_no_more_ahead_than_the_process_holds() {
        let mut appetite = Appetite::new(1000);
        assert_eq!((appetite.enough(), appetite.claim()), (3000, 500));
        tokio::time::advance(Duration::from_secs(1)).await;
        appetite.measure(1);
        assert_eq!((appetite.enough(), appetite.claim()), (3000, 500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_not_taken_from_a_moment() {
        let mut appetite = Appetite::new(4);
        tokio::time::advance(Duration::from_millis(4)).await;
        appetite.measure(10);
        assert_eq!(appetite.claim(), 16);
        tokio::time::advance(Duration::from_millis(1)).await;
        appetite.measure(10);
        assert_eq!(appetite.claim(), 500);
    }
}
