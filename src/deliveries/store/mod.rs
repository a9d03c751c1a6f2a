//! All SQL about deliveries. Each state stands in the text as a literal: partial indexes are found by it.

use std::time::Duration;

pub(super) mod brakes;
pub(super) mod claim;
pub(super) mod enqueue;
pub(super) mod group;
pub(super) mod mark;
pub(super) mod operate;
pub(super) mod pace;
pub(super) mod read;
pub(super) mod relays;
pub(super) mod revert;
pub(super) mod sweep;
pub(super) mod workers;

/// A span as statements take it.
fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
