//! A variant: the mail for one language and one list of articles, within its byte budget.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::article::{ArticleContent, IssueArticle};
use super::{Issue, IssueKind};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::BaseUrl;
use crate::id::ArticleId;
use crate::mail::context::{Card, DigestContext, Headline, Image, Links, NewsletterContext};
use crate::mail::template::RenderError;
use crate::mail::{
    EncodeError, Encoded, ListHeaders, MailKind, Mailbox, Message, Rendered, Templates, clean,
};
use crate::newsletters::Newsletter;
use crate::token::{SlotMarks, sha256};

/// The largest HTML part as encoded. Gmail cuts off near 102,000 bytes and hides the way out.
pub const HTML_BYTES: usize = 95_000;
/// The length of a summary where there is room.
const SUMMARY_CHARS: usize = 280;

/// What rendering needs beside the issue. The same for all issues of a process.
#[derive(Clone, Debug)]
pub struct Renderer {
    templates: Arc<Templates>,
    marks: SlotMarks,
    base_url: BaseUrl,
    list_domain: String,
    sender_id: String,
}

/// The mail for one language and one list of articles: a pure function of the issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// SHA-256 of language, articles and how each is shown.
    pub key: [u8; 32],
    /// Its language.
    pub language: String,
    /// Its articles, in order.
    pub articles: Vec<ArticleId>,
    /// Subject and parts, with marks where the reader's tokens go.
    pub rendered: Rendered,
    /// The message with its slots.
    pub encoded: Encoded,
}

/// Why a variant cannot be rendered. Rendering again gives the same: the issue fails.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// Bulk mail must name the sender's postal address.
    #[error("the newsletter has no postal address, which every issue must show")]
    NoPostalAddress,
    /// Even the shortest form is too large.
    #[error("the HTML part has {0} bytes even without articles, more than {HTML_BYTES}")]
    TooLarge(usize),
    /// The templates fail.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// How much of the articles a mail shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    cards: usize,
    summary_chars: usize,
    headlines: usize,
}

impl Renderer {
    /// With the templates, keys and names of this service.
    pub fn of(app: &App) -> Self {
        Self {
            templates: app.templates.clone(),
            marks: app.keys.slot_marks(),
            base_url: app.config.server.base_url.clone(),
            list_domain: app.config.list_domain().to_owned(),
            sender_id: app.config.mail.sender_id.clone(),
        }
    }

    /// The texts of the templates.
    pub fn texts(&self) -> &crate::texts::Texts {
        self.templates.texts()
    }

    /// The marks that stand in the rendered parts.
    pub fn marks(&self) -> &SlotMarks {
        &self.marks
    }

    /// The key of the mail that shows `articles` in `language`.
    pub fn key(&self, issue: &Issue, language: &str, articles: &[ArticleId]) -> [u8; 32] {
        let max_cards = usize::try_from(issue.max_cards).unwrap_or(0);
        variant_key(language, articles, max_cards)
    }

    /// Renders the mail that shows `articles` (ids in order, all of them in `of`) in `language`.
    ///
    /// The first `max_cards` are cards, the rest headlines. Where that is too large, summaries are shortened, then
    /// cards become headlines, then headlines are counted; the footer stays.
    pub fn variant(
        &self,
        issue: &Issue,
        newsletter: &Newsletter,
        of: &[IssueArticle],
        language: &str,
        articles: &[ArticleId],
    ) -> Result<Variant, VariantError> {
        if newsletter
            .postal_address
            .as_deref()
            .unwrap_or_default()
            .trim()
            .is_empty()
        {
            return Err(VariantError::NoPostalAddress);
        }
        let by_id: HashMap<ArticleId, &IssueArticle> =
            of.iter().map(|article| (article.id, article)).collect();
        let shown: Vec<&ArticleContent> = articles
            .iter()
            .filter_map(|id| by_id.get(id).map(|article| &article.content))
            .collect();
        let max_cards = usize::try_from(issue.max_cards).unwrap_or(0);
        let key = self.key(issue, language, articles);

        let mut shape = Shape {
            cards: max_cards.min(shown.len()),
            summary_chars: SUMMARY_CHARS,
            headlines: shown.len().saturating_sub(max_cards),
        };
        loop {
            let context = self.context(issue, newsletter, language, &shown, shape);
            let rendered = self
                .templates
                .render(MailKind::Digest, &context, language)?;
            let encoded = self.encode(issue, newsletter, &rendered, key)?;
            let size = encoded.html_bytes();
            if size <= HTML_BYTES {
                return Ok(Variant {
                    key,
                    language: language.to_owned(),
                    articles: articles.to_vec(),
                    rendered,
                    encoded,
                });
            }
            shape = shape.smaller(size).ok_or(VariantError::TooLarge(size))?;
        }
    }

    fn context(
        &self,
        issue: &Issue,
        newsletter: &Newsletter,
        language: &str,
        shown: &[&ArticleContent],
        shape: Shape,
    ) -> DigestContext {
        let zone = TimeZone::get(&newsletter.timezone).unwrap_or(TimeZone::UTC);
        let date = |at: Timestamp| self.texts().date_short(language, &at.in_zone(zone.clone()));
        let edition = issue.due_at.in_zone(zone.clone());
        let card = |content: &&ArticleContent| Card {
            title: clean::one_line(&content.title, 300),
            url: content.url.clone(),
            summary: clean::truncated(
                &clean::one_line(&content.summary, 2000),
                shape.summary_chars,
            ),
            author: content
                .author
                .as_deref()
                .map(|author| clean::one_line(author, 100)),
            date: content.published_at.map(date),
            topic: content.topic_name.clone(),
            image: content.image.as_ref().map(|image| {
                let size = image.width.zip(image.height);
                Image::new(image.url.clone(), clean::one_line(&image.alt, 200), size)
            }),
        };
        let headline = |content: &&ArticleContent| Headline {
            title: clean::one_line(&content.title, 300),
            url: content.url.clone(),
            date: content.published_at.map(date),
            topic: content.topic_name.clone(),
        };
        let (cards, rest) = shown.split_at(shape.cards);
        let listed = &rest[..shape.headlines.min(rest.len())];
        DigestContext {
            newsletter: newsletter_context(newsletter),
            links: Links {
                unsubscribe_url: Some(self.unsubscribe_url()),
                preferences_url: None,
                web_url: None,
            },
            title: issue
                .subject
                .clone()
                .filter(|_| issue.prepared_at.is_none()),
            edition: self.texts().date_long(language, &edition),
            intro: paragraphs(issue.intro.as_deref().unwrap_or_default()),
            cards: cards.iter().map(card).collect(),
            headlines: listed.iter().map(headline).collect(),
            more: rest.len() - listed.len(),
            article_count: 0,
            first_titles: Vec::new(),
        }
        .with_totals()
    }

    fn encode(
        &self,
        issue: &Issue,
        newsletter: &Newsletter,
        content: &Rendered,
        key: [u8; 32],
    ) -> Result<Encoded, EncodeError> {
        let slug = newsletter.slug.as_str();
        let is_written = issue.intro.is_some() && issue.kind != IssueKind::Scheduled;
        let feedback_id = format!("i-{}:n-{slug}:k-digest:{}", issue.number, self.sender_id);
        let message = Message {
            from: &Mailbox {
                name: newsletter.from_name.clone(),
                address: newsletter.from_address.clone(),
            },
            reply_to: newsletter.reply_to.as_deref(),
            content,
            automatic: !is_written,
            feedback_id: Some(&feedback_id),
            list: Some(ListHeaders {
                name: &newsletter.name,
                id: &format!("{slug}.{}", self.list_domain),
                unsubscribe_url: &self.unsubscribe_url(),
                help_url: None,
                archive_url: None,
            }),
            boundary: Uuid::from_slice(&key[..16]).unwrap_or_default(),
        };
        message.encode(&self.marks)
    }

    fn unsubscribe_url(&self) -> String {
        let path = format!("/unsubscribe/{}", self.marks.unsubscribe);
        self.base_url.join(&path)
    }
}

impl Shape {
    /// The next smaller form of a mail whose HTML had `size` bytes; `None` when nothing is left to take away.
    fn smaller(self, size: usize) -> Option<Self> {
        let shorter = |summary_chars| Self {
            summary_chars,
            ..self
        };
        match self {
            Self {
                summary_chars: 141..,
                cards: 1..,
                ..
            } => Some(shorter(140)),
            Self {
                summary_chars: 71..,
                cards: 1..,
                ..
            } => Some(shorter(70)),
            Self { cards: 1.., .. } => {
                let fewer = self.cards / 2;
                Some(Self {
                    cards: fewer,
                    headlines: self.headlines + self.cards - fewer,
                    ..self
                })
            }
            // in proportion, and at least one less
            Self { headlines: 1.., .. } => Some(Self {
                headlines: (self.headlines * HTML_BYTES / size).min(self.headlines - 1),
                ..self
            }),
            Self { .. } => None,
        }
    }
}

/// The newsletter as mails show it.
pub fn newsletter_context(newsletter: &Newsletter) -> NewsletterContext {
    let address = newsletter.postal_address.as_deref().unwrap_or_default();
    let lines = address.lines().map(|line| clean::one_line(line, 200));
    let description = clean::one_line(&newsletter.description, 1000);
    NewsletterContext {
        name: clean::one_line(&newsletter.name, 150),
        sender: clean::one_line(&newsletter.from_name, 150),
        description: Some(description).filter(|text| !text.is_empty()),
        from_address: newsletter.from_address.clone(),
        postal_address: lines.filter(|line| !line.is_empty()).collect(),
        site_url: None,
    }
}

/// Paragraphs of a text in which blank lines separate them.
fn paragraphs(text: &str) -> Vec<String> {
    let unified = clean::lines(text);
    let paragraphs = unified.split("\n\n").map(|it| clean::one_line(it, 5000));
    paragraphs.filter(|it| !it.is_empty()).collect()
}

fn variant_key(language: &str, articles: &[ArticleId], max_cards: usize) -> [u8; 32] {
    let mut text = language.as_bytes().to_vec();
    for (index, article) in articles.iter().enumerate() {
        text.push(if index < max_cards { b'c' } else { b'h' });
        text.extend_from_slice(article.0.as_bytes());
    }
    sha256(&text)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
