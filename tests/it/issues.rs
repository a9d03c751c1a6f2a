//! Composing, preparing and releasing, through the database of each engine.

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
use paperround::issues::prepare::{self, Step};
use paperround::issues::preview::preview;
use paperround::issues::render::Renderer;
use paperround::issues::{Issue, IssueKind, IssueState, store};
use paperround::mail::{Encoded, Slots};
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::slots;
use paperround::newsletters::{Cadence, Cadences, Newsletter};
use paperround::{read_db, write_db};

use crate::support::{TestApp, db_test};

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
    app.time.advance(Duration::from_secs(60));
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

db_test!(
    fourteen_articles_with_room_for_twelve_cards_all_reach_the_reader,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let ada = reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, (1..=14).map(|n| posted(n, &[])).collect()).await;
        let sent = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(sent.state, IssueState::Sending);
        assert_eq!((sent.candidates, sent.queued, sent.excluded), (1, 1, 0));
        assert!(
            sent.subject
                .is_some_and(|subject| subject.contains("Article"))
        );
        let rows = deliveries(app, sent.id).await;
        let mut expected: Vec<usize> = (1..=14).rev().collect();
        assert_eq!(rows, [(ada, "pending".to_owned(), expected.clone())]);
        expected.reverse();
        assert_eq!(given(app, ada).await, [14]);
        let articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        assert_eq!(articles.len(), 14, "a decision for each article");
        let again = create(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(again.unwrap(), Created::NothingNew);
    }
);

db_test!(
    daily_and_weekly_due_together_are_one_mail_and_an_article_of_two_topics_comes_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let (asia, europe) = (
            topic(app, &newsletter, "asia").await,
            topic(app, &newsletter, "europe").await,
        );
        let both = [(asia, Cadence::Daily), (europe, Cadence::Weekly)];
        let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
        let ben = reader(
            app,
            &newsletter,
            "ben@example.org",
            &[(all, Cadence::Weekly)],
            None,
        )
        .await;
        let articles = vec![
            posted(1, &["asia", "europe"]),
            posted(2, &["europe"]),
            posted(3, &[]),
        ];
        publish(app, &newsletter, articles).await;

        let daily = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(
            deliveries(app, daily.id).await,
            [(ada, "pending".to_owned(), vec![1])]
        );
        assert_eq!((daily.candidates, daily.queued, daily.excluded), (2, 1, 1));

        publish(
            app,
            &newsletter,
            vec![posted(4, &["asia"]), posted(5, &["asia", "europe"])],
        )
        .await;
        let cadences = [Cadence::Daily, Cadence::Weekly];
        let together = send(app, new_issue(&newsletter, &cadences, app.now())).await;
        // what was not sent of the first comes with the second, which serves its cadence too
        let expected = [
            (ada, "pending".to_owned(), vec![5, 4, 2, 1]),
            (ben, "pending".to_owned(), vec![5, 4, 3, 2, 1]),
        ];
        assert_eq!(deliveries(app, together.id).await, expected);
        assert_eq!(deliveries(app, daily.id).await[0].1, "skipped");
        assert_eq!(given(app, ada).await, [5, 5]);
    }
);

db_test!(
    an_article_held_while_a_later_one_was_sent_comes_next,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        let mut held = posted(101, &[]);
        held.published_at = Some(app.now() + Duration::from_hours(24 * 30));
        let ids = publish(app, &newsletter, vec![held, posted(102, &[])]).await;
        let first = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(deliveries(app, first.id).await[0].2, [102]);
        settle_all(app, first.id).await;

        let released = release::release_now(&app.db, newsletter.id, ids[0], app.now()).await;
        assert!(released.unwrap());
        let second = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(deliveries(app, second.id).await[0].2, [101]);
    }
);

const SETTLE: &str = "UPDATE deliveries SET state = 'sent' WHERE issue_id = $1";

async fn settle_all(app: &App, id: IssueId) {
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SETTLE)
                    .bind(id)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

db_test!(
    a_crash_between_and_within_chunks_resumes_with_the_same_bytes_and_everybody_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let asia = topic(app, &newsletter, "asia").await;
        for n in 0..40 {
            let topic = if n % 4 == 0 { asia } else { all };
            let email = format!("reader-{n}@example.org");
            reader(app, &newsletter, &email, &[(topic, Cadence::Daily)], None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &["asia"])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let Created::Issue(id) = create(app, new).await.unwrap() else {
            panic!("there is something to send");
        };
        let now = app.now();
        app.db
            .write(move |tx| Box::pin(async move { compose::freeze(tx, id, now).await }))
            .await
            .unwrap();

        let mut first_bytes = None;
        for crash in 0..200 {
            // each time a new process, which dies after some awaits
            let renderer = Arc::new(Renderer::of(app));
            let step = prepare::step(app, &renderer, id, 3);
            let done = tokio::time::timeout(Duration::from_micros(200 * crash), step).await;
            let variants = store::prepared::variants(&app.db, id).await.unwrap();
            if let Some(variant) = variants.first() {
                let bytes = message(app, variant.id).await;
                let known = first_bytes.get_or_insert((variant.id, bytes.clone()));
                let again = message(app, known.0).await;
                assert_eq!(known.1, again);
            }
            if matches!(done, Ok(Ok(Step::Prepared))) {
                break;
            }
        }
        let prepared = issue(app, id).await;
        assert!(prepared.prepared_at.is_some());
        assert_eq!((prepared.candidates, prepared.queued), (40, 40));
        let rows = deliveries(app, id).await;
        assert_eq!(rows.len(), 40);
        let variants = store::prepared::variants(&app.db, id).await.unwrap();
        let recipients: Vec<i64> = variants.iter().map(|variant| variant.recipients).collect();
        assert_eq!(recipients, [30, 10]);
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        assert_eq!(issue(app, id).await.state, IssueState::Sending);
    }
);

db_test!(
    two_processes_that_prepare_at_once_make_each_delivery_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        for n in 0..30 {
            let email = format!("reader-{n}@example.org");
            reader(app, &newsletter, &email, &[(all, Cadence::Daily)], None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let Created::Issue(id) = create(app, new).await.unwrap() else {
            panic!("there is something to send");
        };
        let renderer = Arc::new(Renderer::of(app));
        let processes = [0, 1].map(|_| {
            let (app, renderer) = (app.app.clone(), renderer.clone());
            tokio::spawn(async move { advance(&app, &renderer).await })
        });
        for process in processes {
            process.await.unwrap().unwrap();
        }
        advance(app, &renderer).await.unwrap();
        let sent = issue(app, id).await;
        assert_eq!(sent.state, IssueState::Sending);
        assert_eq!((sent.candidates, sent.queued), (30, 30));
        assert_eq!(deliveries(app, id).await.len(), 30);
    }
);

db_test!(
    a_paused_reader_gets_one_catch_up_and_misses_nothing,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let until = app.now() + Duration::from_hours(48);
        let daily = [(all, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, Some(until)).await;
        let ben = reader(app, &newsletter, "ben@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(deliveries(app, first.id).await.len(), 1);
        assert_eq!((first.queued, first.excluded), (1, 1));
        settle_all(app, first.id).await;
        assert_eq!(given(app, ada).await, [0]);

        app.time.advance(Duration::from_hours(72));
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let expected = [
            (ada, "pending".to_owned(), vec![2, 1]),
            (ben, "pending".to_owned(), vec![2]),
        ];
        assert_eq!(deliveries(app, second.id).await, expected);
    }
);

db_test!(
    an_issue_without_anything_for_anyone_is_skipped_and_says_so,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let ada = reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(asia, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let skipped = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        assert_eq!(skipped.state, IssueState::Skipped);
        assert!(skipped.state_reason.is_some());
        assert_eq!(given(app, ada).await, [1]);
    }
);

db_test!(
    a_newsletter_without_postal_address_is_refused,
    async |app: &TestApp| {
        let mut newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let ada = reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        newsletter.postal_address = None;
        let newsletter = add::edit(app, newsletter).await.unwrap();
        let refused = create(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let refused = refused.expect_err("nothing is sent without an address");
        assert!(
            refused.to_string().contains("--postal-address"),
            "{refused}"
        );

        // a schedule's issue fails where the operator sees it, and nothing is lost
        let mut new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        new.kind = IssueKind::Scheduled;
        let failed = send(app, new).await;
        assert_eq!(failed.state, IssueState::Failed);
        assert!(failed.state_reason.unwrap().contains("postal address"));
        assert_eq!(given(app, ada).await, [0]);
    }
);

db_test!(
    a_preview_shows_what_the_real_issue_then_is_and_stores_nothing,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let asia = topic(app, &newsletter, "asia").await;
        for n in 0..5 {
            let email = format!("all-{n}@example.org");
            reader(app, &newsletter, &email, &[(all, Cadence::Daily)], None).await;
        }
        reader(
            app,
            &newsletter,
            "asia@example.org",
            &[(asia, Cadence::Daily)],
            None,
        )
        .await;
        reader(
            app,
            &newsletter,
            "weekly@example.org",
            &[(all, Cadence::Weekly)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &["asia"])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let renderer = Renderer::of(app);
        let shown = preview(app, &renderer, &new).await.unwrap();
        assert_eq!(
            (shown.recipients, shown.nothing_for, shown.paused),
            (6, 1, 0)
        );
        assert_eq!(shown.articles.len(), 2);
        let sample = shown.sample.unwrap();
        assert!(sample.html.contains("article-002") && sample.text.contains("article-001"));
        assert!(
            !sample.html.contains("slot.unsubscribe"),
            "no mark is shown"
        );
        assert!(sample.eml.starts_with(b"From: "));

        let nothing = store::issues::of_newsletter(&app.db, newsletter.id, None, 9).await;
        assert!(nothing.unwrap().is_empty());
        let sent = send(app, new).await;
        let variants = store::prepared::variants(&app.db, sent.id).await.unwrap();
        let real: Vec<_> = variants
            .iter()
            .map(|it| (it.subject.clone(), it.recipients, it.bytes))
            .collect();
        let previewed: Vec<_> = shown
            .variants
            .iter()
            .map(|it| {
                let number = |size: usize| i64::try_from(size).unwrap();
                (it.subject.clone(), number(it.recipients), number(it.bytes))
            })
            .collect();
        assert_eq!(real, previewed);
    }
);

db_test!(
    a_draft_waits_for_an_operator_and_does_not_grow_old_meanwhile,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        new.release_when_prepared = false;
        let draft = send(app, new).await;
        assert_eq!(draft.state, IssueState::Preparing);
        assert!(draft.prepared_at.is_some());
        app.time.advance(Duration::from_hours(24 * 9));
        assert!(
            paperround::issues::release::allow(app, draft.id)
                .await
                .unwrap()
        );
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        let sent = issue(app, draft.id).await;
        assert_eq!(sent.state, IssueState::Sending);
        assert_eq!(sent.released_at, Some(app.now()));
        const EXPIRES: &str = "SELECT expires_at FROM deliveries WHERE issue_id = $1";
        let expires: Timestamp = read_db!(&app.db, |conn| sqlx::query_scalar(EXPIRES)
            .bind(draft.id)
            .fetch_one(conn)
            .await)
        .unwrap();
        assert!(expires > app.now());
    }
);

db_test!(
    a_due_slot_makes_one_issue_however_many_schedulers_look,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 7).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        app.time.advance(Duration::from_hours(24));
        let due = slots::find(&app.db, app.now()).await.unwrap().due.remove(0);
        let (one, two) = tokio::join!(
            compose::create_due(app, due.clone()),
            compose::create_due(app, due.clone())
        );
        let made = [&one, &two].map(|made| matches!(made, Ok(Created::Issue(_))));
        assert_eq!(
            made.iter().filter(|made| **made).count(),
            1,
            "{one:?} {two:?}"
        );
        let issues = store::issues::of_newsletter(&app.db, newsletter.id, None, 9)
            .await
            .unwrap();
        assert_eq!(issues.len(), 1);
        assert_eq!(
            (issues[0].kind, issues[0].max_cards),
            (IssueKind::Scheduled, 7)
        );
        assert_eq!(issues[0].cadences.0, Cadences::NONE.with(Cadence::Daily));
        assert_eq!(issues[0].due_at, due.at);
    }
);

db_test!(
    sixty_articles_fit_and_the_way_out_stands_first,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, (1..=60).map(|n| posted(n, &[])).collect()).await;
        let sent = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let rows = deliveries(app, sent.id).await;
        assert_eq!(rows[0].2, (1..=60).rev().collect::<Vec<_>>());
        let variant = store::prepared::variants(&app.db, sent.id)
            .await
            .unwrap()
            .remove(0);
        let stored = message(app, variant.id).await;
        assert!(Encoded::from_bytes(&stored).unwrap().html_bytes() <= 95_000);
    }
);

const SETTLE_SOME: &str = "UPDATE deliveries SET state = 'sent' WHERE issue_id = $1 AND id < $2";
const SENT: &str = "SELECT deliveries.subscription_id, variants.message
     FROM deliveries JOIN variants ON variants.id = deliveries.variant_id WHERE deliveries.state = 'sent'";
const CHANGE: &str =
    "UPDATE interests SET cadence = $2 WHERE subscription_id = $1 AND cadence = $3";
const PAUSE: &str = "UPDATE subscriptions SET paused_until = $2 WHERE id = $1";

/// Small whole numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// What happens to readers between two issues.
async fn disturb(app: &TestApp, dice: &mut Dice, readers: &[SubscriptionId]) {
    let cadences = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
    for _ in 0..5 {
        let reader = readers[dice.below(readers.len())];
        let (from, to) = (cadences[dice.below(3)], cadences[dice.below(3)]);
        let until = app.now() + Duration::from_hours(24 * dice.below(5) as u64);
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| {
                        sqlx::query(CHANGE)
                            .bind(reader)
                            .bind(to)
                            .bind(from)
                            .execute(&mut *conn)
                            .await?;
                        sqlx::query(PAUSE)
                            .bind(reader)
                            .bind(until)
                            .execute(&mut *conn)
                            .await?;
                    });
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
}

db_test!(
    each_chosen_article_reaches_its_reader_exactly_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let mut topics = Vec::new();
        for slug in ["all", "asia", "europe"] {
            topics.push(topic(app, &newsletter, slug).await);
        }
        let seed = 20_260_707;
        let mut dice = Dice(seed);
        let mut readers = Vec::new();
        let mut wishes: Vec<Vec<usize>> = Vec::new();
        for n in 0..24 {
            // one or two topics, each at a cadence of its own
            let chosen: Vec<usize> = match dice.below(4) {
                0 => vec![0],
                1 => vec![1],
                2 => vec![2],
                _ => vec![1, 2],
            };
            let cadences = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
            let interests: Vec<_> = chosen
                .iter()
                .map(|topic| (topics[*topic], cadences[dice.below(3)]))
                .collect();
            let email = format!("reader-{n}@example.org");
            readers.push(reader(app, &newsletter, &email, &interests, None).await);
            wishes.push(chosen);
        }

        let mut of_topic: Vec<Vec<usize>> = vec![Vec::new(); 3];
        let mut held: Vec<ArticleId> = Vec::new();
        let mut number = 0;
        let mut left_open = false;
        for _ in 0..20 {
            for _ in 0..dice.below(4) {
                number += 1;
                let mut slugs = Vec::new();
                for (index, slug) in [(1, "asia"), (2, "europe")] {
                    if dice.below(2) == 0 {
                        slugs.push(slug);
                        of_topic[index].push(number);
                    }
                }
                of_topic[0].push(number);
                let mut article = posted(number, &slugs);
                let is_held = dice.below(5) == 0;
                article.published_at = is_held.then(|| app.now() + Duration::from_hours(24 * 300));
                let ids = publish(app, &newsletter, vec![article]).await;
                held.extend(ids.into_iter().filter(|_| is_held));
            }
            if dice.below(3) == 0 {
                for id in held.drain(..) {
                    release::release_now(&app.db, newsletter.id, id, app.now())
                        .await
                        .unwrap();
                }
            }
            disturb(app, &mut dice, &readers).await;
            let cadences = match dice.below(4) {
                // an article of two topics must not be given up after the other topic's cadence moved on
                _ if left_open => vec![Cadence::Daily, Cadence::Weekly, Cadence::Monthly],
                0 => vec![Cadence::Daily, Cadence::Weekly, Cadence::Monthly],
                1 => vec![Cadence::Daily, Cadence::Weekly],
                2 => vec![Cadence::Weekly],
                _ => vec![Cadence::Daily],
            };
            app.time.advance(Duration::from_hours(24));
            let new = new_issue(&newsletter, &cadences, app.now());
            if let Created::Issue(id) = create(app, new).await.unwrap() {
                advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
                // some are sent; the rest stays pending, for a later issue to take over
                let some: uuid::Uuid = app.ids.next();
                left_open = dice.below(2) == 0;
                let share = if left_open { some } else { uuid::Uuid::max() };
                settle_below(app, id, share).await;
            }
        }

        // everybody is back, everything is released, and all cadences are due
        for id in held.drain(..) {
            release::release_now(&app.db, newsletter.id, id, app.now())
                .await
                .unwrap();
        }
        app.time.advance(Duration::from_hours(24 * 30));
        let last = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
        if let Created::Issue(id) = create(app, new_issue(&newsletter, &last, app.now()))
            .await
            .unwrap()
        {
            advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
            assert!(matches!(
                issue(app, id).await.state,
                IssueState::Sending | IssueState::Skipped
            ));
        }
        let all = store::issues::of_newsletter(&app.db, newsletter.id, None, 99)
            .await
            .unwrap();
        for one in &all {
            settle_open(app, one.id).await;
        }

        let rows: Vec<(SubscriptionId, Vec<u8>)> =
            read_db!(&app.db, |conn| sqlx::query_as(SENT).fetch_all(conn).await).unwrap();
        for (reader, chosen) in readers.iter().zip(&wishes) {
            let mut got: Vec<usize> = rows
                .iter()
                .filter(|(subscription, _)| subscription == reader)
                .flat_map(|(_, message)| numbers(message))
                .collect();
            got.sort_unstable();
            let mut wanted: Vec<usize> = chosen
                .iter()
                .flat_map(|topic| of_topic[*topic].clone())
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(got, wanted, "seed {seed}, topics {chosen:?}");
        }
        assert!(number > 20 && all.len() > 10 && rows.len() > 50);
    }
);

async fn settle_below(app: &App, id: IssueId, below: uuid::Uuid) {
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SETTLE_SOME)
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

const SETTLE_OPEN: &str =
    "UPDATE deliveries SET state = 'sent' WHERE issue_id = $1 AND state = 'pending'";

async fn settle_open(app: &App, id: IssueId) {
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SETTLE_OPEN)
                    .bind(id)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}
