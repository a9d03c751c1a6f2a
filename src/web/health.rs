//! Whether this process lives, and whether it can do its work.

use axum::Router;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Web;
use super::error::AppError;
use crate::newsletters;
use crate::worker::Pulse;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// Answers as long as the process does, and asks nobody else.
async fn healthz() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

/// 200 while the database answers and the worker of this process, if it has one, lives; else 503 with what is missing.
async fn readyz(State(web): State<Web>) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store")];
    match trouble(&web).await {
        None => (no_store, "ok\n").into_response(),
        Some(reason) => (no_store, AppError::NotReady(reason)).into_response(),
    }
}

async fn trouble(web: &Web) -> Option<&'static str> {
    // Any read of ours tells whether the database is there and has our tables.
    if let Err(error) = newsletters::store::by_slug(&web.app.db, "readyz").await {
        tracing::warn!(error = %error, "Not ready: the database does not answer");
        return Some("The database does not answer.");
    }
    web.worker.as_ref().and_then(Pulse::trouble)
}
