//! What a handler answers when it cannot do what was asked.
//!
//! A handler returns an [`AppError`]; `request::surround` turns it into a page or into
//! `application/problem+json` (RFC 9457), by what the client asked for. An error of ours is logged there, once, with
//! its causes; the client sees a request id and nothing else.

use std::time::Duration;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Any error behind an answer of ours.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not served: one variant for each thing the client can do about it.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing stands at this address.
    #[error("not found")]
    NotFound,
    /// The address knows other methods only.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The request is not what its type says.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The content type is none that is read here.
    #[error("unsupported content type")]
    UnsupportedType,
    /// The body has more than `limit` bytes.
    #[error("body over {limit} bytes")]
    TooLarge {
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("body too slow")]
    TooSlow,
    /// Fields that must be corrected.
    #[error("{} invalid fields", .0.len())]
    Invalid(Vec<FieldError>),
    /// The client's network used up what it is granted.
    #[error("too many requests")]
    TooMany {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// All clients together used up what is granted to them.
    #[error("everything granted is used up")]
    UsedUp {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Nothing can be stored or read at the moment; nothing was changed.
    #[error("unavailable")]
    Unavailable(#[source] Cause),
    /// A part of the service is not at work.
    #[error("not ready: {0}")]
    NotReady(&'static str),
    /// No API token, or none that is valid.
    #[error("unauthorized")]
    Unauthorized,
    /// The API token does not have this scope.
    #[error("scope {scope} is missing")]
    Forbidden {
        /// The scope that would do.
        scope: &'static str,
    },
    /// Another request, or the state of things, stands against this one.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A mistake of ours.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// One field that must be corrected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field as a JSON pointer (RFC 6901), such as `/email`.
    pub pointer: String,
    /// The key of the text that says what is wrong; stable, for programs.
    pub code: &'static str,
    /// The same in words, in the reader's language.
    pub message: String,
}

impl AppError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::UsedUp { .. } | Self::Unavailable(_) | Self::NotReady(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The name of this kind of error: the end of a problem's `type`, and the middle of its texts' keys.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Malformed(_) => "malformed",
            Self::UnsupportedType => "unsupported-type",
            Self::TooLarge { .. } => "too-large",
            Self::TooSlow => "too-slow",
            Self::Invalid(_) => "invalid",
            Self::TooMany { .. } => "too-many",
            Self::UsedUp { .. } => "used-up",
            Self::Unavailable(_) => "unavailable",
            Self::NotReady(_) => "not-ready",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Conflict(_) => "conflict",
            Self::Internal(_) => "internal",
        }
    }

    /// What a program may be told beyond the kind; nothing about us.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed(what) | Self::NotReady(what) => Some((*what).to_owned()),
            Self::TooLarge { limit } => Some(format!("The body may have {limit} bytes.")),
            Self::Forbidden { scope } => Some(format!("The token needs the scope {scope}.")),
            Self::Conflict(what) => Some(what.clone()),
            Self::NotFound
            | Self::MethodNotAllowed
            | Self::UnsupportedType
            | Self::TooSlow
            | Self::Invalid(_)
            | Self::TooMany { .. }
            | Self::UsedUp { .. }
            | Self::Unavailable(_)
            | Self::Unauthorized
            | Self::Internal(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after } | Self::UsedUp { retry_after } => Some(*retry_after),
            Self::Unavailable(_) => Some(Duration::from_secs(30)),
            _ => None,
        }
    }
}

/// Every kind of error, for the pages that explain them.
pub(super) const KINDS: [&str; 15] = [
    "not-found",
    "method-not-allowed",
    "malformed",
    "unsupported-type",
    "too-large",
    "too-slow",
    "invalid",
    "too-many",
    "used-up",
    "unavailable",
    "not-ready",
    "unauthorized",
    "forbidden",
    "conflict",
    "internal",
];

impl From<sqlx::Error> for AppError {
    /// A database that is away, full or busy will be back; anything else is a mistake of ours.
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Database(_) => Self::Unavailable(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

impl From<super::form::FormError> for AppError {
    fn from(error: super::form::FormError) -> Self {
        match error {
            super::form::FormError::UnsupportedType => Self::UnsupportedType,
            super::form::FormError::Malformed(what) => Self::Malformed(what),
        }
    }
}

/// An error on its way out, for `request::surround` to put into words.
#[derive(Clone)]
pub(super) struct Unpresented(pub(super) std::sync::Arc<AppError>);

/// Rounded up: who comes back when told is not too early.
fn whole_seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        if let Some(span) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(span)));
        }
        if matches!(self, Self::Unauthorized) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
            .extensions_mut()
            .insert(Unpresented(std::sync::Arc::new(self)));
        response
    }
}
