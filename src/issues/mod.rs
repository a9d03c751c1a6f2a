//! Issues: what is due to whom, composing, rendering, preparing.

pub mod due;
