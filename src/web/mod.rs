//! HTTP: pages, forms and the API, without rules.
//!
//! [`router`] is the map of all addresses. Around every request stand, from the outside: its id, client, language
//! and log line (`request`), the headers that browsers obey (`security`), its deadline, and a net for panics.

mod accept;
pub mod api;
mod assets;
pub mod body;
pub mod client;
mod connections;
pub mod error;
pub mod form;
mod health;
pub mod pages;
mod problems;
pub mod public;
mod redact;
mod request;
pub mod security;
mod segment;
pub mod server;

pub use request::{Client, Locale};

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::worker::Pulse;
use error::AppError;
use pages::Pages;
use request::{Surroundings, surround};
use security::Https;
use server::Limits;

/// What every handler is given.
#[derive(Clone)]
pub struct Web {
    /// The service.
    pub app: Arc<App>,
    /// The compiled pages.
    pub pages: Arc<Pages>,
    /// The worker in the same process, if there is one.
    pub worker: Option<Pulse>,
}

/// Why the web role cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A page template is broken.
    #[error("the page templates do not compile: {0}")]
    Pages(String),
    /// The listener failed.
    #[error("cannot serve HTTP")]
    Io(#[from] io::Error),
}

impl Web {
    /// Compiles the pages. An error is a mistake in a template.
    pub fn new(app: Arc<App>) -> Result<Self, ServeError> {
        let prefix = app.config.server.base_url.path_prefix();
        let pages = Pages::new(app.texts.clone(), prefix)
            .map_err(|error| ServeError::Pages(error.to_string()))?;
        Ok(Self {
            pages: Arc::new(pages),
            app,
            worker: None,
        })
    }

    /// The same in one process with a worker: it is ready only while the worker lives.
    #[must_use]
    pub fn beside(self, worker: Pulse) -> Self {
        Self {
            worker: Some(worker),
            ..self
        }
    }
}

/// Serves `web` on `listener` until `stop`, then ends what is at work.
pub async fn serve(
    web: Web,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let limits = Limits {
        max_connections: web.app.config.server.max_connections,
        header_timeout: web.app.config.server.header_timeout,
        ..Limits::default()
    };
    Ok(server::serve(listener, router(web), limits, stop).await?)
}

/// Every address of the service, with what surrounds every request.
pub fn router(web: Web) -> Router {
    let below_prefix = Router::new()
        .merge(public::routes())
        .merge(api::routes())
        .merge(problems::routes())
        .merge(assets::routes());
    let prefix = web.app.config.server.base_url.path_prefix().to_owned();
    // Probes ask this process itself, whatever proxy stands in front of readers.
    let mut router = health::routes();
    router = if prefix.is_empty() {
        router.merge(below_prefix)
    } else {
        router
            .nest(&prefix, below_prefix)
            // Nesting leaves out the folder itself with its slash.
            .route(&format!("{prefix}/"), public::front_page())
    };
    let router = router
        .fallback(async || AppError::NotFound)
        .method_not_allowed_fallback(async || AppError::MethodNotAllowed);
    surrounded(router, &web).with_state(web)
}

fn surrounded(router: Router<Web>, web: &Web) -> Router<Web> {
    let server = &web.app.config.server;
    let surroundings = Surroundings {
        pages: web.pages.clone(),
        base_url: server.base_url.clone(),
        ids: web.app.ids.clone(),
        trusted_proxies: server.trusted_proxies.as_slice().into(),
    };
    router
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(middleware::from_fn_with_state(
            server.request_timeout,
            in_time,
        ))
        .layer(middleware::from_fn_with_state(
            Https(server.base_url.is_https()),
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
