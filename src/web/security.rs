//! What every answer tells the browser to refuse.
//!
//! Reader pages run no script, load nothing foreign and set no cookie. Pages behind a token besides leave no trace
//! of it: no referrer, no copy in a cache, no search index.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::Response;

const READER_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const API_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

static CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
static PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Whether the base URL is https, so that browsers may be told to keep to it.
#[derive(Debug, Clone, Copy)]
pub struct Https(pub bool);

/// The headers of every answer; what an inner layer has set stays.
pub(super) async fn every_answer(
    State(Https(is_https)): State<Https>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set_if_absent(headers, &CONTENT_SECURITY_POLICY, READER_POLICY);
    set_if_absent(
        headers,
        &REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CROSS_ORIGIN_OPENER_POLICY.clone(),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(PERMISSIONS_POLICY.clone(), HeaderValue::from_static(""));
    if is_https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

/// Pages whose address holds a token.
pub(super) async fn token_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_ROBOTS_TAG.clone(), HeaderValue::from_static("noindex"));
    response
}

/// Pages that differ by who asks, such as the answer to a form.
pub(super) async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Answers of the API: data only.
pub(super) async fn api(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, API_POLICY);
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

fn set_if_absent(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if !headers.contains_key(name) {
        headers.insert(name.clone(), value);
    }
}
