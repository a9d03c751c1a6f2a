//! Newsletters, their topics and schedules.
