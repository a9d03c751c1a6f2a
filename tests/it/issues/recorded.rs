//! What an issue records: of its articles, and of its editor's words.

use paperround::issues::Decision;

use super::*;
use crate::support::db_test;

const SECOND_WITHDRAWN: &str = "UPDATE articles SET state = 'withdrawn' WHERE seq = 2";

db_test!(
    what_was_withdrawn_makes_no_issue_and_stands_in_the_next_with_the_reason,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        app.execute(SECOND_WITHDRAWN).await;
        let made = create(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(made.unwrap(), Created::NothingNew);

        publish(app, &newsletter, vec![posted(3, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (ada, "pending".to_owned(), vec![3]);
        assert_eq!(deliveries(app, next.id).await, [mail]);
        let articles = store::articles::of_issue(&app.db, next.id).await.unwrap();
        let recorded: Vec<_> = articles
            .iter()
            .map(|it| (it.content.seq, it.decision, it.reason.is_some()))
            .collect();
        let expected = [(3, Decision::Card, false), (2, Decision::Withdrawn, true)];
        assert_eq!(recorded, expected);
    }
);

db_test!(
    the_dates_of_a_site_order_its_articles_and_stand_with_them,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        let one_hour_ago = Some(app.now() - Duration::from_hours(1));
        let two_hours_ago = Some(app.now() - Duration::from_hours(2));
        // one without a date stands where it was first seen
        for (number, date) in (1..).zip([one_hour_ago, two_hours_ago, None]) {
            let mut article = posted(number, &[]);
            article.published_at = date;
            publish(app, &newsletter, vec![article]).await;
        }
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (ada, "pending".to_owned(), vec![3, 1, 2]);
        assert_eq!(deliveries(app, sent.id).await, [mail]);
        let articles = store::articles::of_issue(&app.db, sent.id).await.unwrap();
        let dates: Vec<_> = articles.iter().map(|it| it.content.published_at).collect();
        assert_eq!(dates, [None, one_hour_ago, two_hours_ago]);
    }
);

db_test!(
    the_editors_words_stay_with_the_issue_until_it_is_sent,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.subject = Some("A long night".to_owned());
        new.intro = Some("Dear reader".to_owned());
        let sent = send(app, new).await;
        assert_eq!(sent.subject.as_deref(), Some("A long night"));
        assert_eq!(sent.intro.as_deref(), Some("Dear reader"));
        let variants = store::prepared::variants(&app.db, sent.id).await.unwrap();
        assert_eq!(variants[0].subject, "A long night");
    }
);

const MAY_HAVE_ARRIVED: &str = "UPDATE deliveries SET doubt = 1";

db_test!(
    an_issue_considers_nothing_of_an_older_mail_that_may_have_arrived,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        app.execute(MAY_HAVE_ARRIVED).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let next = frozen(app, &newsletter).await;
        let articles = store::articles::of_issue(&app.db, next).await.unwrap();
        let considered: Vec<i64> = articles.iter().map(|it| it.content.seq).collect();
        assert_eq!(considered, [2]);
    }
);
