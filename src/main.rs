//! The `paperround` program.

fn main() {}
