//! More than one of a kind: older issues, pages of readers, statements of a chunk, rhythms.

use super::*;
use crate::support::db_test;

const WEEKLY: &[Cadence] = &[Cadence::Weekly];
const BOTH: &[Cadence] = &[Cadence::Daily, Cadence::Weekly];

db_test!(
    what_several_older_issues_have_not_sent_comes_with_the_next,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let (weekly, daily) = ([(all, Cadence::Weekly)], [(all, Cadence::Daily)]);
        let ada = reader(app, &newsletter, "ada@example.org", &weekly, None).await;
        let ben = reader(app, &newsletter, "ben@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut older = Vec::new();
        for (cadences, reader) in [(WEEKLY, ada), (DAILY, ben)] {
            let sent = send(app, new_issue(&newsletter, cadences, app.now())).await;
            let mail = (reader, "pending".to_owned(), vec![1]);
            assert_eq!(deliveries(app, sent.id).await, [mail]);
            older.push(sent.id);
        }
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let new = new_issue(&newsletter, BOTH, app.now());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        let variants = shown.variants.iter().map(|it| (it.articles, it.recipients));
        assert_eq!(variants.collect::<Vec<_>>(), [(2, 2)]);
        let next = send(app, new).await;
        let mails = [ada, ben].map(|reader| (reader, "pending".to_owned(), vec![2, 1]));
        assert_eq!(deliveries(app, next.id).await, mails);
        for id in older {
            assert_eq!(deliveries(app, id).await[0].1, "skipped");
        }
    }
);

db_test!(
    an_issue_of_all_rhythms_is_made_for_each_of_them,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let rhythms = [
            Cadence::Immediate,
            Cadence::Daily,
            Cadence::Weekly,
            Cadence::Monthly,
        ];
        for cadence in rhythms {
            let email = format!("{cadence}@example.org");
            let reader = reader(app, &newsletter, &email, &[(all, cadence)], None).await;
            // all who were there before have it
            let sent = send(app, new_issue(&newsletter, &rhythms, app.now())).await;
            let mail = (reader, "pending".to_owned(), vec![1]);
            assert_eq!(deliveries(app, sent.id).await, [mail], "{cadence}");
            settle_all(app, sent.id).await;
        }
    }
);

const SUBSCRIBERS_SQLITE: &str = "WITH RECURSIVE numbers (n) AS
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
     INSERT INTO subscribers (id, email, email_key, created_at)
     SELECT randomblob(16), 'reader' || n || '@example.org', 'reader' || n || '@example.org', $2 FROM numbers";
const SUBSCRIBERS_POSTGRES: &str = "INSERT INTO subscribers (id, email, email_key, created_at)
     SELECT gen_random_uuid(), 'reader' || n || '@example.org', 'reader' || n || '@example.org', $2
     FROM generate_series(1, CAST($1 AS BIGINT)) AS numbers (n)";
const SUBSCRIPTIONS_SQLITE: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at)
     SELECT randomblob(16), id, $1, 'active', $2 FROM subscribers";
const SUBSCRIPTIONS_POSTGRES: &str =
    "INSERT INTO subscriptions (id, subscriber_id, newsletter_id, state, started_at)
     SELECT gen_random_uuid(), id, $1, 'active', $2 FROM subscribers";
const INTERESTS: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT subscriptions.id, topics.id, 0, 'daily', 0
     FROM subscriptions JOIN topics ON topics.newsletter_id = subscriptions.newsletter_id";

/// So many readers, who want every topic of the newsletter each day.
async fn crowd(app: &TestApp, newsletter: &Newsletter, count: i64) {
    let (newsletter, now) = (newsletter.id, app.now());
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                let subscribers = tx.pick(SUBSCRIBERS_SQLITE, SUBSCRIBERS_POSTGRES);
                let subscriptions = tx.pick(SUBSCRIPTIONS_SQLITE, SUBSCRIPTIONS_POSTGRES);
                write_db!(tx, |conn| {
                    sqlx::query(subscribers)
                        .bind(count)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    sqlx::query(subscriptions)
                        .bind(newsletter)
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                    sqlx::query(INTERESTS).execute(&mut *conn).await?;
                });
                Ok(())
            })
        })
        .await
        .unwrap();
}

const EVERY_TENTH_PAUSES: &str = "UPDATE subscriptions SET paused_until = $1 WHERE subscriber_id IN
         (SELECT id FROM subscribers WHERE email_key LIKE '%0@example.org')";
const EVERY_TENTH_HAS_ALL: &str = "UPDATE interests SET given_seq = 1 WHERE subscription_id IN
         (SELECT subscriptions.id FROM subscriptions
          JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
          WHERE subscribers.email_key LIKE '%1@example.org')";

db_test!(
    a_preview_counts_readers_of_every_page,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        // ten more than stand on a page
        crowd(app, &newsletter, 5010).await;
        let until = app.now() + Duration::from_hours(24);
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(EVERY_TENTH_PAUSES)
                        .bind(until)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        app.execute(EVERY_TENTH_HAS_ALL).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, DAILY, app.now());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        let counts = (shown.recipients, shown.paused, shown.nothing_for);
        assert_eq!(counts, (4008, 501, 501));
    }
);

db_test!(
    all_that_a_chunk_moves_moves_and_is_put_back_however_many_topics_its_readers_have,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        for slug in ["asia", "europe"] {
            topic(app, &newsletter, slug).await;
        }
        // 2103 interests: more than one statement takes
        crowd(app, &newsletter, 701).await;
        for number in [1, 2] {
            publish(app, &newsletter, vec![posted(number, &["asia", "europe"])]).await;
            // the second takes over all that the first has not sent
            let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
            assert_eq!(sent.queued, 701);
            let variants = store::prepared::variants(&app.db, sent.id).await.unwrap();
            let recipients: Vec<i64> = variants.iter().map(|it| it.recipients).collect();
            assert_eq!(recipients, [701]);
            let stored = message(app, variants[0].id).await;
            let articles: Vec<usize> = (1..=number).rev().collect();
            assert_eq!(numbers(&stored), articles);
        }
    }
);

const ARTICLES_SQLITE: &str = "WITH RECURSIVE numbers (n) AS
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
     INSERT INTO articles (id, newsletter_id, seq, state, url, title, summary, content_html, first_seen_at,
         updated_at, content_hash)
     SELECT randomblob(16), $2, n, 'ready', 'https://world.example/' || n, 'Article ' || n, '', '', $3, $3, x'00'
     FROM numbers";
const ARTICLES_POSTGRES: &str = "INSERT INTO articles (id, newsletter_id, seq, state, url, title, summary,
         content_html, first_seen_at, updated_at, content_hash)
     SELECT gen_random_uuid(), $2, n, 'ready', 'https://world.example/' || n, 'Article ' || n, '', '', $3, $3,
         CAST('x' AS BYTEA)
     FROM generate_series(1, CAST($1 AS BIGINT)) AS numbers (n)";

db_test!(
    an_issue_holds_every_article_that_waits_however_many_they_are,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        let (whose, now) = (newsletter.id, app.now());
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    let sql = tx.pick(ARTICLES_SQLITE, ARTICLES_POSTGRES);
                    write_db!(tx, |conn| sqlx::query(sql)
                        .bind(1001_i64)
                        .bind(whose)
                        .bind(now)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        let id = frozen(app, &newsletter).await;
        let articles = store::articles::of_issue(&app.db, id).await.unwrap();
        let mut held: Vec<i64> = articles.iter().map(|it| it.content.seq).collect();
        held.sort_unstable();
        assert_eq!(held, (1..=1001).collect::<Vec<i64>>());
    }
);

const EXPIRES: &str = "SELECT expires_at FROM deliveries WHERE issue_id = $1";

async fn expires(app: &TestApp, id: IssueId) -> Timestamp {
    read_db!(&app.db, |conn| sqlx::query_scalar(EXPIRES)
        .bind(id)
        .fetch_one(conn)
        .await)
    .unwrap()
}

db_test!(
    a_draft_that_is_released_late_gives_new_time_to_its_own_mails_alone,
    async |app: &TestApp| {
        let asia = app.newsletter("asia").await;
        let daily = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "eve@example.org", &daily, None).await;
        publish(app, &asia, vec![posted(1, &[])]).await;
        let other = send(app, new_issue(&asia, DAILY, app.now())).await;
        let before = expires(app, other.id).await;

        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut draft = new_issue(&newsletter, DAILY, app.now());
        draft.release_when_prepared = false;
        let draft = send(app, draft).await;
        app.time.advance(Duration::from_hours(2));
        let allowed = paperround::issues::release::allow(app, draft.id).await;
        assert!(allowed.unwrap());
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        let anew = app.now() + Duration::from_hours(48);
        assert_eq!(expires(app, draft.id).await, anew);
        assert_eq!(expires(app, other.id).await, before);
    }
);

db_test!(
    an_issue_reaches_back_to_the_oldest_that_any_older_mail_has_not_sent,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let until = Some(app.now() + Duration::from_hours(1));
        let ada = reader(app, &newsletter, "ada@example.org", &daily, until).await;
        let ben = reader(app, &newsletter, "ben@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        // Ada's pause is over: her mail begins with the first article, Ben's with the second, and both wait
        app.time.advance(Duration::from_hours(2));
        for (number, hers, his) in [(2, vec![2, 1], vec![2]), (3, vec![3, 2, 1], vec![3, 2])] {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
            let expected = [
                (ada, "pending".to_owned(), hers),
                (ben, "pending".to_owned(), his),
            ];
            assert_eq!(deliveries(app, sent.id).await, expected);
        }
    }
);

db_test!(
    each_newsletter_numbers_its_own_issues,
    async |app: &TestApp| {
        let newsletters = [app.newsletter("asia").await, newsletter(app, 12).await];
        for newsletter in &newsletters {
            let daily = [(topic(app, newsletter, "all").await, Cadence::Daily)];
            let email = format!("ada@{}.example", newsletter.slug);
            reader(app, newsletter, &email, &daily, None).await;
        }
        for (which, number) in [(0, 1), (1, 1), (1, 2), (0, 2), (1, 3)] {
            let newsletter = &newsletters[which];
            publish(app, newsletter, vec![posted(number, &[])]).await;
            let sent = send(app, new_issue(newsletter, DAILY, app.now())).await;
            assert_eq!(usize::try_from(sent.number), Ok(number));
            app.time.advance(Duration::from_mins(1));
        }
    }
);
