//! What the tests share.

pub(crate) mod feed_server;
