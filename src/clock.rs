//! The one home of time: an instant type that both engines store alike, and the clock that is passed to whoever needs it.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};

/// An instant with microsecond precision, the precision that both engines keep.
///
/// Stored as `INTEGER` microseconds since 1970 on SQLite and as `timestamptz` on PostgreSQL (`db::timestamp`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "jiff::Timestamp", from = "jiff::Timestamp")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The start of 1970.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The instant `micros` microseconds after the start of 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the start of 1970.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The same instant in jiff's type, for calendars and formats. Saturates at jiff's bounds (years -9999 to 9999).
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// This instant as civil time in `zone`.
    pub fn in_zone(self, zone: TimeZone) -> jiff::Zoned {
        self.to_jiff().to_zoned(zone)
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant in the form of RFC 5322, section 3.3, in UTC with a numeric zone: always 31 characters.
    pub fn to_rfc5322(self) -> String {
        self.in_zone(TimeZone::UTC)
            .strftime("%a, %d %b %Y %H:%M:%S +0000")
            .to_string()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Self(value.as_microsecond())
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(value: Timestamp) -> Self {
        value.to_jiff()
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

/// Tells the time. Whoever needs the time is given one of these.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// Time since the machine started, with the time it slept. Unlike [`Clock::now`] nobody can set it.
    fn uptime(&self) -> Duration;

    /// Whether it shows the time that other machines show. A test's does not.
    fn is_real(&self) -> bool {
        true
    }
}

/// A span of time that began at a known moment: what was promised for it is not begun after its end.
///
/// It is measured by two clocks, and the one that moved further counts: the wall clock may be set, and a machine that is
/// restored from a snapshot goes on with its old uptime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    now: Timestamp,
    uptime: Duration,
    span: Duration,
}

impl Deadline {
    /// Begins now and lasts for `span`.
    pub fn after(clock: &dyn Clock, span: Duration) -> Self {
        Self {
            now: clock.now(),
            uptime: clock.uptime(),
            span,
        }
    }

    /// Whether the span is over.
    pub fn is_over(&self, clock: &dyn Clock) -> bool {
        let by_wall = clock.now().since(self.now);
        let by_uptime = clock.uptime().saturating_sub(self.uptime);
        by_wall.max(by_uptime) >= self.span
    }
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }

    fn uptime(&self) -> Duration {
        let uptime = clock_gettime(UPTIME);
        let whole = Duration::from_secs(uptime.tv_sec.try_into().unwrap_or(0));
        whole + Duration::from_nanos(uptime.tv_nsec.try_into().unwrap_or(0))
    }
}

/// The clock that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        let mut now = self.0.lock().expect("no holder of this lock can panic");
        *now = *now + span;
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("no holder of this lock can panic") = now;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder of this lock can panic")
    }

    fn uptime(&self) -> Duration {
        self.now().since(Timestamp::UNIX_EPOCH)
    }

    fn is_real(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_date_is_always_31_characters() {
        for micros in [0, 1_700_000_000_000_000, 4_102_444_800_000_000] {
            assert_eq!(Timestamp::from_micros(micros).to_rfc5322().len(), 31);
        }
        assert_eq!(
            Timestamp::UNIX_EPOCH.to_rfc5322(),
            "Thu, 01 Jan 1970 00:00:00 +0000"
        );
    }

    #[test]
    fn spans_before_an_instant_are_zero() {
        let early = Timestamp::from_micros(1);
        assert_eq!(early.since(Timestamp::from_micros(9)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_micros(9).since(early),
            Duration::from_micros(8)
        );
    }

    /// A machine with two clocks that a test moves apart.
    struct TwoClocks {
        wall: i64,
        uptime: u64,
    }

    impl Clock for TwoClocks {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.wall * 1_000_000)
        }

        fn uptime(&self) -> Duration {
            Duration::from_secs(self.uptime)
        }
    }

    #[test]
    fn a_deadline_is_over_by_the_clock_that_moved_further() {
        let clock = |wall, uptime| TwoClocks { wall, uptime };
        let deadline = Deadline::after(&clock(1000, 50), Duration::from_mins(1));
        assert!(!deadline.is_over(&clock(1059, 109)));
        // the machine slept, and its wall clock was set back
        assert!(deadline.is_over(&clock(900, 110)));
        // it goes on from a snapshot
        assert!(deadline.is_over(&clock(1060, 51)));
    }

    #[test]
    fn the_uptime_of_the_system_moves_forward() {
        let before = SystemClock.uptime();
        assert!(before > Duration::ZERO);
        assert!(SystemClock.uptime() >= before);
    }
}
