//! A sample site on loopback: a start page with a sign-up form, articles, and their RSS feed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use data_encoding::HEXLOWER;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::articles::{ARTICLES, AT_START, Article};
use super::receiver::Mailbox;
use super::{inbox, pages};
use crate::clock::{Clock, Timestamp};

/// What stands on the site. Cheap to clone.
#[derive(Clone)]
pub struct Published {
    clock: Arc<dyn Clock>,
    articles: Arc<Mutex<Vec<(Article, Timestamp)>>>,
}

impl Published {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let articles = ARTICLES
            .iter()
            .take(AT_START)
            .map(|article| (*article, now))
            .collect();
        Self {
            clock,
            articles: Arc::new(Mutex::new(articles)),
        }
    }

    /// Newest first.
    fn all(&self) -> Vec<(Article, Timestamp)> {
        let mut articles = self
            .articles
            .lock()
            .expect("no holder of this lock can panic")
            .clone();
        articles.reverse();
        articles
    }

    /// Puts the next sample article on the site; its title. `None` when all are there.
    pub fn publish(&self) -> Option<&'static str> {
        let mut articles = self
            .articles
            .lock()
            .expect("no holder of this lock can panic");
        let article = ARTICLES.get(articles.len())?;
        articles.push((*article, self.clock.now()));
        Some(article.title)
    }
}

/// The running site; it stops when this is dropped.
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    /// What stands on it.
    pub published: Published,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Shared {
    published: Published,
    url: String,
    service: String,
}

impl Site {
    /// Serves the site and the inbox page on `port` of the loopback address (0: any free one). The form posts to the
    /// service at `service`, a base URL.
    pub async fn start(
        clock: Arc<dyn Clock>,
        port: u16,
        service: &str,
        mailbox: Mailbox,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let published = Published::new(clock);
        let shared = Shared {
            published: published.clone(),
            url: format!("http://{address}"),
            service: service.trim_end_matches('/').to_owned(),
        };
        let router = Router::new()
            .route("/", get(start_page))
            .route("/feed.xml", get(feed))
            .route("/articles/{slug}", get(article))
            .route("/publish", post(publish))
            .with_state(shared)
            .merge(inbox::router(mailbox));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
            {
                tracing::warn!(error = %error, "The sample site stopped");
            }
        });
        Ok(Self {
            address,
            published,
            _stop: stop.drop_guard(),
        })
    }

    /// The site's own address as a URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The feed's URL.
    pub fn feed_url(&self) -> String {
        format!("{}/feed.xml", self.url())
    }
}

async fn start_page(State(site): State<Shared>) -> Html<String> {
    let articles: Vec<_> = site
        .published
        .all()
        .iter()
        .map(|(article, at)| pages::Shown::new(article, *at))
        .collect();
    let left = ARTICLES.len() - articles.len();
    Html(pages::render(
        "site.html",
        &pages::SitePage {
            articles,
            service: &site.service,
            left,
        },
    ))
}

async fn feed(State(site): State<Shared>, request: HeaderMap) -> Response {
    let articles: Vec<_> = site
        .published
        .all()
        .iter()
        .map(|(article, at)| pages::Shown::new(article, *at))
        .collect();
    let body = pages::render(
        "feed.xml",
        &pages::FeedPage {
            articles,
            url: &site.url,
        },
    );
    let etag = format!(
        "\"{}\"",
        HEXLOWER.encode(&crate::token::sha256(body.as_bytes())[..8])
    );
    if request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|sent| sent.as_bytes() == etag.as_bytes())
    {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            "application/rss+xml; charset=utf-8".to_owned(),
        ),
        (header::ETAG, etag),
    ];
    (headers, body).into_response()
}

async fn article(State(site): State<Shared>, Path(slug): Path<String>) -> Response {
    match site
        .published
        .all()
        .iter()
        .find(|(article, _)| article.slug == slug)
    {
        Some((article, at)) => Html(pages::render(
            "article.html",
            &pages::Shown::new(article, *at),
        ))
        .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn publish(State(site): State<Shared>) -> Redirect {
    site.published.publish();
    Redirect::to("/")
}
