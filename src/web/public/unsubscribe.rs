//! The way out: `GET` shows a button, any `POST` leaves at once (RFC 8058).
//!
//! Mail providers post here for their users: from few addresses, without cookies, with whatever body. So nothing is
//! asked of the request but its token; there is no redirect, no limit and no check of where it came from.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router, middleware};
use bytes::Bytes;

use super::publication::{masthead, subscribe_url};
use super::subscribe::user_agent;
use super::views::{LeaveLinkBrokenPage, UnsubscribePage, UnsubscribedPage};
use crate::id::NewsletterId;
use crate::newsletters;
use crate::subscribers::evidence::{Channel, Evidence};
use crate::subscribers::unsubscribe::{self, Left};
use crate::telemetry::mask_email;
use crate::token::{Purpose, ReaderToken};
use crate::web::error::AppError;
use crate::web::form::Fields;
use crate::web::segment::Segment;
use crate::web::{Client, Locale, Web, body, security};

/// What is read of a body; the rest is dropped.
const BODY_LIMIT: usize = 8 * 1024;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/unsubscribe/{token}", get(show).post(leave))
        .route_layer(middleware::from_fn(security::token_page))
}

async fn show(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(token): Segment,
) -> Result<Response, AppError> {
    let Some(reader) = read(&web, &token) else {
        return broken(&web, &locale);
    };
    let membership = unsubscribe::find(&web.app.db, reader).await?;
    let Some(membership) = membership else {
        return receipt(&web, &locale, None).await;
    };
    let locale = membership.locale.clone().unwrap_or(locale);
    let newsletter = membership.subscription.newsletter_id;
    if !membership.is_active() {
        return receipt(&web, &locale, Some(newsletter)).await;
    }
    let newsletter = newsletters::store::by_id(&web.app.db, newsletter)
        .await?
        .ok_or(AppError::NotFound)?;
    let page = UnsubscribePage {
        newsletter: newsletter.name.clone(),
        masked_email: mask_email(&membership.email),
        action: web.pages.link(&format!("/unsubscribe/{token}")),
    };
    let masthead = masthead(&web.pages, &newsletter);
    web.pages
        .answer(StatusCode::OK, &locale, Some(&masthead), &page)
}

async fn leave(
    State(web): State<Web>,
    Extension(Client(client)): Extension<Client>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(token): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    let Some(reader) = read(&web, &token) else {
        return broken(&web, &locale);
    };
    // A body that breaks off or never comes does not keep anybody here.
    let body = body::read_start(body, BODY_LIMIT).await.unwrap_or_default();
    let asked = Asked::read(&headers, &body);
    let channel = match asked {
        Asked::OneClick => Channel::OneClick,
        Asked::Page => Channel::Page,
    };
    let evidence = Evidence::of(channel).from_client(client, user_agent(&headers));
    let left = unsubscribe::unsubscribe(&web.app, reader, evidence)
        .await
        // Whatever the reason: nothing was stored, and the provider should come again.
        .map_err(|error| AppError::Unavailable(error.into()))?;
    match asked {
        Asked::OneClick => {
            let words = web.app.texts.get(&locale, "left-plain", &[]);
            Ok((StatusCode::OK, format!("{words}\n")).into_response())
        }
        Asked::Page => {
            let newsletter = match left {
                Left::Now(newsletter) | Left::Before(newsletter) => Some(newsletter),
                Left::Unknown => None,
            };
            // The goodbye is stored: a page that cannot be put together must not look like a failure.
            let page = receipt(&web, &locale, newsletter).await;
            match page {
                Ok(page) => Ok(page),
                Err(_) => receipt(&web, &locale, None).await,
            }
        }
    }
}

/// Who pressed the button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A mail program, for its user.
    OneClick,
    /// A person on our page.
    Page,
}

impl Asked {
    fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let fields = Fields::parse(content_type, body).unwrap_or_default();
        let is_one_click = fields
            .all("List-Unsubscribe")
            .any(|value| value.eq_ignore_ascii_case("One-Click"));
        if is_one_click || body.is_empty() {
            Self::OneClick
        } else {
            Self::Page
        }
    }
}

fn read(web: &Web, token: &str) -> Option<ReaderToken> {
    web.app.keys.read_reader_token(Purpose::Unsubscribe, token)
}

async fn receipt(
    web: &Web,
    locale: &str,
    newsletter: Option<NewsletterId>,
) -> Result<Response, AppError> {
    let newsletter = match newsletter {
        Some(id) => newsletters::store::by_id(&web.app.db, id).await?,
        None => None,
    };
    let newsletter = newsletter.as_ref();
    let page = UnsubscribedPage {
        newsletter: newsletter.map(|newsletter| newsletter.name.clone()),
        subscribe_url: newsletter.map(|newsletter| subscribe_url(&web.pages, newsletter)),
    };
    let masthead = newsletter.map(|newsletter| masthead(&web.pages, newsletter));
    web.pages
        .answer(StatusCode::OK, locale, masthead.as_ref(), &page)
}

/// The same for every token that is none of ours.
fn broken(web: &Web, locale: &str) -> Result<Response, AppError> {
    let page = LeaveLinkBrokenPage {};
    web.pages.answer(StatusCode::NOT_FOUND, locale, None, &page)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_mail_program_is_known_by_what_it_sends() {
        let check = |content_type: &'static str, body: &'static str, expect: Asked| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(Asked::read(&headers, &body), expect, "{body:?}");
        };
        let form = "application/x-www-form-urlencoded";
        check(form, "List-Unsubscribe=One-Click", Asked::OneClick);
        check(form, "", Asked::OneClick);
        check("image/png", "", Asked::OneClick);
        check(
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n",
            Asked::OneClick,
        );
        check(form, "page=1", Asked::Page);
        check("application/json", "{\"x\":", Asked::Page);
    }
}
