//! The key ring, and every token that stands in a link or a header.
