//! The list of newsletters.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use serde::Serialize;

use super::publication;
use crate::newsletters::{self, Newsletter};
use crate::web::error::AppError;
use crate::web::pages::Page;
use crate::web::{Locale, Web};

/// What there is to subscribe to.
#[derive(Debug, Clone, Serialize)]
pub struct IndexPage {
    /// In the order they are shown.
    pub newsletters: Vec<Listed>,
}

impl Page for IndexPage {
    const TEMPLATE: &'static str = "index.html";
}

/// One newsletter in the list.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is about; may be empty.
    pub description: String,
    /// How often mails come, as a sentence.
    pub rhythm: String,
    /// Its sign-up page.
    pub url: String,
}

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/", front_page())
}

/// The list, for wherever the service's front page is.
pub(in crate::web) fn front_page() -> MethodRouter<Web> {
    get(show)
}

async fn show(
    State(web): State<Web>,
    Extension(Locale(locale)): Extension<Locale>,
) -> Result<Response, AppError> {
    let newsletters = newsletters::store::all(&web.app.db).await?;
    let listed = |newsletter: &Newsletter| Listed {
        name: newsletter.name.clone(),
        description: newsletter.description.clone(),
        rhythm: publication::rhythm(&web.pages, &locale, newsletter.default_cadence),
        url: publication::subscribe_url(&web.pages, newsletter),
    };
    let page = IndexPage {
        newsletters: newsletters.iter().map(listed).collect(),
    };
    web.pages.answer(StatusCode::OK, &locale, None, &page)
}
