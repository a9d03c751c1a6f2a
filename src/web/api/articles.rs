//! `POST /api/v1/articles`: for sites without a feed, and for "publish now".

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::auth::{self, unavailable};
use super::{BODY_BYTES, repeat};
use crate::accounts::Scope;
use crate::feeds::publish::{PostedArticle, PublishError, Published, publish};
use crate::web::Web;
use crate::web::body;
use crate::web::error::{AppError, FieldError};

/// Articles to post.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostArticles {
    /// The newsletter's name in URLs.
    newsletter: String,
    /// At most 100. All are taken or none.
    articles: Vec<PostedArticle>,
}

/// What became of them, in their order.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct PostedArticles {
    articles: Vec<Published>,
}

/// Post articles
///
/// New ones are released at once. Posting an article again with the same `external_id` edits it; posting it unchanged
/// does nothing. Scope: `articles:write`.
#[utoipa::path(
    post,
    path = "/api/v1/articles",
    request_body = PostArticles,
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request is answered again, not done again")),
    responses(
        (status = 200, description = "All were taken", body = PostedArticles),
        (status = 401, description = "No valid token"),
        (status = 403, description = "The token has not the scope"),
        (status = 404, description = "No such newsletter"),
        (status = 422, description = "Fields must be corrected; nothing was taken"),
    ),
    security(("token" = [])),
)]
pub(super) async fn post(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    let token = auth::token(&web, &headers).await?;
    let bytes = body::read(body, BODY_BYTES).await?;
    let asked: PostArticles = parse(&bytes)?;
    let newsletter =
        auth::newsletter(&web, &token, &asked.newsletter, Scope::ArticlesWrite).await?;
    repeat::once(&web, &token, &headers, &bytes, async || {
        let articles = publish(&web.app, newsletter.id, asked.articles)
            .await
            .map_err(refused)?;
        let body = serde_json::to_string(&PostedArticles { articles });
        Ok((
            StatusCode::OK,
            body.map_err(|error| AppError::Internal(error.into()))?,
        ))
    })
    .await
}

/// The JSON in a body, or what is wrong with it.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, AppError> {
    serde_json::from_slice(bytes).map_err(|error| {
        AppError::Invalid(vec![FieldError {
            pointer: String::new(),
            code: "json",
            message: format!("The body cannot be read as JSON of this kind: {error}"),
        }])
    })
}

fn refused(error: PublishError) -> AppError {
    match error {
        PublishError::NoNewsletter => AppError::NotFound,
        PublishError::TooMany(_) => AppError::Invalid(vec![FieldError {
            pointer: "/articles".to_owned(),
            code: "too-many",
            message: error.to_string(),
        }]),
        PublishError::Faults(faults) => AppError::Invalid(
            faults
                .into_iter()
                .map(|fault| FieldError {
                    pointer: format!("/articles/{}/{}", fault.index, fault.field),
                    code: "unusable",
                    message: fault.problem,
                })
                .collect(),
        ),
        PublishError::Db(error) => unavailable(error),
    }
}
