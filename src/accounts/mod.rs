//! API tokens.
