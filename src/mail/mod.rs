//! The bytes of a mail: headers, MIME, templates, slots.
//!
//! ```text
//! context + templates --> Rendered (subject, text, html) --> Message --> Encoded (bytes with slots) --> bytes
//!    once per variant                                       once per variant             once per reader
//! ```
//!
//! Nothing here knows the database, the time or a network: the same values give the same bytes, so a retry after a
//! crash sends the identical message.

pub mod clean;
pub mod context;
pub mod encode;
mod headers;
mod message;
mod quoted_printable;
#[cfg(test)]
pub(crate) mod samples;
pub mod template;
mod wrap;

pub use encode::{Encoded, Slots, SpliceError};
pub use message::{EncodeError, ListHeaders, Mailbox, Message};
pub use template::{MailKind, Rendered, Templates};
