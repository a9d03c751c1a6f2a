//! The seed of a random test: fresh each time and printed, or the one that is to be replayed.

use std::hash::{BuildHasher as _, RandomState};

/// The number in the environment variable `name`, if there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "who runs a test tells it what to repeat by the environment"
)]
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// `PAPERROUND_TEST_SEED`, else a fresh one. It is printed, and cargo shows it when the test fails.
pub(crate) fn seed() -> u64 {
    let seed = number("PAPERROUND_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("seed {seed}: PAPERROUND_TEST_SEED={seed} repeats this run");
    seed
}

/// Whether the long run is asked for: `PAPERROUND_TEST_LONG`, which `scripts/test --long` sets.
pub(crate) fn is_long() -> bool {
    number("PAPERROUND_TEST_LONG").is_some()
}
