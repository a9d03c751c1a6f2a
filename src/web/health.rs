//! Whether this process lives, and whether it can do its work.

use axum::Router;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Web;
use super::error::AppError;
use crate::deliveries::relays::{self, RelayRow};
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
/// A relay that cannot be used is named and does not make it unready: sign-ups and goodbyes go on without it.
async fn readyz(State(web): State<Web>) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store")];
    match ready(&web).await {
        Ok(words) => (no_store, words).into_response(),
        Err(reason) => (no_store, AppError::NotReady(reason)).into_response(),
    }
}

async fn ready(web: &Web) -> Result<String, &'static str> {
    let relays = web.app.config.smtp.relays();
    let names: Vec<_> = relays.into_iter().map(|relay| relay.name).collect();
    // any read of ours tells whether the database is there and has our tables
    let rows = relays::standing(&web.app.db, &names)
        .await
        .map_err(|error| {
            tracing::warn!(error = %error, "Not ready: the database does not answer");
            "The database does not answer."
        })?;
    if let Some(trouble) = web.worker.as_ref().and_then(Pulse::trouble) {
        return Err(trouble);
    }
    let troubles = rows.iter().filter_map(RelayRow::trouble);
    Ok(troubles.fold("ok\n".to_owned(), |words, trouble| words + &trouble + "\n"))
}
