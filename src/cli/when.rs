//! Instants for a person to read, in UTC.

use crate::clock::Timestamp;

/// To the minute.
pub(super) fn minute(at: Timestamp) -> String {
    in_utc(at, "%Y-%m-%d %H:%M UTC")
}

/// To the second.
pub(super) fn second(at: Timestamp) -> String {
    in_utc(at, "%Y-%m-%d %H:%M:%S UTC")
}

fn in_utc(at: Timestamp, format: &str) -> String {
    at.in_zone(jiff::tz::TimeZone::UTC)
        .strftime(format)
        .to_string()
}
