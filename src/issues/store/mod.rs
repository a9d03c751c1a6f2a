//! All SQL about issues: one file for the issue's own row, its articles, its readers, and what prepare writes.

pub mod articles;
pub mod issues;
pub mod prepared;
pub mod readers;
