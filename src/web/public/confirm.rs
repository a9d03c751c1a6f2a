//! The link in the confirmation mail: `GET` shows a button, `POST` confirms.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router, middleware};

use super::publication::{form_of_any, masthead, next_mail, rhythm, sender, subscribe_url};
use super::subscribe::{link_hours, user_agent};
use super::views::{AlreadyConfirmedPage, ConfirmPage, ConfirmedPage, LinkGonePage};
use crate::id::NewsletterId;
use crate::newsletters::{self, Cadence, Newsletter};
use crate::subscribers::confirm::{self, Confirmed, Signup};
use crate::subscribers::evidence::{Channel, Evidence, Wording};
use crate::subscribers::limits::wrong_token;
use crate::token::ConfirmToken;
use crate::web::error::AppError;
use crate::web::segment::Segment;
use crate::web::{Client, Locale, Web, security};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/confirm/{token}", get(show).post(press))
        .route_layer(middleware::from_fn(security::token_page))
}

async fn show(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(token): Segment,
) -> Result<Response, AppError> {
    let now = web.app.clock.now();
    let signup = match ConfirmToken::parse(&token) {
        Some(token) => confirm::find(&web.app.db, &token, now).await?,
        None => None,
    };
    let Some(signup) = signup else {
        return gone(&web, &locale).await;
    };
    let newsletter = newsletter_of(&web, signup.newsletter_id).await?;
    if signup.confirmed_at.is_some() {
        return already(&web, &signup.locale, &newsletter);
    }
    let action = web.pages.link(&format!("/confirm/{token}"));
    let page = confirm_page(&web, &newsletter, &signup, action).await?;
    let masthead = masthead(&web.pages, &newsletter);
    web.pages
        .answer(StatusCode::OK, &signup.locale, Some(&masthead), &page)
}

async fn press(
    State(web): State<Web>,
    Extension(Client(client)): Extension<Client>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(token): Segment,
    headers: HeaderMap,
) -> Result<Response, AppError> {
    let now = web.app.clock.now();
    let parsed = ConfirmToken::parse(&token);
    let signup = match &parsed {
        Some(token) => confirm::find(&web.app.db, token, now).await?,
        None => None,
    };
    let (Some(parsed), Some(signup)) = (parsed, signup) else {
        if let Err(retry_after) = wrong_token(&web.app, client).await? {
            return Err(AppError::TooMany { retry_after });
        }
        return gone(&web, &locale).await;
    };
    let newsletter = newsletter_of(&web, signup.newsletter_id).await?;
    let evidence = Evidence::of(Channel::Page)
        .from_client(client, user_agent(&headers))
        .with_wording(wording(&web, &signup.locale, &newsletter));
    match confirm::confirm(&web.app, &parsed, evidence).await? {
        Confirmed::Now { cadence, .. } => {
            confirmed(&web, &signup.locale, &newsletter, cadence).await
        }
        Confirmed::Before { .. } => already(&web, &signup.locale, &newsletter),
        Confirmed::Gone => gone(&web, &locale).await,
    }
}

/// The words of the page that stand beside its button.
fn wording(web: &Web, locale: &str, newsletter: &Newsletter) -> Wording {
    let text = |key| {
        let name = newsletter.name.clone().into();
        web.app.texts.get(locale, key, &[("name", name)])
    };
    Wording {
        locale: locale.to_owned(),
        text: format!("{} [{}]", text("confirm-lead"), text("confirm-button")),
    }
}

async fn confirm_page(
    web: &Web,
    newsletter: &Newsletter,
    signup: &Signup,
    action: String,
) -> Result<ConfirmPage, AppError> {
    let topics = newsletters::store::topics(&web.app.db, newsletter.id).await?;
    let cadence = signup
        .selection
        .in_force(&topics, newsletter.default_cadence);
    let chosen = topics
        .into_iter()
        .filter(|topic| signup.selection.topics.contains(&topic.slug));
    Ok(ConfirmPage {
        newsletter: newsletter.name.clone(),
        topics: chosen.map(|topic| topic.name).collect(),
        rhythm: rhythm(&web.pages, &signup.locale, cadence),
        sender: sender(newsletter),
        email: signup.email.as_str().to_owned(),
        action,
    })
}

async fn confirmed(
    web: &Web,
    locale: &str,
    newsletter: &Newsletter,
    cadence: Cadence,
) -> Result<Response, AppError> {
    let now = web.app.clock.now();
    let page = ConfirmedPage {
        newsletter: newsletter.name.clone(),
        rhythm: rhythm(&web.pages, locale, cadence),
        first_mail: next_mail(web, locale, newsletter, cadence, now).await?,
        sender: sender(newsletter),
    };
    let masthead = masthead(&web.pages, newsletter);
    web.pages
        .answer(StatusCode::OK, locale, Some(&masthead), &page)
}

fn already(web: &Web, locale: &str, newsletter: &Newsletter) -> Result<Response, AppError> {
    let page = AlreadyConfirmedPage {
        newsletter: newsletter.name.clone(),
        subscribe_url: subscribe_url(&web.pages, newsletter),
    };
    let masthead = masthead(&web.pages, newsletter);
    web.pages
        .answer(StatusCode::OK, locale, Some(&masthead), &page)
}

/// One page for every link that does not work, whatever the reason.
async fn gone(web: &Web, locale: &str) -> Result<Response, AppError> {
    let all = newsletters::store::all(&web.app.db).await?;
    let page = LinkGonePage {
        link_hours: link_hours(web),
        form: form_of_any(&web.pages, locale, &all),
    };
    web.pages.answer(StatusCode::NOT_FOUND, locale, None, &page)
}

async fn newsletter_of(web: &Web, id: NewsletterId) -> Result<Newsletter, AppError> {
    newsletters::store::by_id(&web.app.db, id)
        .await?
        .ok_or(AppError::NotFound)
}
