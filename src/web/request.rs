//! What surrounds every request: its id, its client, its line in the access log, and the words for its error.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::Serialize;
use tracing::Instrument as _;
use uuid::Uuid;

use super::accept;
use super::client::{self, client_address};
use super::error::{AppError, FieldError, Unpresented};
use super::pages::{Page, Pages};
use super::redact::redacted_path;
use super::server::Peer;
use crate::config::BaseUrl;
use crate::id::Ids;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the outermost layer needs.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) pages: Arc<Pages>,
    pub(super) base_url: BaseUrl,
    pub(super) ids: Ids,
    pub(super) trusted_proxies: Arc<[IpNet]>,
}

/// The client's address, as far as it can be known. An extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// The language the client is answered in: one of those there are texts for. An extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale(pub String);

/// Gives the request its id, client and language, serves it, puts an error into words and logs the answer.
pub(super) async fn surround(
    State(surroundings): State<Surroundings>,
    mut request: Request,
    next: Next,
) -> Response {
    let started_at = tokio::time::Instant::now();
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.map_or(client::NO_PEER, |Peer(address)| address.ip());
    let client = client_address(peer, request.headers(), &surroundings.trusted_proxies);
    let id = surroundings.ids.next::<Uuid>().to_string();
    let locale = locale_of(request.headers(), &surroundings.pages);
    let asked = Asked {
        id,
        locale,
        wants_json: is_for_programs(request.uri().path()) || accept::wants_json(request.headers()),
    };
    request.extensions_mut().insert(Client(client));
    request
        .extensions_mut()
        .insert(Locale(asked.locale.clone()));

    let method = request.method().clone();
    let path = redacted_path(request.uri().path());
    let span = tracing::info_span!("request", request.id = %asked.id, http.method = %method, http.path = %path);
    async {
        let response = next.run(request).await;
        let mut response = present(response, &asked, &surroundings);
        if let Ok(id) = HeaderValue::from_str(&asked.id) {
            response.headers_mut().insert(X_REQUEST_ID.clone(), id);
        }
        log(&method, &path, response.status(), started_at.elapsed());
        response
    }
    .instrument(span)
    .await
}

/// What the client asked for, kept until the answer is made.
struct Asked {
    id: String,
    locale: String,
    wants_json: bool,
}

fn locale_of(headers: &HeaderMap, pages: &Pages) -> String {
    let known: Vec<&str> = pages.texts().languages().collect();
    let wanted = accept::languages(headers);
    let found = wanted
        .iter()
        .map(|wanted| pages.texts().language_for(wanted))
        .zip(&wanted)
        // A language we lack is answered as English; one further down the list may be better.
        .find(|(found, wanted)| {
            let primary = wanted.split(['-', '_']).next().unwrap_or_default();
            known.contains(found) && found.split('-').next() == Some(primary)
        });
    found.map_or_else(
        || pages.texts().language_for("").to_owned(),
        |(found, _)| found.to_owned(),
    )
}

fn is_for_programs(path: &str) -> bool {
    path == "/readyz" || path.split('/').any(|segment| segment == "api")
}

fn log(method: &Method, path: &str, status: StatusCode, took: std::time::Duration) {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        http.status = status.as_u16(),
        http.millis = millis,
        "{method} {path} {} in {millis} ms",
        status.as_u16()
    );
}

/// Puts an error into words; any other answer stays as it is.
fn present(mut response: Response, asked: &Asked, surroundings: &Surroundings) -> Response {
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept, accept-language"));
    let Some(Unpresented(error)) = response.extensions_mut().remove::<Unpresented>() else {
        return response;
    };
    log_failure(&error);
    let words = if asked.wants_json {
        problem(&error, asked, surroundings)
    } else {
        error_page(&error, asked, &surroundings.pages)
    };
    let (body_parts, body) = words.into_parts();
    let (mut parts, _) = response.into_parts();
    if let Some(content_type) = body_parts.headers.get(CONTENT_TYPE) {
        parts.headers.insert(CONTENT_TYPE, content_type.clone());
    }
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

/// Once, with every cause: this is the boundary.
fn log_failure(error: &AppError) {
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    match error {
        AppError::Internal(_) => tracing::error!(error = %chain, "Request failed: {chain}"),
        AppError::Unavailable(_) => tracing::warn!(error = %chain, "Request not served: {chain}"),
        _ => tracing::debug!(error = %chain, "Request refused: {chain}"),
    }
}

/// RFC 9457, the one shape of every error that a program sees.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    instance: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

fn problem(error: &AppError, asked: &Asked, surroundings: &Surroundings) -> Response {
    let text = |part: &str| {
        let key = format!("error-{}-{part}", error.kind());
        surroundings.pages.texts().get(&asked.locale, &key, &[])
    };
    let kind = format!("/problems/{}", error.kind());
    let problem = Problem {
        r#type: surroundings.base_url.join(&kind),
        title: text("title"),
        status: error.status().as_u16(),
        detail: error.detail().unwrap_or_else(|| text("text")),
        instance: format!("urn:uuid:{}", asked.id),
        errors: match error {
            AppError::Invalid(errors) => errors,
            _ => &[],
        },
    };
    let mut response = Json(problem).into_response();
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

/// The page of an error, or of a kind of error.
#[derive(Serialize)]
pub(super) struct ErrorPage {
    title: String,
    text: String,
    request_id: Option<String>,
    home_url: String,
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = "error.html";
}

impl ErrorPage {
    pub(super) fn of_kind(kind: &str, locale: &str, pages: &Pages) -> Self {
        let text = |part: &str| {
            let key = format!("error-{kind}-{part}");
            pages.texts().get(locale, &key, &[])
        };
        Self {
            title: text("title"),
            text: text("text"),
            request_id: None,
            home_url: pages.link("/"),
        }
    }
}

fn error_page(error: &AppError, asked: &Asked, pages: &Pages) -> Response {
    let mut page = ErrorPage::of_kind(error.kind(), &asked.locale, pages);
    if matches!(error, AppError::Internal(_)) {
        page.request_id = Some(asked.id.clone());
    }
    pages
        .answer(error.status(), &asked.locale, None, &page)
        .unwrap_or_else(|failure| {
            log_failure(&failure);
            (error.status(), asked.id.clone()).into_response()
        })
}
