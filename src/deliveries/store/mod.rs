//! All SQL about deliveries. Each state stands in the text as a literal: partial indexes are found by it.

pub(super) mod brakes;
pub(super) mod claim;
pub(super) mod enqueue;
pub(super) mod mark;
pub(super) mod operate;
pub(super) mod pace;
pub(super) mod read;
pub(super) mod relays;
pub(super) mod settle;
pub(super) mod sweep;
pub(super) mod workers;
