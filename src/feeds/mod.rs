//! Feeds and articles: fetch, parse, identify, sanitise, release.
//!
//! Everything that comes from a feed is hostile until parsed. A date never decides what is new: an article is known by
//! its keys, and is numbered when it is released.

mod html;
mod http_headers;
pub(crate) mod text;

pub mod discover;
pub mod draft;
pub mod entry;
pub mod fetch;
pub mod guard;
pub mod identity;
pub mod image;
pub mod parse;
pub mod sanitize;
mod xml_scan;
