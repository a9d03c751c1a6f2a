//! `POST /api/v1/newsletters/{slug}/issues`: an issue now.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::articles::parse;
use super::auth::{self, unavailable};
use super::{BODY_BYTES, repeat};
use crate::accounts::Scope;
use crate::app::App;
use crate::feeds::refresh_newsletter::{BEFORE_ISSUE, Unread, catch_up};
use crate::id::{FeedId, IssueId};
use crate::issues::compose::{self, ComposeError, Created};
use crate::issues::manual::ManualIssue;
use crate::newsletters::{Cadence, Newsletter};
use crate::web::Web;
use crate::web::body;
use crate::web::error::AppError;

/// An issue to make.
#[derive(Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PostIssue {
    /// The cadences it serves; the newsletter's default, when none is named.
    #[schema(value_type = Vec<String>)]
    cadences: Vec<Cadence>,
    /// The subject; else the first headlines.
    subject: Option<String>,
    /// Words at the top; blank lines separate paragraphs.
    intro: Option<String>,
    /// Whether it goes to the readers; else it is composed and waits for `paperround issue release`.
    send: bool,
}

/// What was made.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct PostedIssue {
    /// The issue; empty when there is nothing new for anyone.
    #[schema(value_type = Option<String>, format = Uuid)]
    id: Option<IssueId>,
    /// `scheduled`: the worker composes it now; `nothing_new`: there is none.
    state: &'static str,
    /// Whether it goes to the readers by itself.
    send: bool,
    /// Feeds that could not be read now: it goes without what is new there.
    feeds_not_read: Vec<FeedNotRead>,
}

/// A feed that an issue goes without.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct FeedNotRead {
    /// The feed.
    #[schema(value_type = String, format = Uuid)]
    id: FeedId,
    /// Why.
    reason: String,
}

/// Compose an issue, and send it
///
/// The newsletter's feeds are read first, for 20 seconds and half of `server.request_timeout` at most.
///
/// Scope: `issues:write`; with `"send": true` `issues:send` too, and an `Idempotency-Key`.
#[utoipa::path(
    post,
    path = "/api/v1/newsletters/{slug}/issues",
    request_body = PostIssue,
    params(
        ("slug" = String, Path, description = "The newsletter's name in URLs"),
        ("Idempotency-Key" = Option<String>, Header, description = "Required with `send`; a repeated request is answered again, not done again"),
    ),
    responses(
        (status = 202, description = "It is being composed", body = PostedIssue),
        (status = 200, description = "There is nothing new for anyone", body = PostedIssue),
        (status = 400, description = "`send` without an Idempotency-Key"),
        (status = 401, description = "No valid token"),
        (status = 403, description = "The token has not the scope"),
        (status = 404, description = "No such newsletter"),
        (status = 409, description = "The newsletter has no postal address, or the first request is still at work"),
        (status = 422, description = "Fields must be corrected, or the key was used for another request"),
    ),
    security(("token" = [])),
)]
pub(super) async fn post(
    State(web): State<Web>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    let token = auth::token(&web, &headers).await?;
    let bytes = body::read(body, BODY_BYTES).await?;
    let asked: PostIssue = if bytes.is_empty() {
        PostIssue::default()
    } else {
        parse(&bytes)?
    };
    let newsletter = auth::newsletter(&web, &token, &slug, Scope::IssuesWrite).await?;
    if asked.send {
        auth::newsletter(&web, &token, &slug, Scope::IssuesSend).await?;
        if repeat::key(&headers)?.is_none() {
            return Err(AppError::Malformed(
                "sending needs an Idempotency-Key, so that a repeated request sends once",
            ));
        }
    }
    let request = [slug.as_bytes(), b"\n", &bytes].concat();
    repeat::once(&web, &token, &headers, &request, async || {
        make(&web.app, &newsletter, asked).await
    })
    .await
}

async fn make(
    app: &App,
    newsletter: &Newsletter,
    asked: PostIssue,
) -> Result<(StatusCode, String), AppError> {
    let send = asked.send;
    let manual = ManualIssue {
        cadences: asked.cadences,
        subject: asked.subject,
        intro: asked.intro,
    };
    // the answer must still come in time
    let within = BEFORE_ISSUE.min(app.config.server.request_timeout / 2);
    let unread = catch_up(app, newsletter.id, within)
        .await
        .map_err(unavailable)?;
    let feeds_not_read = unread.into_iter().map(FeedNotRead::from).collect();
    let created = compose::create_manual(app, manual.issue(app, newsletter, send))
        .await
        .map_err(refused)?;
    let (status, posted) = match created {
        Created::Issue(id) => (
            StatusCode::ACCEPTED,
            PostedIssue {
                id: Some(id),
                state: "scheduled",
                send,
                feeds_not_read,
            },
        ),
        Created::NothingNew => (
            StatusCode::OK,
            PostedIssue {
                id: None,
                state: "nothing_new",
                send,
                feeds_not_read,
            },
        ),
    };
    let body = serde_json::to_string(&posted).map_err(|error| AppError::Internal(error.into()))?;
    Ok((status, body))
}

impl From<Unread> for FeedNotRead {
    fn from(feed: Unread) -> Self {
        Self {
            id: feed.id,
            reason: feed.reason,
        }
    }
}

fn refused(error: ComposeError) -> AppError {
    match error {
        ComposeError::NoPostalAddress(_) | ComposeError::Settled => {
            AppError::Conflict(error.to_string())
        }
        ComposeError::NoNewsletter => AppError::NotFound,
        ComposeError::Db(error) => unavailable(error),
    }
}
