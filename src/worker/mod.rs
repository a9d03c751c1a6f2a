//! Background work: loops without rules.

mod queue;
mod seat;

pub mod mailroom;
pub mod scheduler;
pub mod sender;
