//! A site with a feed: a real HTTP server on a loopback port that answers as it is told, and remembers what was asked.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream;
use url::Url;

/// The server. It stops when this is dropped.
pub(crate) struct FeedServer {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    site: Arc<Mutex<Site>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Site {
    answers: HashMap<String, Answer>,
    asked: HashMap<String, Vec<HeaderMap>>,
}

/// What a path answers.
#[derive(Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    after_body: AfterBody,
    delay: Duration,
}

#[derive(Clone, Copy)]
enum AfterBody {
    End,
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// The body comes again and again.
    Repeat,
}

impl FeedServer {
    /// A site where nothing is found yet.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Arc::<Mutex<Site>>::default();
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(site.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, site, task }
    }

    /// From now on `path` gives `answer`.
    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.site
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    /// The address of `path`.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).unwrap()
    }

    /// The headers of each request for `path` so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<HeaderMap> {
        self.site
            .lock()
            .unwrap()
            .asked
            .get(path)
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    /// 200 with `body`.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            after_body: AfterBody::End,
            delay: Duration::ZERO,
        }
    }

    /// `status` with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        let mut answer = Self::ok("");
        answer.status = StatusCode::from_u16(status).unwrap();
        answer
    }

    /// A redirect to `to`.
    pub(crate) fn redirect(status: u16, to: impl AsRef<str>) -> Self {
        Self::status(status).header("location", to.as_ref())
    }

    /// With this header too. An `ETag` is compared with `If-None-Match` from then on.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Compressed.
    pub(crate) fn gzip(mut self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap().into();
        self.header("content-encoding", "gzip")
    }

    /// The body is sent, and then nothing, for ever.
    pub(crate) fn stalling(mut self) -> Self {
        self.after_body = AfterBody::Stall;
        self
    }

    /// The body is sent again and again, for ever.
    pub(crate) fn endless(mut self) -> Self {
        self.after_body = AfterBody::Repeat;
        self
    }

    /// Answers only after `delay`.
    pub(crate) fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

async fn answer(State(site): State<Arc<Mutex<Site>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let found = {
        let mut site = site.lock().unwrap();
        site.asked
            .entry(path.clone())
            .or_default()
            .push(request.headers().clone());
        site.answers.get(&path).cloned()
    };
    let Some(answer) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    tokio::time::sleep(answer.delay).await;
    let etag = answer.headers.get("etag");
    if etag.is_some() && etag == request.headers().get("if-none-match") {
        return (StatusCode::NOT_MODIFIED, answer.headers).into_response();
    }
    let body = match answer.after_body {
        AfterBody::End => Body::from(answer.body),
        AfterBody::Stall => {
            let first = stream::iter([Ok::<_, std::convert::Infallible>(answer.body)]);
            Body::from_stream(first.chain(stream::pending()))
        }
        AfterBody::Repeat => Body::from_stream(stream::repeat(Ok::<_, std::convert::Infallible>(
            answer.body,
        ))),
    };
    (answer.status, answer.headers, body).into_response()
}
