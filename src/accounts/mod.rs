//! API tokens: who may do what by the API, and that a repeated request is done once.

pub mod idempotency;
mod store;
pub mod tokens;

use crate::text_enum;

text_enum! {
    /// What a token may do.
    pub enum Scope {
        /// Post articles.
        ArticlesWrite = "articles:write",
        /// Make issues.
        IssuesWrite = "issues:write",
        /// Send issues to readers.
        IssuesSend = "issues:send",
    }
}
