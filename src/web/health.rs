//! Whether this process lives, and whether it can do its work.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Web;
use crate::deliveries::relays::{self, RelayRow};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// Answers as long as the process does, and asks nobody else.
async fn healthz() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

/// 200 while the database answers, else 503 with what is missing. A relay that cannot be used is named and does not make
/// it unready: sign-ups and goodbyes go on without it.
async fn readyz(State(web): State<Web>) -> impl IntoResponse {
    let relays = web.app.config.smtp.relays();
    let names: Vec<_> = relays.into_iter().map(|relay| relay.name).collect();
    // any read of ours tells whether the database is there and has our tables
    let (status, words) = match relays::standing(&web.app.db, &names).await {
        Ok(rows) => {
            let troubles = rows.iter().filter_map(RelayRow::trouble);
            (
                StatusCode::OK,
                troubles.fold("ok\n".to_owned(), |words, trouble| words + &trouble + "\n"),
            )
        }
        Err(error) => {
            tracing::warn!(error = %error, "Not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "database\n".to_owned())
        }
    };
    (status, [(CACHE_CONTROL, "no-store")], words)
}
