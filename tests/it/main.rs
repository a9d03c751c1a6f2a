//! The one integration test binary: each `mod` says what belongs there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::too_many_lines,
    reason = "a test tells one story from beginning to end"
)]

/// The program as an operator runs it: data, words and exit codes.
mod cli;
/// The link in the confirmation mail: one press, one subscription, however often.
mod confirm;

/// API tokens and idempotency keys: how long they are good, for whom, and for what.
mod accounts;
/// The API: who may, what is done once.
mod api;
/// The pages in Chromium: without scripts, on small and large screens, by keyboard.
#[cfg(feature = "test-browser")]
mod browser;
/// The contract of `Db::write` and of the types that both engines store.
mod db;
/// What the mail about a sign-up becomes, by how it stands with the address.
mod decided;
/// From a queued row to a recorded outcome, over real sockets to the scripted server.
mod deliveries;
/// The whole main job by one command.
mod demo;
/// What may go wrong, row by row: kills, relays, disks. Its table says where each row is tested.
mod faults;
/// From a site's feed to numbered articles, each once.
mod feeds;
/// The guarded client and the parser against a hostile site.
mod fetch;
/// What a form may bring, what is recorded of where it stood, and who is woken by it.
mod forms;
/// What every issue by hand begins with: the feeds are read once more.
mod fresh;
/// The accept loop and what clients may not do to it: slow, many, forged.
mod http;
/// Bringing readers along, and writing them out again.
mod import;
/// Sign-ups that come at once: stored together, each with its own answer.
mod intake;
/// Composing, preparing, releasing and previewing issues.
mod issues;
/// What must never stand in a log, at its most talkative.
mod leaks;
/// What the mails about a sign-up say: until when, how often, and from when on.
mod letters;
/// How often one may ask: whose asking counts together, and when it is right to come back.
mod limits;
/// The two schemas are one.
mod migrations;
/// The delivery protocol in every order of events: a model, its promises, and mutants that break them.
mod model;
/// An issue through Debian's Postfix, Exim and OpenSMTPD: each mail once, by their queues' own record.
#[cfg(feature = "test-mtas")]
mod mtas;
/// Making newsletters, topics and schedules.
mod newsletters;
/// What an operator sees and decides on the command line.
mod operator;
/// What every page is made of, and how errors look.
mod pages;
/// What `/readyz` says, and what the start does.
mod ready;
/// Sending through SMTP servers that others wrote.
#[cfg(feature = "test-receivers")]
mod receivers;
/// A database that was put back or copied: paused, and nobody who left is mailed.
mod restore;
/// Readers who come back: what a fresh confirmation begins anew, and what it lifts.
mod returning;
/// From a site's feed to the mails, driven by schedules and a clock.
mod scheduled;
/// The form: the same answer for everybody, and what becomes of its mail.
mod signup;
/// Due slots: each is settled once, visibly.
mod slots;
/// The dialogue with a relay, over real sockets: what each fault does to the message and to the relay.
mod smtp;
mod support;
/// What the compiler does not hold: where SQL may stand, file sizes, documents that name what exists.
mod tidy;
/// One-click and the page: leaving always works, at once.
mod unsubscribe;
/// Several worker processes on one PostgreSQL: killed, stopped, cut off from a database that restarts.
#[cfg(feature = "test-postgres")]
mod workers;
