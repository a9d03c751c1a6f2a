//! Where the `type` of a problem leads: what each kind of error means.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use super::error::{AppError, KINDS};
use super::request::ErrorPage;
use super::segment::Segment;
use super::{Locale, Web};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/problems/{kind}", get(show))
}

async fn show(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(kind): Segment,
) -> Result<Response, AppError> {
    if !KINDS.contains(&kind.as_str()) {
        return Err(AppError::NotFound);
    }
    let page = ErrorPage::of_kind(&kind, &locale, &web.pages);
    web.pages.answer(StatusCode::OK, &locale, None, &page)
}
