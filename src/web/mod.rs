//! HTTP: pages, forms and the API, without rules.

mod accept;
pub mod body;
pub mod client;
mod connections;
pub mod error;
pub mod form;
pub mod security;
pub mod server;
