//! The demo's own pages. They are compiled at first use; a test renders each.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use serde::Serialize;
use tera::{Context, Tera};

use super::articles::Article;
use crate::clock::Timestamp;

static PAGES: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = Tera::new();
    tera.add_raw_templates([
        ("base.html", include_str!("pages/base.html")),
        ("site.html", include_str!("pages/site.html")),
        ("article.html", include_str!("pages/article.html")),
        ("inbox.html", include_str!("pages/inbox.html")),
        ("feed.xml", include_str!("pages/feed.xml")),
    ])
    .expect("the demo's own pages compile, as a test shows");
    tera
});

pub(super) fn render(page: &str, data: &impl Serialize) -> String {
    let context = Context::from_serialize(data).expect("page data are structs");
    PAGES
        .render(page, &context)
        .expect("the demo's own pages render, as a test shows")
}

#[derive(Serialize)]
pub(super) struct Shown {
    slug: &'static str,
    title: &'static str,
    category: &'static str,
    author: &'static str,
    summary: &'static str,
    paragraphs: Vec<&'static str>,
    date: String,
    rfc2822: String,
}

impl Shown {
    pub(super) fn new(article: &Article, at: Timestamp) -> Self {
        Self {
            slug: article.slug,
            title: article.title,
            category: article.category,
            author: article.author,
            summary: article.summary,
            paragraphs: article.body.split("\n\n").collect(),
            date: at
                .in_zone(TimeZone::UTC)
                .strftime("%-d %B %Y, %H:%M UTC")
                .to_string(),
            rfc2822: at.to_rfc5322(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SitePage<'a> {
    pub(super) articles: Vec<Shown>,
    pub(super) service: &'a str,
    pub(super) left: usize,
}

#[derive(Serialize)]
pub(super) struct FeedPage<'a> {
    pub(super) articles: Vec<Shown>,
    pub(super) url: &'a str,
}

#[derive(Serialize)]
pub(super) struct MailRow {
    pub(super) number: usize,
    pub(super) recipient: String,
    pub(super) from: String,
    pub(super) subject: String,
    pub(super) bytes: usize,
}

#[derive(Serialize)]
pub(super) struct InboxPage {
    pub(super) mails: Vec<MailRow>,
    pub(super) shown: Option<MailRow>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::articles::ARTICLES;

    #[test]
    fn every_page_renders_and_escapes() {
        let shown = || {
            ARTICLES
                .iter()
                .map(|article| Shown::new(article, Timestamp::UNIX_EPOCH))
                .collect()
        };
        let site = render(
            "site.html",
            &SitePage {
                articles: shown(),
                service: "http://127.0.0.1:1",
                left: 0,
            },
        );
        assert!(site.contains("action=\"http://127.0.0.1:1/subscribe/world\""));
        assert!(
            render(
                "feed.xml",
                &FeedPage {
                    articles: shown(),
                    url: "http://127.0.0.1:2"
                }
            )
            .contains("<item>")
        );
        assert!(
            render(
                "article.html",
                &Shown::new(&ARTICLES[0], Timestamp::UNIX_EPOCH)
            )
            .contains(ARTICLES[0].title)
        );
        let row = || MailRow {
            number: 1,
            recipient: "ada@example.org".to_owned(),
            from: "World".to_owned(),
            subject: "<script>".to_owned(),
            bytes: 1,
        };
        let inbox = render(
            "inbox.html",
            &InboxPage {
                mails: vec![row()],
                shown: Some(row()),
            },
        );
        assert!(inbox.contains("&lt;script&gt;") && !inbox.contains("<script>"));
    }
}
