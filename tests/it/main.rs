//! The one integration test binary: each `mod` says what belongs there.

/// The guarded client and the parser against a hostile site.
mod fetch;
mod support;
