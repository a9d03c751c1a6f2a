//! The command line, without rules.
