//! Newsletters, their topics and schedules.
//!
//! A newsletter is a publication readers subscribe to. Each has the built-in topic `all`, which every
//! article has, and at least one schedule that says when its issues are due.

mod newsletter;
mod plan;
mod slug;
#[macro_use]
mod text_enum;

pub mod add;
pub mod cadence;
pub mod days;
pub mod schedule;
pub mod slots;
pub mod store;
pub mod upcoming;

pub use cadence::{Cadence, Cadences};
pub use days::Days;
pub use newsletter::{Newsletter, Topic};
pub use plan::{Mode, Schedule};
pub use schedule::{Calendar, Missed, Slot};
pub use slug::{Slug, SlugError};
