//! Reader pages: templates from `page_templates/`, inside the program, strict, compiled at start.
//!
//! Links on a page are paths below the base URL's own path, so that no header of a request can change where they lead.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use tera::{Context, Tera};

use super::assets::{Asset, ICON, READER_CSS};
use super::error::AppError;
use crate::texts::Texts;

#[derive(rust_embed::RustEmbed)]
#[folder = "page_templates/"]
struct Files;

/// The compiled pages and what all of them need.
pub struct Pages {
    tera: Tera,
    texts: Arc<Texts>,
    path_prefix: String,
}

/// What one page shows: its template, and the values it names.
pub trait Page: Serialize {
    /// The template's file name.
    const TEMPLATE: &'static str;
}

/// Whose page this is: stands at its head and its foot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Masthead {
    /// The newsletter's name.
    pub name: String,
    /// Its sign-up page.
    pub url: String,
    /// An address that a person reads.
    pub contact: String,
    /// Empty while the newsletter has none.
    pub postal_address: String,
}

/// The values of every page.
#[derive(Serialize)]
struct Frame<'a, P> {
    locale: &'a str,
    css_url: String,
    icon_url: String,
    masthead: Option<&'a Masthead>,
    #[serde(flatten)]
    page: &'a P,
}

impl Pages {
    /// Compiles all pages. `path_prefix` is the path of the base URL: empty, or such as `/news`.
    ///
    /// An error is a mistake in a template.
    pub fn new(texts: Arc<Texts>, path_prefix: &str) -> tera::TeraResult<Self> {
        let mut tera = Tera::new();
        texts.register(&mut tera);
        let sources: Vec<(String, String)> = Files::iter()
            .filter_map(|name| {
                let file = Files::get(&name)?;
                let source = String::from_utf8_lossy(&file.data).into_owned();
                Some((name.into_owned(), source))
            })
            .collect();
        tera.add_raw_templates(sources)?;
        Ok(Self {
            tera,
            texts,
            path_prefix: path_prefix.to_owned(),
        })
    }

    /// `page` as an answer with `status`, in `locale`.
    pub fn answer<P: Page>(
        &self,
        status: StatusCode,
        locale: &str,
        masthead: Option<&Masthead>,
        page: &P,
    ) -> Result<Response, AppError> {
        let html = self
            .render(locale, masthead, page)
            .map_err(|error| AppError::Internal(error.into()))?;
        Ok((status, Html(html)).into_response())
    }

    /// `page` as HTML.
    pub fn render<P: Page>(
        &self,
        locale: &str,
        masthead: Option<&Masthead>,
        page: &P,
    ) -> tera::TeraResult<String> {
        let link = |asset: &Asset| self.link(&asset.path());
        let frame = Frame {
            locale: self.texts.language_for(locale),
            css_url: link(&READER_CSS),
            icon_url: link(&ICON),
            masthead,
            page,
        };
        self.tera
            .render(P::TEMPLATE, &Context::from_serialize(&frame)?)
    }

    /// The texts that people see.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The link to `path`, which begins with a slash, from any page.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.path_prefix)
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::public::index::{IndexPage, Listed};
    use crate::web::public::signup_form::{Choice, Kept, SignupForm};
    use crate::web::public::views::{
        AlreadyConfirmedPage, CheckInboxPage, ConfirmPage, ConfirmedPage, LeaveLinkBrokenPage,
        LinkGonePage, Moment, Sender, SubscribePage, UnsubscribePage, UnsubscribedPage,
    };
    use crate::web::request::ErrorPage;

    const HOSTILE: &str = "\"><script>alert(1)</script>";

    fn pages() -> Pages {
        Pages::new(Arc::new(Texts::load().unwrap()), "/news").unwrap()
    }

    fn masthead(name: &str) -> Masthead {
        Masthead {
            name: name.to_owned(),
            url: "/subscribe/world".to_owned(),
            contact: "desk@world.example".to_owned(),
            postal_address: "World Review\n12 Harbour Street\nSingapore 049318".to_owned(),
        }
    }

    fn form() -> SignupForm {
        SignupForm {
            action: "/subscribe/world".to_owned(),
            rhythm: "At most one mail a day.".to_owned(),
            ..SignupForm::default()
        }
    }

    fn choices() -> Vec<Choice> {
        [("world", "World Review"), ("asia", "Asia Weekly")]
            .map(|(slug, name)| Choice {
                slug: slug.to_owned(),
                name: name.to_owned(),
            })
            .to_vec()
    }

    /// Every page with what it shows at its fullest, and its name.
    #[expect(clippy::too_many_lines, reason = "one sample for each page")]
    fn samples(pages: &Pages, name: &str) -> Vec<(&'static str, String)> {
        fn show<P: Page>(pages: &Pages, masthead: Option<&Masthead>, page: &P) -> String {
            pages.render("en", masthead, page).unwrap()
        }
        let own = masthead(name);
        let own = Some(&own);
        let name = name.to_owned();
        let sender = Sender {
            name: "World Review".to_owned(),
            address: "news@world.example".to_owned(),
        };
        let rhythm = "At most one mail a day.".to_owned();
        let subscribe = |form| SubscribePage {
            title: format!("Subscribe to {name}"),
            description:
                "What happened in the world, and why it matters, by reporters who live there."
                    .to_owned(),
            form,
        };
        let faulty = SignupForm {
            email: "ada@".to_owned(),
            kept: vec![Kept {
                name: "topic",
                value: HOSTILE.to_owned(),
            }],
            newsletters: choices(),
            ..form()
        };
        let listed = |name: &str, description: &str, url: &str| Listed {
            name: name.to_owned(),
            description: description.to_owned(),
            rhythm: rhythm.clone(),
            url: url.to_owned(),
        };
        vec![
            (
                "index",
                show(
                    pages,
                    None,
                    &IndexPage {
                        newsletters: vec![
                            listed(
                                &name,
                                "What happened in the world, and why it matters, by reporters who live there.",
                                "/subscribe/world",
                            ),
                            listed("Asia Weekly", "", "/subscribe/asia"),
                            listed(
                                "Energy and Climate Brief",
                                "Numbers, policy and people behind the turn away from coal.",
                                "/subscribe/energy",
                            ),
                        ],
                    },
                ),
            ),
            (
                "index-empty",
                show(
                    pages,
                    None,
                    &IndexPage {
                        newsletters: vec![],
                    },
                ),
            ),
            ("subscribe", show(pages, own, &subscribe(form()))),
            (
                "subscribe-faulty",
                show(
                    pages,
                    own,
                    &subscribe(
                        faulty
                            .with_fault("newsletter", "Please choose a newsletter.".to_owned())
                            .with_fault(
                                "email",
                                "This address ends after the @. Is something missing?".to_owned(),
                            ),
                    ),
                ),
            ),
            (
                "check-inbox",
                show(
                    pages,
                    own,
                    &CheckInboxPage {
                        newsletter: name.clone(),
                        sender: sender.clone(),
                        link_hours: 48,
                        form: form(),
                    },
                ),
            ),
            (
                "confirm",
                show(
                    pages,
                    own,
                    &ConfirmPage {
                        newsletter: name.clone(),
                        topics: vec!["Asia-Pacific".to_owned(), "Europe".to_owned()],
                        rhythm: rhythm.clone(),
                        sender: sender.clone(),
                        email: "ada.lovelace@a-rather-long-domain-name.example.org".to_owned(),
                        action: "/confirm/x".to_owned(),
                    },
                ),
            ),
            (
                "confirmed",
                show(
                    pages,
                    own,
                    &ConfirmedPage {
                        newsletter: name.clone(),
                        rhythm: rhythm.clone(),
                        sender: sender.clone(),
                        first_mail: Some(Moment {
                            datetime: "2026-07-07T05:00:00Z".to_owned(),
                            text: "Tuesday 7 July, 07:00 Europe/Berlin".to_owned(),
                        }),
                    },
                ),
            ),
            (
                "already",
                show(
                    pages,
                    own,
                    &AlreadyConfirmedPage {
                        newsletter: name.clone(),
                        subscribe_url: "/subscribe/world".to_owned(),
                    },
                ),
            ),
            (
                "gone",
                show(
                    pages,
                    None,
                    &LinkGonePage {
                        link_hours: 48,
                        form: SignupForm {
                            newsletters: choices(),
                            ..form()
                        },
                    },
                ),
            ),
            (
                "unsubscribe",
                show(
                    pages,
                    own,
                    &UnsubscribePage {
                        newsletter: name.clone(),
                        masked_email: "a***@example.org".to_owned(),
                        action: "/unsubscribe/x".to_owned(),
                    },
                ),
            ),
            (
                "unsubscribed",
                show(
                    pages,
                    own,
                    &UnsubscribedPage {
                        newsletter: Some(name.clone()),
                        subscribe_url: Some("/subscribe/world".to_owned()),
                    },
                ),
            ),
            (
                "unsubscribed-unknown",
                show(
                    pages,
                    None,
                    &UnsubscribedPage {
                        newsletter: None,
                        subscribe_url: None,
                    },
                ),
            ),
            ("broken", show(pages, None, &LeaveLinkBrokenPage {})),
            (
                "error",
                show(pages, None, &ErrorPage::of_kind("not-found", "en", pages)),
            ),
        ]
    }

    #[test]
    fn every_page_renders_and_runs_no_script() {
        let pages = pages();
        for (page, html) in samples(&pages, HOSTILE) {
            assert!(!html.contains("<script"), "{page}");
            assert!(!html.contains("javascript:"), "{page}");
            assert!(html.contains("<html lang=\"en\" dir=\"ltr\">"), "{page}");
            assert!(html.len() < 10 * 1024, "{page} has {} bytes", html.len());
            assert_eq!(html.matches("<h1").count(), 1, "{page}");
        }
    }

    #[test]
    fn every_template_has_its_sample() {
        let pages = pages();
        let sampled = samples(&pages, "World Review").len();
        let frames = ["base.html", "signup_form.html"];
        let templates = Files::iter().filter(|name| !frames.contains(&&**name));
        assert!(templates.count() <= sampled);
    }

    #[test]
    fn faults_stand_at_the_top_and_beside_the_field_in_the_same_words() {
        let samples = samples(&pages(), "World Review");
        let (_, html) = samples
            .iter()
            .find(|(page, _)| *page == "subscribe-faulty")
            .unwrap();
        let words = "This address ends after the @. Is something missing?";
        assert_eq!(html.matches(words).count(), 2);
        assert!(html.contains("<title>Error: "));
        assert!(html.contains("href=\"#nl-email\""));
        assert!(html.contains("id=\"nl-email\""));
        assert!(html.contains("aria-describedby=\"nl-email-error nl-note\""));
    }
}
