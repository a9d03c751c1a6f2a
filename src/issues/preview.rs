//! The dry run: what would go to how many, by the same path as the real one. It sends and stores nothing.

use std::collections::BTreeMap;

use super::article::IssueArticle;
use super::compose::{self, NewIssue};
use super::page::Page;
use super::render::{Renderer, Variant, VariantError};
use super::walk::{Contents, MailKey};
use super::{Issue, IssueState, store, unsent};
use crate::app::App;
use crate::clock::Timestamp;
use crate::id::{DeliveryId, IssueId, SubscriptionId};
use crate::mail::Slots;
use crate::newsletters::Newsletter;
use crate::token::READER_TOKEN_CHARS;

/// Readers read at a time.
const CHUNK: usize = 5000;

/// What the next issue would be.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Every article considered, with its decision, in the order of the mail.
    pub articles: Vec<IssueArticle>,
    /// Readers who would get a mail.
    pub recipients: usize,
    /// Active readers it has nothing for.
    pub nothing_for: usize,
    /// Active readers who are paused.
    pub paused: usize,
    /// Active readers to whom an older issue is still on its way: what is new comes with the issue after it.
    pub waiting: usize,
    /// The mails, the one most readers get first.
    pub variants: Vec<PreviewVariant>,
    /// The first variant as its readers would see it; `None` when nobody would get a mail.
    pub sample: Option<Sample>,
}

/// One mail and its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewVariant {
    /// Its language.
    pub language: String,
    /// Its subject.
    pub subject: String,
    /// How many articles it has.
    pub articles: usize,
    /// How many readers get it.
    pub recipients: usize,
    /// Octets of one copy.
    pub bytes: usize,
    /// Octets of its HTML part as encoded.
    pub html_bytes: usize,
}

/// A mail with tokens that open nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its subject.
    pub subject: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
    /// The whole message, as `.eml`.
    pub eml: Vec<u8>,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// There is no such newsletter.
    #[error("there is no such newsletter")]
    NoNewsletter,
    /// It could not be rendered, and could not be sent either.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// What `new` would be if it were made now.
pub async fn preview(
    app: &App,
    renderer: &Renderer,
    new: &NewIssue,
) -> Result<Preview, PreviewError> {
    let now = app.clock.now();
    let newsletter = crate::newsletters::store::by_id(&app.db, new.newsletter_id).await?;
    let newsletter = newsletter.ok_or(PreviewError::NoNewsletter)?;
    let (id, cadences) = (new.newsletter_id, new.cadences);
    let max_cards = i64::from(new.max_cards);
    let gathered = app
        .db
        .write(move |tx| {
            Box::pin(async move { compose::gather(tx, id, cadences, max_cards, now).await })
        })
        .await?;
    let last = store::issues::of_newsletter(&app.db, id, None, 1).await?;
    let number = last.first().map_or(1, |issue| issue.number + 1);
    let issue = unsaved(new, number, now);
    let contents = Contents::new(gathered.reach, gathered.articles);
    walk(app, renderer, &issue, &newsletter, contents, now).await
}

async fn walk(
    app: &App,
    renderer: &Renderer,
    issue: &Issue,
    newsletter: &Newsletter,
    contents: Contents,
    now: Timestamp,
) -> Result<Preview, PreviewError> {
    let mut mails: BTreeMap<MailKey, usize> = BTreeMap::new();
    let (mut nothing_for, mut paused, mut waiting) = (0, 0, 0);
    let mut after = SubscriptionId(uuid::Uuid::nil());
    loop {
        let page = Page::read(&app.db, issue, after, CHUNK).await?;
        let Some(last) = page.last() else {
            break;
        };
        let (mut readers, older) = page.decide(issue);
        unsent::imagine(&mut readers, &older);
        let plan = contents.plan(&readers, &newsletter.locale, renderer.texts(), now);
        nothing_for += plan.silent.len();
        paused += plan.paused;
        waiting += plan.waiting;
        for (key, readers) in plan.mails {
            *mails.entry(key).or_default() += readers.len();
        }
        after = last;
    }

    let mut made: Vec<(Variant, usize)> = Vec::with_capacity(mails.len());
    for ((language, articles), recipients) in mails {
        let variant =
            renderer.variant(issue, newsletter, &contents.articles, &language, &articles)?;
        made.push((variant, recipients));
    }
    made.sort_by_key(|(_, recipients)| std::cmp::Reverse(*recipients));
    let sample = made
        .first()
        .map(|(variant, _)| sample(app, renderer, variant, now));
    let variants: Vec<PreviewVariant> = made
        .iter()
        .map(|(variant, recipients)| PreviewVariant {
            language: variant.language.clone(),
            subject: variant.rendered.subject.clone(),
            articles: variant.articles.len(),
            recipients: *recipients,
            bytes: variant.encoded.wire_bytes(),
            html_bytes: variant.encoded.html_bytes(),
        })
        .collect();
    Ok(Preview {
        articles: contents.articles,
        recipients: variants.iter().map(|variant| variant.recipients).sum(),
        nothing_for,
        paused,
        waiting,
        variants,
        sample,
    })
}

/// The variant as a reader would get it, but for tokens that open nothing.
fn sample(app: &App, renderer: &Renderer, variant: &Variant, now: Timestamp) -> Sample {
    let token = format!("{:-<READER_TOKEN_CHARS$}", "preview");
    let marks = renderer.marks();
    let readable = |part: &str| {
        part.replace(&marks.unsubscribe, &token)
            .replace(&marks.preferences, &token)
    };
    let delivery = DeliveryId(uuid::Uuid::nil());
    let left = app.keys.message_id(None, delivery);
    let values = Slots {
        recipient: "reader@example.org",
        date: now,
        message_id: &format!("{left}@{}", app.config.id_domain()),
        delivery: &app.keys.delivery_header(delivery),
        unsubscribe: Some(&token),
        preferences: Some(&token),
    };
    Sample {
        subject: variant.rendered.subject.clone(),
        html: readable(&variant.rendered.html),
        text: readable(&variant.rendered.text),
        eml: variant.encoded.splice(&values).unwrap_or_default(),
    }
}

/// The row that `new` would get.
fn unsaved(new: &NewIssue, number: i64, now: Timestamp) -> Issue {
    Issue {
        id: IssueId(uuid::Uuid::nil()),
        newsletter_id: new.newsletter_id,
        number,
        kind: new.kind,
        cadences: sqlx::types::Json(new.cadences),
        due_at: new.due_at,
        state: IssueState::Draft,
        state_reason: None,
        paused_at: None,
        pause_reason: None,
        release_when_prepared: new.release_when_prepared,
        max_cards: i64::from(new.max_cards),
        cutoff_seq: None,
        subject: new.subject.clone(),
        intro: new.intro.clone(),
        created_at: now,
        frozen_at: None,
        prepared_to: None,
        candidates: 0,
        queued: 0,
        excluded: 0,
        prepared_at: None,
        released_at: None,
        finished_at: None,
    }
}
