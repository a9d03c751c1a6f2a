//! The one integration test binary: each `mod` says what belongs there.

mod support;

/// The dialogue with a relay, over real sockets: what each fault does to the message and to the relay.
mod smtp;
