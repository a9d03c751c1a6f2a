//! Composing, preparing and releasing, through the database of each engine.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use paperround::app::App;
use paperround::clock::Timestamp;
use paperround::config::InDoubt;
use paperround::feeds::publish::{self, PostedArticle};
use paperround::feeds::release;
use paperround::id::{ArticleId, IssueId, SubscriberId, SubscriptionId, TopicId, VariantId};
use paperround::issues::advance::advance;
use paperround::issues::compose::{self, ComposeError, Created, NewIssue};
use paperround::issues::prepare::{Preparation, Step};
use paperround::issues::preview::preview;
use paperround::issues::render::Renderer;
use paperround::issues::{Issue, IssueKind, IssueState, store};
use paperround::mail::{Encoded, Slots};
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::slots;
use paperround::newsletters::{Cadence, Cadences, Newsletter};
use paperround::{read_db, write_db};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::TestApp;

/// Two newsletters, two issues, two topics: each its own.
mod beside;
/// What stands in a mail, and who gets one.
mod contents;
/// What an issue that is over leaves to the next.
mod ended;
/// Who left, and who came back.
mod leaving;
/// Every article, every reader, many issues: each once.
mod ledger;
/// What changes between a look and its write.
mod meanwhile;
/// Slots, chunks, crashes, drafts, refusals, the dry run.
mod preparing;
/// What a dry run says.
mod previewing;
/// What an issue records of its articles, and of its editor's words.
mod recorded;
/// What an operator lets wait again, and what came meanwhile.
mod retrying;
/// More than one of a kind: older issues, pages, statements, rhythms.
mod several;
/// What an issue takes over from older ones.
mod superseding;
/// For whom an issue is made, and what it has for them.
mod whom;

const SUBSCRIBER: &str =
    "INSERT INTO subscribers (id, email, email_key, created_at) VALUES ($1, $2, $2, $3)";
const SUBSCRIPTION: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, paused_until, started_at)
     VALUES ($1, $2, $3, 'active', $4, $5)";
const INTEREST: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     VALUES ($1, $2, 0, $3, 0)";
const DELIVERIES: &str = "SELECT deliveries.subscription_id, deliveries.state, variants.message
     FROM deliveries JOIN variants ON variants.id = deliveries.variant_id
     WHERE deliveries.issue_id = $1 ORDER BY deliveries.subscription_id";
const MESSAGE: &str = "SELECT message FROM variants WHERE id = $1";
const GIVEN: &str =
    "SELECT given_seq FROM interests WHERE subscription_id = $1 ORDER BY topic_id, start_seq";

const DAILY: &[Cadence] = &[Cadence::Daily];

async fn newsletter(app: &App, max_cards: u32) -> Newsletter {
    let mut schedule = NewSchedule::usual(
        Cadence::Daily,
        "07:00".parse().unwrap(),
        "Europe/Berlin".parse().unwrap(),
    );
    schedule.max_cards = max_cards;
    let new = NewNewsletter {
        slug: "world".parse().unwrap(),
        name: "World".to_owned(),
        description: String::new(),
        from_name: "World".to_owned(),
        from_address: "world@example.org".to_owned(),
        reply_to: None,
        postal_address: Some("1 Main Street\nSpringfield".to_owned()),
        locale: "en".to_owned(),
        schedule,
        form_origins: Vec::new(),
    };
    add::newsletter(app, new).await.unwrap()
}

async fn topic(app: &App, newsletter: &Newsletter, slug: &str) -> TopicId {
    if slug != "all" {
        let made = add::topic(
            app,
            newsletter.id,
            slug.parse().unwrap(),
            slug.to_owned(),
            None,
        );
        drop(made.await);
    }
    let topics = paperround::newsletters::store::topics(&app.db, newsletter.id)
        .await
        .unwrap();
    topics
        .into_iter()
        .find(|topic| topic.slug.as_str() == slug)
        .unwrap()
        .id
}

/// An active reader with these interests, from the beginning.
async fn reader(
    app: &TestApp,
    newsletter: &Newsletter,
    email: &str,
    interests: &[(TopicId, Cadence)],
    paused_until: Option<Timestamp>,
) -> SubscriptionId {
    // ids of one millisecond are in no order
    app.time.advance(Duration::from_millis(1));
    let (subscriber, id): (SubscriberId, SubscriptionId) = (app.ids.next(), app.ids.next());
    let (email, interests) = (email.to_owned(), interests.to_vec());
    let (newsletter, now) = (newsletter.id, app.clock.now());
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| {
                    sqlx::query(SUBSCRIBER)
                        .bind(subscriber)
                        .bind(&email)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    sqlx::query(SUBSCRIPTION)
                        .bind(id)
                        .bind(subscriber)
                        .bind(newsletter)
                        .bind(paused_until)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    for (topic, cadence) in interests {
                        sqlx::query(INTEREST)
                            .bind(id)
                            .bind(topic)
                            .bind(cadence)
                            .execute(&mut *conn)
                            .await?;
                    }
                });
                Ok(())
            })
        })
        .await
        .unwrap();
    id
}

fn posted(n: usize, topics: &[&str]) -> PostedArticle {
    PostedArticle {
        external_id: format!("{n}"),
        url: format!("https://world.example/article-{n:03}"),
        title: format!("Article {n}"),
        summary: Some("What happened, and why it matters.".to_owned()),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..PostedArticle::default()
    }
}

/// Publishes these articles; what is dated far ahead stays held.
async fn publish(
    app: &TestApp,
    newsletter: &Newsletter,
    articles: Vec<PostedArticle>,
) -> Vec<ArticleId> {
    let published = publish::publish(app, newsletter.id, articles)
        .await
        .unwrap();
    release::release_due(&app.db, app.clock.now())
        .await
        .unwrap();
    app.time.advance(Duration::from_mins(1));
    published.into_iter().map(|one| one.article_id).collect()
}

fn new_issue(newsletter: &Newsletter, cadences: &[Cadence], now: Timestamp) -> NewIssue {
    NewIssue {
        newsletter_id: newsletter.id,
        kind: IssueKind::Manual,
        cadences: cadences.iter().copied().collect(),
        due_at: now,
        max_cards: 12,
        release_when_prepared: true,
        subject: None,
        intro: None,
        in_doubt: InDoubt::Resend,
    }
}

async fn create(app: &App, new: NewIssue) -> Result<Created, ComposeError> {
    let (ids, now) = (app.ids.clone(), app.clock.now());
    app.db
        .write(move |tx| Box::pin(async move { compose::create(tx, &ids, &new, now).await }))
        .await
}

/// Makes an issue and freezes it; nobody is prepared yet.
async fn frozen(app: &TestApp, newsletter: &Newsletter) -> IssueId {
    let new = new_issue(newsletter, DAILY, app.now());
    let Created::Issue(id) = create(app, new).await.unwrap() else {
        panic!("there is something to send");
    };
    let now = app.now();
    app.db
        .write(move |tx| Box::pin(async move { compose::freeze(tx, id, now).await }))
        .await
        .unwrap();
    id
}

/// Runs `work` while another write, which does `sql` with `subscription`, is open: it must wait for that one's end.
async fn against<T>(
    app: &TestApp,
    sql: &'static str,
    subscription: SubscriptionId,
    work: impl Future<Output = T>,
) -> T {
    let ((has_begun, begun), (may_end, end)) = (oneshot::channel(), oneshot::channel::<()>());
    let db = app.db.clone();
    let other = tokio::spawn(async move {
        db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(sql)
                    .bind(subscription)
                    .execute(conn)
                    .await
                    .map(drop))?;
                has_begun.send(()).unwrap();
                end.await.unwrap();
                Ok(())
            })
        })
        .await
    });
    begun.await.unwrap();
    let mut work = pin!(work);
    let early = timeout(Duration::from_millis(300), &mut work).await;
    assert!(early.is_err(), "it cannot write before the other has ended");
    may_end.send(()).unwrap();
    other.await.unwrap().unwrap();
    work.await
}

/// Makes the issue and takes it as far as it goes.
async fn send(app: &App, new: NewIssue) -> Issue {
    let Created::Issue(id) = create(app, new).await.unwrap() else {
        panic!("there is something to send");
    };
    advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
    issue(app, id).await
}

async fn issue(app: &App, id: IssueId) -> Issue {
    store::issues::by_id(&app.db, id).await.unwrap().unwrap()
}

/// For each delivery of the issue: whose, its state, and the numbers of its articles in the order of the text part.
async fn deliveries(app: &App, id: IssueId) -> Vec<(SubscriptionId, String, Vec<usize>)> {
    let rows: Vec<(SubscriptionId, String, Vec<u8>)> =
        read_db!(&app.db, |conn| sqlx::query_as(DELIVERIES)
            .bind(id)
            .fetch_all(conn)
            .await)
        .unwrap();
    rows.into_iter()
        .map(|(subscription, state, message)| (subscription, state, numbers(&message)))
        .collect()
}

/// The numbers of the articles in a stored message: the text part's, after a look that the HTML part has the same.
fn numbers(stored: &[u8]) -> Vec<usize> {
    let token = "t".repeat(74);
    let values = Slots {
        recipient: "ada@example.org",
        date: Timestamp::UNIX_EPOCH,
        message_id: "a@example.org",
        delivery: &"d".repeat(43),
        unsubscribe: Some(&token),
        preferences: Some(&token),
    };
    let bytes = Encoded::from_bytes(stored)
        .unwrap()
        .splice(&values)
        .unwrap();
    let parsed = mail_parser::MessageParser::default().parse(&bytes).unwrap();
    let found = |part: &str| {
        let mut found: Vec<usize> = Vec::new();
        for rest in part.split("/article-").skip(1) {
            let number = rest[..3].parse().unwrap();
            if found.last() != Some(&number) {
                found.push(number);
            }
        }
        found
    };
    let text = found(&parsed.body_text(0).unwrap());
    assert_eq!(text, found(&parsed.body_html(0).unwrap()));
    text
}

async fn message(app: &App, variant: VariantId) -> Vec<u8> {
    read_db!(&app.db, |conn| sqlx::query_scalar(MESSAGE)
        .bind(variant)
        .fetch_one(conn)
        .await)
    .unwrap()
}

async fn given(app: &App, subscription: SubscriptionId) -> Vec<i64> {
    read_db!(&app.db, |conn| sqlx::query_scalar(GIVEN)
        .bind(subscription)
        .fetch_all(conn)
        .await)
    .unwrap()
}

const SETTLE: &str = "UPDATE deliveries SET state = 'sent', is_open = FALSE WHERE issue_id = $1 AND state = 'pending' AND id < $2";

/// The relay took the open mails of the issue whose ids are below `below`.
async fn settle_below(app: &App, id: IssueId, below: uuid::Uuid) {
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SETTLE)
                    .bind(id)
                    .bind(below)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

/// The relay took every open mail of the issue.
async fn settle_all(app: &App, id: IssueId) {
    settle_below(app, id, uuid::Uuid::max()).await;
}
