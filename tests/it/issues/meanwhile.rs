//! What changes between a look at readers and the write of what they get.

use super::*;
use crate::support::db_test;
use paperround::issues::release::Released;

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

const OVER: &str = "UPDATE issues SET state = 'cancelled' WHERE state IN ('scheduled', 'preparing')
     AND newsletter_id = (SELECT newsletter_id FROM subscriptions WHERE id = $1)";
const PAUSED: &str = "UPDATE issues SET paused_at = created_at WHERE state = 'preparing'
     AND newsletter_id = (SELECT newsletter_id FROM subscriptions WHERE id = $1)";

db_test!(
    an_issue_that_is_cancelled_while_it_is_frozen_stays_so,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, DAILY, app.now());
        let Created::Issue(id) = create(app, new).await.unwrap() else {
            panic!("there is something to send");
        };
        let renderer = Arc::new(Renderer::of(app));
        let steps = against(app, OVER, ada, Box::pin(advance(app, &renderer))).await;
        assert_eq!(steps.unwrap(), 0);
        assert_eq!(issue(app, id).await.state, IssueState::Cancelled);
        assert_eq!(deliveries(app, id).await, []);
    }
);

/// What happens to an issue while it is released, what its article is about, and where the issue stands then.
const WHILE_RELEASED: [(&str, &[&str], IssueState); 3] = [
    // one that has nothing for anybody
    (OVER, &[], IssueState::Cancelled),
    (OVER, &["asia"], IssueState::Cancelled),
    (PAUSED, &["asia"], IssueState::Preparing),
];

db_test!(
    an_issue_that_is_cancelled_or_paused_while_it_is_released_stays_so,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = [(topic(app, &newsletter, "asia").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &asia, None).await;
        for (number, (sql, topics, expected)) in (1..).zip(WHILE_RELEASED) {
            publish(app, &newsletter, vec![posted(number, topics)]).await;
            let mut draft = new_issue(&newsletter, DAILY, app.now());
            draft.release_when_prepared = false;
            let draft = send(app, draft).await;
            assert!(draft.prepared_at.is_some());
            let allowed = paperround::issues::release::allow(app, draft.id).await;
            assert!(allowed.unwrap());
            let releasing = paperround::issues::release::release(app, draft.id);
            let released = against(app, sql, ada, releasing).await;
            assert_eq!(released.unwrap(), Released::NotYet, "{number}");
            let draft = issue(app, draft.id).await;
            let stands = (draft.state, draft.released_at, draft.finished_at);
            assert_eq!(stands, (expected, None, None), "{number}");
        }
    }
);
