//! The lasting decision not to mail an address.

pub mod journal;
