//! The one integration test binary: each `mod` says what belongs there.

/// The program as an operator runs it: data, words and exit codes.
mod cli;
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// The contract of `Db::write` and of the types that both engines store.
mod db;
/// From a site's feed to numbered articles, each once.
mod feeds;
/// The guarded client and the parser against a hostile site.
mod fetch;
/// The two schemas are one.
mod migrations;
/// Making newsletters, topics and schedules.
mod newsletters;
/// Due slots: each is settled once, visibly.
mod slots;
/// The dialogue with a relay, over real sockets: what each fault does to the message and to the relay.
mod smtp;
mod support;
/// What the compiler does not hold: where SQL may stand, file sizes, documents that name what exists.
mod tidy;
