//! Whether this process lives, and whether it can do its work.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Web;
use crate::newsletters;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// Answers as long as the process does, and asks nobody else.
async fn healthz() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

/// 200 while the database answers, else 503 with what is missing.
async fn readyz(State(web): State<Web>) -> impl IntoResponse {
    // Any read of ours tells whether the database is there and has our tables.
    let (status, words) = match newsletters::store::by_slug(&web.app.db, "readyz").await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::warn!(error = %error, "Not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "database\n")
        }
    };
    (status, [(CACHE_CONTROL, "no-store")], words)
}
