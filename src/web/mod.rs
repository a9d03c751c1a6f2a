//! HTTP: pages, forms and the API, without rules.
//!
//! [`router`] is the map of all addresses. Around every request stand, from the outside: its id, client, language
//! and log line (`request`), the headers that browsers obey (`security`), its deadline, and a net for panics.

mod accept;
mod assets;
pub mod body;
pub mod client;
mod connections;
pub mod error;
pub mod form;
mod health;
pub mod pages;
pub mod public;
mod redact;
mod request;
pub mod security;
pub mod server;

pub use request::{Client, Locale};

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;

use error::{AppError, KINDS};
use ipnet::IpNet;
use pages::Pages;
use request::{ErrorPage, Surroundings, surround};
use security::Https;

use crate::id::Ids;

/// What the web role is made of.
#[derive(Clone)]
pub struct Web {
    /// The compiled pages.
    pub pages: Arc<Pages>,
    /// Where request ids come from.
    pub ids: Ids,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The path of the base URL: empty, or such as `/news`.
    pub path_prefix: String,
    /// Whether readers come by https.
    pub is_https: bool,
    /// For a whole request.
    pub request_timeout: Duration,
}

/// Every address of the service, with what surrounds every request.
pub fn router(web: &Web) -> Router {
    let below_prefix = Router::new()
        .route("/problems/{kind}", get(problem_kind))
        .merge(assets::routes())
        .with_state(web.pages.clone());

    let mut router = Router::new().route("/healthz", get(health::healthz));
    router = if web.path_prefix.is_empty() {
        router.merge(below_prefix)
    } else {
        router.nest(&web.path_prefix, below_prefix)
    };
    surrounded(
        router
            .fallback(async || AppError::NotFound)
            .method_not_allowed_fallback(async || AppError::MethodNotAllowed),
        web,
    )
}

fn surrounded(router: Router, web: &Web) -> Router {
    let surroundings = Surroundings {
        pages: web.pages.clone(),
        ids: web.ids.clone(),
        trusted_proxies: web.trusted_proxies.clone(),
    };
    router
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(middleware::from_fn_with_state(web.request_timeout, in_time))
        .layer(middleware::from_fn_with_state(
            Https(web.is_https),
            security::every_answer,
        ))
        .layer(middleware::from_fn_with_state(surroundings, surround))
}

/// A write that has begun is not undone by this: it runs in a task of its own.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|late| AppError::Unavailable(late.into()).into_response())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that the layer asks for"
)]
fn after_panic(payload: Box<dyn Any + Send>) -> Response {
    let words = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no words");
    AppError::Internal(format!("a handler panicked: {words}").into()).into_response()
}

/// Where the `type` of a problem leads: what this kind of error means.
async fn problem_kind(
    State(pages): State<Arc<Pages>>,
    Extension(Locale(locale)): Extension<Locale>,
    Path(kind): Path<String>,
) -> Result<Response, AppError> {
    if !KINDS.contains(&kind.as_str()) {
        return Err(AppError::NotFound);
    }
    let page = ErrorPage::of_kind(&kind, &locale, &pages);
    pages.answer(StatusCode::OK, &locale, None, &page)
}
