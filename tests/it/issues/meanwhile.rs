//! What changes between a look at readers and the write of what they get.

use super::*;
use crate::support::db_test;

const PREPARED_ELSEWHERE: &str = "UPDATE issues SET prepared_to = $1 WHERE state = 'preparing'";
const CANCELLED: &str = "UPDATE issues SET state = 'cancelled' WHERE state = 'preparing'
     AND newsletter_id = (SELECT newsletter_id FROM subscriptions WHERE id = $1)";

/// Ada's older mail waits, and the next issue is about to take it over, when another process does `sql` with her
/// subscription: then nothing is taken over.
async fn nothing_is_taken_over_against(app: &TestApp, sql: &'static str) {
    let newsletter = newsletter(app, 12).await;
    let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
    let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
    publish(app, &newsletter, vec![posted(1, &[])]).await;
    let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
    publish(app, &newsletter, vec![posted(2, &[])]).await;
    let second = frozen(app, &newsletter).await;
    let renderer = Arc::new(Renderer::of(app));
    let mut preparation = Preparation::new(app, &renderer, second, 10);
    let step = against(app, sql, ada, preparation.step()).await;
    assert!(matches!(step, Ok(Step::Elsewhere)), "{step:?}");
    let mail = (ada, "pending".to_owned(), vec![1]);
    assert_eq!(deliveries(app, first.id).await, [mail]);
    assert_eq!(given(app, ada).await, [1]);
}

db_test!(
    who_was_slower_at_a_chunk_takes_nothing_over,
    async |app: &TestApp| {
        nothing_is_taken_over_against(app, PREPARED_ELSEWHERE).await;
    }
);

db_test!(
    an_issue_that_is_cancelled_meanwhile_takes_nothing_over,
    async |app: &TestApp| {
        nothing_is_taken_over_against(app, CANCELLED).await;
    }
);

const SENT_AND_UNHEARD: &str = "UPDATE deliveries SET doubt = 1 WHERE subscription_id = $1";

db_test!(
    a_mail_that_may_have_arrived_meanwhile_is_not_taken_over,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 10);
        let step = against(app, SENT_AND_UNHEARD, ada, preparation.step()).await;
        assert!(matches!(step, Ok(Step::Chunk(_))), "{step:?}");
        assert_eq!(deliveries(app, first.id).await[0].1, "pending");
        assert_eq!(deliveries(app, second).await, []);
        assert_eq!(given(app, ada).await, [1], "the other comes later");
    }
);

const NOT_SENT: &str = "UPDATE interests SET given_seq = 0 WHERE subscription_id = $1";

db_test!(
    a_reader_whose_articles_are_put_back_meanwhile_loses_none,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 10);
        // an operator decides that the first, which was held, was not sent: the second does not have its article
        let step = against(app, NOT_SENT, ada, preparation.step()).await;
        let Ok(Step::Chunk(counts)) = &step else {
            panic!("a chunk is done: {step:?}");
        };
        assert_eq!((counts.queued, counts.excluded), (0, 1));
        assert_eq!(given(app, ada).await, [0], "both come with the next");
    }
);

const CAME_BACK: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT subscription_id, topic_id, 1, cadence, 1 FROM interests";
const LEFT: &str = "UPDATE interests SET cadence = 'off' WHERE start_seq = 0";
const FIRST_CANCELLED: &str = "UPDATE issues SET state = 'cancelled' WHERE number = 1";

db_test!(
    what_is_put_back_is_not_due_to_a_wish_that_began_after_it,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        // before it is sent, she turns the topic off and on again, and the issue is cancelled
        for sql in [CAME_BACK, LEFT, FIRST_CANCELLED] {
            app.execute(sql).await;
        }
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (ada, "pending".to_owned(), vec![2]);
        assert_eq!(deliveries(app, next.id).await, [mail]);
        assert_eq!(given(app, ada).await, [0, 2]);
    }
);

db_test!(
    who_was_read_ahead_and_whose_older_mail_is_sent_meanwhile_waits_for_nothing,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        let ben = reader(app, &newsletter, "ben@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 1);
        let step = preparation.step().await.unwrap();
        assert!(matches!(step, Step::Chunk(_)), "{step:?}");
        // Ben was read while Ada was written: his first mail still waited
        settle_all(app, first.id).await;
        while preparation.step().await.unwrap() != Step::Prepared {}
        let mail = |reader, numbers: &[usize]| (reader, "pending".to_owned(), numbers.to_vec());
        let expected = [mail(ada, &[2, 1]), mail(ben, &[2])];
        assert_eq!(deliveries(app, second).await, expected);
    }
);
