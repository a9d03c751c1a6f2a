//! The one integration test binary: each `mod` says what belongs there.

mod support;
