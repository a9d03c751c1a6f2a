//! What stands in a mail, and who gets one.

use paperround::feeds::store as feeds;
use paperround::issues::article::ArticleImage;

use super::*;
use crate::support::db_test;

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

db_test!(
    no_issue_is_made_for_readers_who_all_pause,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let until = Some(app.now() + Duration::from_hours(1));
        reader(app, &newsletter, "ada@example.org", &daily, until).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let made = create(app, new.clone()).await.unwrap();
        assert_eq!(made, Created::NothingNew);
        app.time.advance(Duration::from_hours(1));
        let made = create(app, new).await.unwrap();
        assert!(matches!(made, Created::Issue(_)));
    }
);

db_test!(
    the_subject_that_most_readers_got_stands_for_the_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        for (name, about) in [("ada", asia), ("ben", europe), ("eve", europe)] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &[(about, Cadence::Daily)], None).await;
        }
        let articles = vec![posted(1, &["asia"]), posted(2, &["europe"])];
        publish(app, &newsletter, articles).await;
        let sent = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let subject = sent.subject.expect("it is prepared");
        assert!(subject.contains("Article 2"), "{subject}");
    }
);

db_test!(
    over_an_article_stands_its_topic_and_nothing_where_it_has_only_all,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        topic(app, &newsletter, "asia").await;
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &["asia"])]).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        let named: Vec<_> = articles
            .into_iter()
            .map(|article| (article.content.seq, article.content.topic_name))
            .collect();
        assert_eq!(named, [(2, Some("asia".to_owned())), (1, None)]);
    }
);

db_test!(
    over_an_article_of_several_topics_stands_the_first_of_the_newsletters_order,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        for slug in ["europe", "asia"] {
            topic(app, &newsletter, slug).await;
        }
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &["asia", "europe"])]).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        let named = articles[0].content.topic_name.as_deref();
        assert_eq!(named, Some("europe"));
    }
);

const PICTURE: &str =
    "UPDATE articles SET author = 'Aroha Ngata', image_url = 'https://world.example/a.jpg',
     image_width = 1200, image_height = 800, image_alt = 'A harbour'";

db_test!(
    an_issue_has_an_article_as_its_site_had_it,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        app.execute(PICTURE).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mut articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        let content = articles.remove(0).content;
        assert_eq!(content.title, "Article 1");
        assert_eq!(content.url, "https://world.example/article-001");
        assert_eq!(content.summary, "What happened, and why it matters.");
        assert_eq!(content.author.as_deref(), Some("Aroha Ngata"));
        let picture = ArticleImage {
            url: "https://world.example/a.jpg".to_owned(),
            width: Some(1200),
            height: Some(800),
            alt: "A harbour".to_owned(),
        };
        assert_eq!(content.image, Some(picture));
    }
);

db_test!(
    an_issue_considers_no_article_that_all_its_readers_have_had,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        // a mail of another newsletter is on its way
        let asia = app.newsletter("asia").await;
        let theirs = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "eve@example.org", &theirs, None).await;
        publish(app, &asia, vec![posted(7, &[])]).await;
        send(app, new_issue(&asia, DAILY, app.now())).await;
        for (number, seq) in [(1, 1), (2, 2)] {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
            settle_all(app, sent.id).await;
            let articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
            let considered: Vec<i64> = articles.iter().map(|it| it.content.seq).collect();
            assert_eq!(considered, [seq]);
        }
    }
);

const ON_THE_WIRE: &str = "SELECT recipient, domain_key FROM deliveries";

db_test!(
    a_mail_goes_to_the_address_as_it_is_written_on_the_wire,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "Ada@Bücher.example", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let rows: Vec<(String, String)> = read_db!(&app.db, |conn| sqlx::query_as(ON_THE_WIRE)
            .fetch_all(conn)
            .await)
        .unwrap();
        let domain = "xn--bcher-kva.example".to_owned();
        assert_eq!(rows, [(format!("Ada@{domain}"), domain)]);
    }
);

async fn hold(app: &TestApp, id: ArticleId) -> bool {
    let work = app
        .db
        .write(move |tx| Box::pin(async move { feeds::hold(tx, id, "second reading").await }));
    work.await.unwrap()
}

const ENDS: [(&str, bool); 4] = [
    ("UPDATE issues SET state = 'finished'", false),
    ("UPDATE issues SET state = 'cancelled'", false),
    ("UPDATE issues SET state = 'skipped'", true),
    ("UPDATE issues SET state = 'failed'", true),
];

db_test!(
    an_article_that_a_reader_may_have_been_given_cannot_be_held,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        let id = publish(app, &newsletter, vec![posted(1, &[])]).await[0];
        let issue = frozen(app, &newsletter).await;
        assert!(!hold(app, id).await, "its issue is being prepared");
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        settle_all(app, issue).await;
        assert!(!hold(app, id).await, "it was sent");
        for (end, expected) in ENDS {
            app.execute(end).await;
            assert_eq!(hold(app, id).await, expected, "{end}");
            let again = release::release_now(&app.db, newsletter.id, id, app.now()).await;
            assert_eq!(again.unwrap(), expected, "{end}");
        }
    }
);

db_test!(
    an_article_of_several_topics_reaches_the_readers_of_each,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let slugs = ["asia", "europe", "africa"];
        let mut readers = Vec::new();
        for slug in slugs {
            let daily = [(topic(app, &newsletter, slug).await, Cadence::Daily)];
            let email = format!("ada@{slug}.example");
            readers.push(reader(app, &newsletter, &email, &daily, None).await);
        }
        publish(app, &newsletter, vec![posted(1, &slugs)]).await;
        let sent = send(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let mails = deliveries(app, sent.id).await;
        let expected = readers
            .into_iter()
            .map(|it| (it, "pending".to_owned(), vec![1]));
        assert_eq!(mails, expected.collect::<Vec<_>>());
    }
);
