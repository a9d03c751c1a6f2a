//! The sign-up form, and its answer: the same for every address.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, ORIGIN, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use serde_json::json;

use super::publication::{form_of, form_of_any, masthead, sender, subscribe_url};
use super::signup_form::SignupForm;
use super::submitted::{Choices, with_faults};
use super::views::{CheckInboxPage, SubscribePage};
use crate::newsletters::{self, Newsletter};
use crate::subscribers::email_address::AddressRules;
use crate::subscribers::evidence::{Channel, Evidence, Wording};
use crate::subscribers::signup::{self, SignupError};
use crate::web::error::AppError;
use crate::web::form::Fields;
use crate::web::segment::Segment;
use crate::web::{Client, Locale, Web, accept, body, security};

/// The largest form, in bytes.
const BODY_LIMIT: usize = 16 * 1024;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/subscribe", get(show_any).post(submit_any))
        .route("/subscribe/{slug}", get(show).post(submit))
        .route("/subscribe/{slug}/sent", get(sent))
        .route_layer(middleware::from_fn(security::no_store))
}

/// What every handler here wants to know of the request.
type Asked = (Extension<Client>, Extension<Locale>);

async fn show_any(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    let all = newsletters::store::all(&web.app.db).await?;
    let form = form_of_any(&web.pages, &locale, &all);
    let form = prefilled(form, query.as_deref());
    match all.as_slice() {
        [only] => answer_form(&web, &locale, Some(only), form),
        _ => answer_form(&web, &locale, None, form),
    }
}

async fn show(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(slug): Segment,
    RawQuery(query): RawQuery,
) -> Result<Response, AppError> {
    let newsletter = by_slug(&web, &slug).await?;
    let form = form_of(&web.pages, &locale, &newsletter);
    let form = prefilled(form, query.as_deref());
    answer_form(&web, &locale, Some(&newsletter), form)
}

async fn submit_any(
    State(web): State<Web>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    take(&web, None, asked, &headers, body).await
}

async fn submit(
    State(web): State<Web>,
    Segment(slug): Segment,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    take(&web, Some(&slug), asked, &headers, body).await
}

/// Reads the form and signs up, or shows the form again with its faults.
async fn take(
    web: &Web,
    slug: Option<&str>,
    (Extension(Client(client)), Extension(Locale(locale))): Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, AppError> {
    let all = newsletters::store::all(&web.app.db).await?;
    let named = slug.map(|slug| with_slug(&all, slug).ok_or(AppError::NotFound));
    let named = named.transpose()?;
    let body = body::read(body, BODY_LIMIT).await?;
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str());
    let fields = Fields::parse(content_type.transpose().unwrap_or(Some("?")), &body)?;
    let locale = match fields.one("locale") {
        Ok(Some(wanted)) => web.app.texts.language_for(wanted).to_owned(),
        Ok(None) | Err(_) => locale,
    };

    let named_in_path = named.is_some();
    let newsletter = named.map_or_else(|| chosen(&fields, &all), Ok);
    let topics = match &newsletter {
        Ok(newsletter) => Some(newsletters::store::topics(&web.app.db, newsletter.id).await?),
        Err(_) => None,
    };
    let mut choices = Choices::read(&fields, address_rules(web), topics.as_deref());
    if let Err(code) = &newsletter {
        choices.fault("newsletter", code);
    }
    let (Ok(newsletter), Some(email), []) =
        (&newsletter, &choices.email, choices.faults.as_slice())
    else {
        let shown = newsletter.as_ref().ok().filter(|_| named_in_path);
        return refuse(web, &locale, headers, &fields, &choices, shown, &all);
    };
    let request = signup::Request {
        newsletter: newsletter.id,
        email: email.clone(),
        selection: choices.selection.clone(),
        evidence: evidence(web, &locale, newsletter, headers)
            .from_client(client, user_agent(headers)),
        locale: locale.clone(),
        client,
        is_trapped: choices.is_trapped,
    };
    signup::sign_up(&web.app, request).await?;
    Ok(accepted(web, &locale, newsletter, headers))
}

/// The newsletter that the form names, or the only one there is; `Err` with the key of the fault's words.
fn chosen(fields: &Fields, all: &[Newsletter]) -> Result<Newsletter, &'static str> {
    match (fields.one("newsletter"), all) {
        (Ok(Some(slug)), _) => with_slug(all, slug).ok_or("field-newsletter-unknown"),
        (Ok(None), [only]) => Ok(only.clone()),
        (Ok(None) | Err(_), _) => Err("field-newsletter-missing"),
    }
}

fn with_slug(all: &[Newsletter], slug: &str) -> Option<Newsletter> {
    let named = all
        .iter()
        .find(|newsletter| newsletter.slug.as_str() == slug);
    named.cloned()
}

/// Nothing in it depends on the address.
fn accepted(web: &Web, locale: &str, newsletter: &Newsletter, headers: &HeaderMap) -> Response {
    if accept::wants_json(headers) {
        let words = web.app.texts.get(locale, "sent-plain", &[]);
        let body = json!({ "status": "check_inbox", "message": words });
        return (StatusCode::ACCEPTED, Json(body)).into_response();
    }
    let url = subscribe_url(&web.pages, newsletter);
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{url}/sent"))]).into_response()
}

fn refuse(
    web: &Web,
    locale: &str,
    headers: &HeaderMap,
    fields: &Fields,
    choices: &Choices,
    shown: Option<&Newsletter>,
    all: &[Newsletter],
) -> Result<Response, AppError> {
    let texts = &web.app.texts;
    if accept::wants_json(headers) {
        let errors = choices.faults.iter();
        return Err(AppError::Invalid(
            errors
                .map(|fault| fault.to_field_error(texts, locale))
                .collect(),
        ));
    }
    let form = shown.map_or_else(
        || form_of_any(&web.pages, locale, all),
        |newsletter| form_of(&web.pages, locale, newsletter),
    );
    let form = with_faults(form, fields, &choices.faults, texts, locale);
    let mut response = answer_form(web, locale, shown, form)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(response)
}

/// The page that everybody is sent to after the form.
async fn sent(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
    Segment(slug): Segment,
) -> Result<Response, AppError> {
    let newsletter = by_slug(&web, &slug).await?;
    let page = CheckInboxPage {
        newsletter: newsletter.name.clone(),
        sender: sender(&newsletter),
        link_hours: link_hours(&web),
        form: form_of(&web.pages, &locale, &newsletter),
    };
    let masthead = masthead(&web.pages, &newsletter);
    web.pages
        .answer(StatusCode::OK, &locale, Some(&masthead), &page)
}

fn answer_form(
    web: &Web,
    locale: &str,
    newsletter: Option<&Newsletter>,
    form: SignupForm,
) -> Result<Response, AppError> {
    let texts = &web.app.texts;
    let page = SubscribePage {
        title: newsletter.map_or_else(
            || texts.get(locale, "subscribe-any-title", &[]),
            |newsletter| {
                let name = newsletter.name.clone().into();
                texts.get(locale, "subscribe-title", &[("name", name)])
            },
        ),
        description: newsletter.map_or_else(String::new, |it| it.description.clone()),
        form,
    };
    let masthead = newsletter.map(|newsletter| masthead(&web.pages, newsletter));
    web.pages
        .answer(StatusCode::OK, locale, masthead.as_ref(), &page)
}

/// The form with what a link brought: an address, a newsletter.
fn prefilled(mut form: SignupForm, query: Option<&str>) -> SignupForm {
    let fields = Fields::from_query(query);
    if let Ok(Some(email)) = fields.one("email") {
        form.email = email.chars().take(254).collect();
    }
    if let Ok(Some(newsletter)) = fields.one("newsletter") {
        newsletter.clone_into(&mut form.newsletter);
    }
    form
}

/// Where the form stood: our own page, or one of the newsletter's sites; never what the browser only claims.
fn evidence(web: &Web, locale: &str, newsletter: &Newsletter, headers: &HeaderMap) -> Evidence {
    let base_url = &web.app.config.server.base_url;
    let origin = headers.get(ORIGIN).and_then(|value| value.to_str().ok());
    let mut evidence = Evidence::of(Channel::Form);
    if origin.is_some_and(|origin| origin == base_url.origin()) {
        evidence.page_url = Some(base_url.join(&format!("/subscribe/{}", newsletter.slug)));
        evidence = evidence.with_wording(Wording {
            locale: locale.to_owned(),
            text: web.app.texts.get(locale, "form-note", &[]),
        });
    } else {
        let listed = &newsletter.form_origins.0;
        evidence.page_url = listed
            .iter()
            .find(|listed| Some(listed.as_str()) == origin)
            .cloned();
    }
    evidence
}

pub(super) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
}

/// How long a confirmation link works, in whole hours.
pub(super) fn link_hours(web: &Web) -> u64 {
    web.app.config.signup.confirm_lifetime.as_secs() / 3600
}

fn address_rules(web: &Web) -> AddressRules {
    AddressRules {
        allow_special_use: web.app.config.signup.allow_special_use,
        smtputf8: web.app.config.smtp.smtputf8,
        allow_roles: false,
    }
}

async fn by_slug(web: &Web, slug: &str) -> Result<Newsletter, AppError> {
    newsletters::store::by_slug(&web.app.db, slug)
        .await?
        .ok_or(AppError::NotFound)
}

impl From<SignupError> for AppError {
    fn from(error: SignupError) -> Self {
        match error {
            SignupError::TooMany(retry_after) => Self::TooMany { retry_after },
            SignupError::UsedUp(retry_after) => Self::UsedUp { retry_after },
            SignupError::Db(error) => Self::Unavailable(error.into()),
        }
    }
}
