//! The API, version 1: data in, data out, errors as RFC 9457 describes.

mod articles;
mod auth;
mod issues;
mod repeat;

use axum::routing::get;
use axum::{Json, Router, middleware};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Web, security};

/// The most that is read of a request, in bytes.
const BODY_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn routes() -> Router<Web> {
    let (router, description) = described();
    router
        .route("/api/openapi.json", get(async move || Json(description)))
        .layer(middleware::from_fn(security::api))
}

/// What the API can do, as OpenAPI 3.1 says it.
pub fn description() -> OpenApi {
    described().1
}

fn described() -> (Router<Web>, OpenApi) {
    let (router, mut description) = OpenApiRouter::new()
        .routes(routes!(articles::post))
        .routes(routes!(issues::post))
        .split_for_parts();
    "paperround".clone_into(&mut description.info.title);
    "1".clone_into(&mut description.info.version);
    description.info.description = Some(
        "Post articles and send issues. Tokens are made by `paperround token create`.".to_owned(),
    );
    description.info.license = None;
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("token", bearer);
    (router, description)
}
