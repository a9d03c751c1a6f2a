//! Who left, and who came back.

use super::*;
use crate::support::db_test;

const OFF: &str = "UPDATE interests SET cadence = 'off'";
const ON_AGAIN: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT subscription_id, topic_id, 2, 'daily', 2 FROM interests";

db_test!(
    what_came_out_while_a_reader_was_away_makes_no_issue_and_stands_in_none,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        app.execute(OFF).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        app.execute(ON_AGAIN).await;
        let made = create(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(made.unwrap(), Created::NothingNew);

        publish(app, &newsletter, vec![posted(3, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (ada, "pending".to_owned(), vec![3]);
        assert_eq!(deliveries(app, next.id).await, [mail]);
        let articles = store::articles::of_issue(&app.db, next.id).await.unwrap();
        let considered: Vec<i64> = articles.iter().map(|it| it.content.seq).collect();
        assert_eq!(considered, [3]);
        assert_eq!(given(app, ada).await, [1, 3]);
    }
);

const BEN_LEFT: &str = "UPDATE subscriptions SET state = 'unsubscribed'
     WHERE subscriber_id = (SELECT id FROM subscribers WHERE email_key = 'ben@example.org')";

db_test!(
    the_mail_of_a_reader_who_left_is_not_said_to_come_with_the_next_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        for name in ["ada", "ben", "eve"] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &daily, None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        app.execute(BEN_LEFT).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(second.queued, 2);
        let mails = deliveries(app, first.id).await;
        let states: Vec<&str> = mails.iter().map(|(_, state, _)| state.as_str()).collect();
        // his is skipped when it would be sent, for another reason
        assert_eq!(states, ["skipped", "pending", "skipped"]);
    }
);

const BACK: [&str; 2] = [
    // taking over waits for it
    "UPDATE issues SET paused_at = paused_at WHERE state = 'preparing'
     AND newsletter_id = (SELECT newsletter_id FROM subscriptions WHERE id = $1)",
    "UPDATE subscriptions SET state = 'active' WHERE id = $1",
];

db_test!(
    who_comes_back_while_others_are_prepared_takes_nothing_from_those_behind_them,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        let ben = reader(app, &newsletter, "ben@example.org", &daily, None).await;
        let eve = reader(app, &newsletter, "eve@example.org", &daily, None).await;
        app.execute(BEN_LEFT).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 10);

        // the older mails were read without Ben, and the interests are read again with him
        let ((has_begun, begun), (may_end, end)) = (oneshot::channel(), oneshot::channel::<()>());
        let returning = app.db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                for sql in BACK {
                    write_db!(tx, |conn| sqlx::query(sql)
                        .bind(ben)
                        .execute(conn)
                        .await
                        .map(drop))?;
                }
                has_begun.send(()).unwrap();
                end.await.unwrap();
                Ok(())
            })
        });
        let preparing = async {
            begun.await.unwrap();
            let mut step = pin!(preparation.step());
            let early = timeout(Duration::from_millis(300), &mut step).await;
            assert!(early.is_err(), "it waits for the other write: {early:?}");
            may_end.send(()).unwrap();
            step.await.unwrap()
        };
        let (returned, step) = tokio::join!(returning, preparing);
        returned.unwrap();
        assert!(matches!(step, Step::Chunk(_)), "{step:?}");
        let mails = [ada, eve].map(|reader| (reader, "pending".to_owned(), vec![2, 1]));
        assert_eq!(deliveries(app, second).await, mails);
        assert_eq!(given(app, ben).await, [0]);
    }
);
