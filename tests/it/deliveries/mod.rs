mod desk;
mod press;
mod senders;

/// What operators, chunks and notices do after a reader has left.
mod after_goodbye;
/// What is tried or sent again, and what is left.
mod again;
/// What makes an issue stop by itself.
mod brakes;
/// What stops or ends one issue, reader or worker, beside others that go on.
mod bystanders;
/// Cancelled issues: what goes back, and what does not.
mod cancelling;
/// Claims: what is due, in its order.
mod claims;
/// Clocks that run on within a message, and clocks that differ.
mod clocks;
/// Several relays: whose turn it is, and what is said of those that fail.
mod failover;
/// How long leases, marks and silent workers last, and what is fenced by them.
mod fences;
/// Readers who leave at each state of their delivery.
mod goodbye;
/// Replies that come when their row has become something else.
mod late;
/// Several workers on one database: whose row is whose, until when, and what becomes of lost answers.
mod leases;
/// The ledger: marks one by one, and records that come too late.
mod ledger;
/// Mails one by one, a page at a time.
mod listing;
/// Random histories against the promises.
mod machine;
/// Mails as they are made: what fails then, and their envelope senders.
mod making;
/// More mails than one transaction takes.
mod many;
/// Marks that the database refuses.
mod marks;
/// Notices: decided at the claim, checked at the mark, first in line.
mod notices;
/// Whether something may still become of a row, which is stored beside its state.
mod open;
/// Pause, resume, cancel, retry, decide.
mod operate;
/// Relays that may not be used faster than they allow.
mod pace;
/// Long pauses, which let nothing grow old.
mod pausing;
/// Workers that die, sleep or are stopped, and replies that come late.
mod recovery;
/// What a worker does by itself while it runs, and when it stops or begins anew.
mod running;
/// What replies and losses do to a row.
mod sending;
/// When mails came to where they stand.
mod settled;
/// Mails that are signed on threads of their own.
mod signing;
/// How relays stand, as it is written down for people.
mod standings;
/// What a stop waits for, and what goes on until then.
mod stopping;
/// What is written, counted and looked at at one time.
mod together;
/// What goes on while the database refuses something.
mod troubled;
/// Marks and signs of life beside acts that have not committed yet.
mod uncommitted;

pub(crate) use press::{Edition, Press, Reader};
pub(crate) use senders::{To, leases};
