//! Handing mail to a relay.
//!
//! The room knows SMTP (RFC 5321) and nothing of the database. [`relay_config`] says where the relay is; [`connection`]
//! is one dialogue, over any stream; [`outcome`] says, for each phase and each reply, who is to be punished, [`class`]
//! whom a refusal is about; [`relay`] keeps a hard cap on open connections; [`route`] knows whose turn it is where there
//! are several; [`outbox`] takes the relay's place where there is none. The sender sees them all as one [`channel`].
//!
//! Two calls hand over a message, because the record must stand between them: `envelope` ends when the relay has
//! answered 354 and nothing of the message is written; `transmit` writes it and hears the answer to the final dot.

pub mod allowance;
pub mod channel;
pub mod class;
pub mod connection;
pub mod deadlines;
pub mod doubts;
pub mod envelope;
pub mod health;
pub mod outbox;
pub mod outcome;
pub mod relay;
pub mod relay_config;
pub mod reply;
pub mod route;
pub mod wire;

mod auth;
mod capabilities;
mod dialogue;
mod input;
mod opening;
mod reuse;
pub mod tls;
