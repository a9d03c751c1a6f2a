//! Background work: loops without rules.

pub mod sender;

mod queue;
mod seat;
