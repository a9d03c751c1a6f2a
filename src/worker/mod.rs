//! Background work: loops without rules.

pub mod scheduler;
