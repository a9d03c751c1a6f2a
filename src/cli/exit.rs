//! What the exit code says, and how an error gets its code.

use std::process::ExitCode;

use crate::app::StartError;
use crate::config::ConfigError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// What was asked for is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the settings are wrong.
    Usage = 2,
    /// The state of things forbids it, or nobody said yes.
    Refused = 4,
    /// The database is busy or away: the same command may work later.
    Temporary = 75,
    /// A second signal ended it before its time.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The command line asks for something that does not exist or does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// The state of things forbids it, or nobody said yes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// The code of an error, by the first cause that has one.
pub(super) fn code_of(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if cause.is::<UsageError>() || cause.is::<ConfigError>() {
            return Code::Usage;
        }
        if cause.is::<Refused>() {
            return Code::Refused;
        }
        if matches!(
            cause.downcast_ref(),
            Some(StartError::Secrets(_) | StartError::Folder { .. })
        ) {
            return Code::Usage;
        }
        if cause.downcast_ref().is_some_and(is_temporary) {
            return Code::Temporary;
        }
    }
    Code::Failed
}

/// Whether the same statement may work later: the file is locked, the server is away or saw a conflict.
fn is_temporary(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::NotFound,
        sqlx::Error::Database(error) => {
            // SQLITE_BUSY and SQLITE_LOCKED with their extended codes; PostgreSQL's serialization failure,
            // deadlock, too many connections, shutting down and starting up.
            let sqlite = |code: &str| {
                code.parse::<u32>()
                    .is_ok_and(|code| matches!(code & 0xFF, 5 | 6) && code < 4000)
            };
            let postgres = |code: &str| {
                matches!(
                    code,
                    "40001" | "40P01" | "53300" | "57P01" | "57P02" | "57P03"
                )
            };
            error.code().is_some_and(|code| {
                if code.len() == 5 {
                    postgres(&code)
                } else {
                    sqlite(&code)
                }
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_its_context() {
        let refused = Err::<(), _>(Refused("no".to_owned()))
            .context("cannot send")
            .unwrap_err();
        assert_eq!(code_of(&refused), Code::Refused);
        let busy = anyhow::Error::from(sqlx::Error::PoolTimedOut).context("cannot add");
        assert_eq!(code_of(&busy), Code::Temporary);
        let missing = anyhow::Error::from(sqlx::Error::RowNotFound);
        assert_eq!(code_of(&missing), Code::Failed);
    }
}
