//! One database error for several writes: those that shared the `COMMIT` that failed.

use std::borrow::Cow;
use std::error::Error as StdError;

use sqlx::error::{DatabaseError, ErrorKind};

/// What SQLite said about a transaction that several writes shared. Each of them is answered with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct SharedError {
    message: String,
    code: Option<String>,
}

impl SharedError {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self {
                message: error.message().to_owned(),
                code: error.code().map(Cow::into_owned),
            },
            other => Self {
                message: other.to_string(),
                code: None,
            },
        }
    }

    #[cfg(test)]
    pub(super) fn with_code(code: &str) -> Self {
        Self {
            message: String::new(),
            code: Some(code.to_owned()),
        }
    }

    /// Another write of the group met an error at which SQLite undid them all.
    pub(super) fn undone() -> Self {
        Self {
            message:
                "the transaction that this write shared with others was undone: is the disk full?"
                    .to_owned(),
            code: None,
        }
    }
}

impl DatabaseError for SharedError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.code.as_deref().map(Cow::Borrowed)
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
