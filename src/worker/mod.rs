//! Background work: loops without rules.
