//! Logs: how they start, and what must never stand in them.
