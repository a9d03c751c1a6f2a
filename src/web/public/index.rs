//! The list of newsletters.

use serde::Serialize;

use crate::web::pages::Page;

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
