//! The guarded outbound client: one conditional GET with every limit that a hostile or broken server needs.
//!
//! Redirects are followed by hand, because each hop is judged by the [`FetchPolicy`] before it is requested; bodies
//! are decoded by hand, because both sides of a compression bomb are counted.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::guard::{FetchPolicy, GuardedResolver, Lookup, Refused};
use super::http_headers::{max_age, retry_after, text};
use crate::clock::Timestamp;

/// How long and how much one fetch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Resolving, connecting and the TLS handshake, of each hop.
    pub connect: Duration,
    /// From the request to the head of the answer, of each hop.
    pub first_byte: Duration,
    /// Everything, over all hops.
    pub whole: Duration,
    /// Bytes of a body as sent.
    pub wire_bytes: usize,
    /// Bytes of a body after decompression.
    pub decoded_bytes: usize,
    /// Redirects that are followed.
    pub redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            whole: Duration::from_secs(30),
            wire_bytes: 10 << 20,
            decoded_bytes: 20 << 20,
            redirects: 5,
        }
    }
}

/// What to fetch. The validators are what an earlier [`Body`] carried, byte for byte (RFC 9110, section 13.1).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The address.
    pub url: &'a Url,
    /// Sent as `If-None-Match`.
    pub etag: Option<&'a str>,
    /// Sent as `If-Modified-Since`.
    pub last_modified: Option<&'a str>,
}

/// A successful answer.
#[derive(Debug)]
pub struct Fetched {
    /// The body, or that nothing changed.
    pub content: Fresh,
    /// Where the address moved for good: the end of the permanent redirects (301, 308) that it began with.
    pub moved_to: Option<Url>,
    /// `Cache-Control: max-age`.
    pub max_age: Option<Duration>,
}

/// Whether something came.
#[derive(Debug)]
pub enum Fresh {
    /// 304: what was fetched before still holds.
    NotModified,
    /// A body.
    Body(Body),
}

/// A body and what its answer said about it.
#[derive(Debug)]
pub struct Body {
    /// The decoded bytes, in the charset of the sender.
    pub bytes: Bytes,
    /// The address that answered, after redirects. Relative links are relative to it.
    pub url: Url,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `ETag`, byte for byte.
    pub etag: Option<String>,
    /// `Last-Modified`, byte for byte.
    pub last_modified: Option<String>,
}

/// Why nothing was fetched. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address, or one it redirects to, must not be fetched.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No connection: the name is unknown, nobody listens, the certificate is not valid.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// A deadline passed.
    #[error("gave up: {0} took longer than {1:?}")]
    TooSlow(&'static str, Duration),
    /// The body is larger than a limit, in bytes.
    #[error("{0} is larger than {1} bytes; show fewer entries in the feed")]
    TooLarge(&'static str, usize),
    /// More redirects than are followed.
    #[error("redirected more than {0} times; the site seems to redirect in a circle")]
    TooManyRedirects(usize),
    /// A redirect without a usable `Location`.
    #[error("redirected to nowhere: the Location header is missing or not an address")]
    BadRedirect,
    /// Compressed in a way that was not asked for, or damaged.
    #[error("the body cannot be decoded: {0}")]
    Encoding(String),
    /// 410: the feed is gone for good.
    #[error("410 Gone: the site says that this feed was removed for good")]
    Gone,
    /// 429 or 503, and when to come back.
    #[error("{status}: the site asks to be left alone for a while")]
    Busy {
        /// The status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Any other status that is not a success.
    #[error("{}", status_text(*.0))]
    Status(u16),
    /// 304 to a request that named nothing to compare with.
    #[error(
        "304 Not Modified, although nothing was fetched before; a cache in front of the site is misconfigured"
    )]
    NothingToCompare,
}

/// The one client for addresses that others wrote.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    policy: Arc<FetchPolicy>,
    limits: FetchLimits,
}

impl Fetcher {
    /// A client that reaches what `policy` allows. `contact_url` tells site owners who asks.
    ///
    /// # Errors
    /// The system's certificates or TLS cannot be used.
    pub fn new(
        policy: FetchPolicy,
        limits: FetchLimits,
        lookup: Arc<dyn Lookup>,
        contact_url: &str,
    ) -> reqwest::Result<Self> {
        let policy = Arc::new(policy);
        let resolver = GuardedResolver {
            policy: policy.clone(),
            lookup,
        };
        let client = Client::builder()
            .user_agent(user_agent(contact_url))
            .dns_resolver(resolver)
            // A proxy would resolve names itself, past the guard.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .no_brotli()
            .connect_timeout(limits.connect)
            // Polls are minutes apart, and each connection is to be judged anew.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            client,
            policy,
            limits,
        })
    }

    /// Fetches `request`, following redirects. `now` turns a date in `Retry-After` into a span.
    pub async fn get(&self, request: Request<'_>, now: Timestamp) -> Result<Fetched, FetchError> {
        timeout(self.limits.whole, self.follow(request, now))
            .await
            .unwrap_or(Err(FetchError::TooSlow("the answer", self.limits.whole)))
    }

    async fn follow(&self, request: Request<'_>, now: Timestamp) -> Result<Fetched, FetchError> {
        let mut url = request.url.clone();
        let mut moved_to = None;
        let mut permanent = true;
        for _ in 0..=self.limits.redirects {
            let response = self.ask(&url, request).await?;
            let status = response.status();
            if !is_redirect(status) {
                return self.conclude(response, url, moved_to, request, now).await;
            }
            url = location(&url, response.headers()).ok_or(FetchError::BadRedirect)?;
            permanent &= matches!(
                status,
                StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
            );
            if permanent {
                moved_to = Some(url.clone());
            }
        }
        Err(FetchError::TooManyRedirects(self.limits.redirects))
    }

    async fn ask(&self, url: &Url, request: Request<'_>) -> Result<Response, FetchError> {
        self.policy.check_url(url)?;
        let mut ask = self
            .client
            .get(url.clone())
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, "gzip");
        if let Some(etag) = request.etag {
            ask = ask.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(date) = request.last_modified {
            ask = ask.header(header::IF_MODIFIED_SINCE, date);
        }
        let limit = self.limits.connect + self.limits.first_byte;
        match timeout(limit, ask.send()).await {
            Ok(answer) => answer.map_err(|error| self.failure(&error)),
            Err(_) => Err(FetchError::TooSlow("the first byte", limit)),
        }
    }

    async fn conclude(
        &self,
        response: Response,
        url: Url,
        moved_to: Option<Url>,
        request: Request<'_>,
        now: Timestamp,
    ) -> Result<Fetched, FetchError> {
        let headers = response.headers();
        let max_age = max_age(headers);
        let content = match response.status() {
            StatusCode::OK => Fresh::Body(self.body(response, url).await?),
            StatusCode::NOT_MODIFIED => {
                if request.etag.is_none() && request.last_modified.is_none() {
                    return Err(FetchError::NothingToCompare);
                }
                Fresh::NotModified
            }
            StatusCode::GONE => return Err(FetchError::Gone),
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                return Err(FetchError::Busy {
                    status: status.as_u16(),
                    retry_after: retry_after(headers, now),
                });
            }
            status => return Err(FetchError::Status(status.as_u16())),
        };
        Ok(Fetched {
            content,
            moved_to,
            max_age,
        })
    }

    async fn body(&self, mut response: Response, url: Url) -> Result<Body, FetchError> {
        let headers = response.headers();
        let content_type = text(headers, header::CONTENT_TYPE);
        let etag = text(headers, header::ETAG);
        let last_modified = text(headers, header::LAST_MODIFIED);
        let encoding = text(headers, header::CONTENT_ENCODING).unwrap_or_default();

        let limit = self.limits.wire_bytes;
        let mut wire = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failure(&error))?
        {
            if wire.len() + chunk.len() > limit {
                return Err(FetchError::TooLarge("the answer", limit));
            }
            wire.extend_from_slice(&chunk);
        }
        let bytes = decode(wire, &encoding, self.limits.decoded_bytes).await?;
        Ok(Body {
            bytes,
            url,
            content_type,
            etag,
            last_modified,
        })
    }

    /// What went wrong below HTTP, found in the chain of causes.
    fn failure(&self, error: &reqwest::Error) -> FetchError {
        if error.is_timeout() {
            return FetchError::TooSlow("connecting", self.limits.connect);
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
            if let Some(refused) = cause.downcast_ref::<Refused>() {
                return FetchError::Refused(refused.clone());
            }
        }
        FetchError::Unreachable(cause.to_string())
    }
}

const ACCEPT: &str = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, \
                      text/xml;q=0.9, application/json;q=0.8, text/html;q=0.5, */*;q=0.1";

fn user_agent(contact_url: &str) -> HeaderValue {
    let named = format!("paperround/{} (+{contact_url})", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&named).unwrap_or(HeaderValue::from_static("paperround"))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn location(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let target = headers.get(header::LOCATION)?.to_str().ok()?;
    let mut target = url.join(target).ok()?;
    target.set_fragment(None);
    Some(target)
}

/// Undoes `Content-Encoding`, at most one layer of gzip, stopping at `limit` bytes.
async fn decode(wire: Vec<u8>, encoding: &str, limit: usize) -> Result<Bytes, FetchError> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" if wire.len() > limit => Err(FetchError::TooLarge("the feed", limit)),
        "" | "identity" => Ok(wire.into()),
        "gzip" | "x-gzip" => tokio::task::spawn_blocking(move || gunzip(&wire, limit))
            .await
            .map_err(|error| FetchError::Encoding(error.to_string()))?,
        other => Err(FetchError::Encoding(format!(
            "only gzip was offered, the site answered with {other:?}"
        ))),
    }
}

fn gunzip(wire: &[u8], limit: usize) -> Result<Bytes, FetchError> {
    let mut decoded = Vec::new();
    flate2::read::MultiGzDecoder::new(wire)
        .take(limit as u64 + 1)
        .read_to_end(&mut decoded)
        .map_err(|error| FetchError::Encoding(error.to_string()))?;
    if decoded.len() > limit {
        return Err(FetchError::TooLarge("the unpacked feed", limit));
    }
    Ok(decoded.into())
}

fn status_text(status: u16) -> String {
    let advice = match status {
        401 => "the feed wants a password; put it into the address (https://user:password@...)",
        403 => "the site refuses; a firewall or CDN may block this server or user agent",
        404 => "there is nothing at this address; check it in a browser",
        500..=599 => "the site is broken at the moment; it is asked again later",
        _ => "the site did not give the feed",
    };
    format!("status {status}: {advice}")
}
