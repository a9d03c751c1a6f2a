//! What an issue that is over leaves to the next.

use super::*;
use crate::support::db_test;
use paperround::deliveries::operate;

const CLAIMED: &str = "UPDATE deliveries SET state = 'claimed', owner = id";

/// What the command does, but for putting back its articles.
async fn cancel(app: &TestApp, id: IssueId) {
    let now = app.now();
    let cancelled = app
        .db
        .write(move |tx| Box::pin(async move { operate::cancel(tx, id, "a fault", now).await }))
        .await;
    assert!(cancelled.unwrap());
}

db_test!(
    a_claimed_mail_of_a_cancelled_issue_keeps_nobody_from_the_next,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        app.execute(CLAIMED).await;
        cancel(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (ada, "pending".to_owned(), vec![2, 1]);
        assert_eq!(deliveries(app, second.id).await, [mail]);
        assert_eq!(deliveries(app, first.id).await[0].1, "skipped");
    }
);

db_test!(
    an_issue_that_waits_for_its_release_holds_up_the_next_until_it_is_over,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut draft = new_issue(&newsletter, DAILY, app.now());
        draft.release_when_prepared = false;
        let draft = send(app, draft).await;
        assert!(draft.prepared_at.is_some());
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(next.state, IssueState::Scheduled);

        cancel(app, draft.id).await;
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        let mail = (ada, "pending".to_owned(), vec![2, 1]);
        assert_eq!(deliveries(app, next.id).await, [mail]);
    }
);

const CANCELLED: &str = "UPDATE issues SET state = 'cancelled'
     WHERE newsletter_id = (SELECT newsletter_id FROM subscriptions WHERE id = $1)";

db_test!(
    an_issue_cancelled_while_its_readers_are_looked_at_makes_no_mail,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let id = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, id, 10);
        let step = against(app, CANCELLED, ada, preparation.step()).await;
        assert!(matches!(step, Ok(Step::Elsewhere)), "{step:?}");
        assert_eq!(deliveries(app, id).await, []);
        assert_eq!(given(app, ada).await, [0]);
    }
);

db_test!(
    of_issues_that_wait_the_one_that_was_due_first_has_its_turn_first,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut ids = Vec::new();
        for hours in [1, 3, 2] {
            let due_at = app.now() - Duration::from_hours(hours);
            let mut draft = new_issue(&newsletter, DAILY, due_at);
            draft.release_when_prepared = false;
            let Ok(Created::Issue(id)) = create(app, draft).await else {
                panic!("there is something to send");
            };
            ids.push(id);
            // ids of one millisecond are in no order
            app.time.advance(Duration::from_millis(1));
        }
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        let mut states = Vec::new();
        for id in ids {
            states.push(issue(app, id).await.state);
        }
        let (waits, is_prepared) = (IssueState::Scheduled, IssueState::Preparing);
        assert_eq!(states, [waits, is_prepared, waits]);
    }
);

const SETTLED: &str = "SELECT reason, settled_at FROM deliveries WHERE state = 'skipped'";

db_test!(
    a_mail_that_the_next_issue_takes_over_says_so_and_when,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        for number in [1, 2] {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            send(app, new_issue(&newsletter, DAILY, app.now())).await;
        }
        let rows: Vec<(Option<String>, Option<Timestamp>)> =
            read_db!(&app.db, |conn| sqlx::query_as(SETTLED)
                .fetch_all(conn)
                .await)
            .unwrap();
        assert_eq!(rows, [(Some("superseded".to_owned()), Some(app.now()))]);
    }
);

db_test!(
    an_issue_that_came_to_nothing_says_when,
    async |app: &TestApp| {
        let mut newsletter = newsletter(app, 12).await;
        let asia = [(topic(app, &newsletter, "asia").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &asia, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let skipped = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let ended = (skipped.state, skipped.finished_at);
        assert_eq!(ended, (IssueState::Skipped, Some(app.now())));

        newsletter.postal_address = None;
        let newsletter = add::edit(app, newsletter).await.unwrap();
        publish(app, &newsletter, vec![posted(2, &["asia"])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.kind = IssueKind::Scheduled;
        let failed = send(app, new).await;
        let ended = (failed.state, failed.finished_at);
        assert_eq!(ended, (IssueState::Failed, Some(app.now())));
    }
);

db_test!(
    an_issue_that_fails_holds_up_no_other,
    async |app: &TestApp| {
        let mut newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        newsletter.postal_address = None;
        let newsletter = add::edit(app, newsletter).await.unwrap();
        // it has its turn first
        let due_at = app.now() - Duration::from_hours(1);
        let mut new = new_issue(&newsletter, DAILY, due_at);
        new.kind = IssueKind::Scheduled;
        let Ok(Created::Issue(failing)) = create(app, new).await else {
            panic!("there is something to send");
        };
        let asia = app.newsletter("asia").await;
        let daily = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "eve@example.org", &daily, None).await;
        publish(app, &asia, vec![posted(2, &[])]).await;
        let sent = send(app, new_issue(&asia, DAILY, app.now())).await;
        assert_eq!(issue(app, failing).await.state, IssueState::Failed);
        assert_eq!(sent.state, IssueState::Sending);
    }
);

db_test!(
    what_is_being_sent_or_over_waits_for_no_release,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let allow = || paperround::issues::release::allow(app, sent.id);
        assert!(!allow().await.unwrap(), "it is being sent");
        cancel(app, sent.id).await;
        assert!(!allow().await.unwrap(), "it is cancelled");
    }
);

db_test!(
    an_issue_with_the_articles_of_a_cancelled_one_has_mails_of_its_own,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        cancel(app, first.id).await;
        let skipped = operate::skip_cancelled(&app.db, app.now()).await;
        assert_eq!(skipped.unwrap(), 1);
        let again = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        for id in [first.id, again.id] {
            let variants = store::prepared::variants(&app.db, id).await.unwrap();
            let recipients: Vec<i64> = variants.iter().map(|it| it.recipients).collect();
            assert_eq!(recipients, [1]);
        }
        assert_eq!(again.subject.as_deref(), Some("Article 1"));
    }
);

const PAUSE: &str = "UPDATE issues SET paused_at = created_at WHERE state = 'preparing'";
const RESUME: &str = "UPDATE issues SET paused_at = NULL";

db_test!(
    an_issue_that_is_paused_while_it_is_prepared_stays_so_whether_or_not_it_has_mails,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = [(topic(app, &newsletter, "asia").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &asia, None).await;
        let cases: [(usize, &[&str], IssueState); 2] = [
            (1, &["asia"], IssueState::Sending),
            (2, &[], IssueState::Skipped),
        ];
        for (number, topics, expected) in cases {
            publish(app, &newsletter, vec![posted(number, topics)]).await;
            let id = frozen(app, &newsletter).await;
            app.execute(PAUSE).await;
            advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
            let paused = issue(app, id).await;
            assert_eq!(paused.state, IssueState::Preparing, "{expected}");
            assert!(paused.prepared_at.is_some());
            app.execute(RESUME).await;
            advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
            assert_eq!(issue(app, id).await.state, expected);
            settle_all(app, id).await;
        }
    }
);

const CHANGES: [(&str, &str); 2] = [
    (
        "UPDATE issues SET candidates = candidates + 1",
        "UPDATE issues SET candidates = candidates - 1",
    ),
    (
        "UPDATE issues SET candidates = candidates + 1, queued = queued + 1",
        "UPDATE issues SET candidates = candidates - 1, queued = queued - 1",
    ),
];

db_test!(
    an_issue_is_released_only_when_all_its_mails_are_there_and_all_its_readers_are_counted,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        for (number, (wrong, right)) in (1..).zip(CHANGES) {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            let mut draft = new_issue(&newsletter, DAILY, app.now());
            draft.release_when_prepared = false;
            let draft = send(app, draft).await;
            let allowed = paperround::issues::release::allow(app, draft.id).await;
            assert!(allowed.unwrap());
            for (sql, expected) in [(wrong, IssueState::Preparing), (right, IssueState::Sending)] {
                app.execute(sql).await;
                advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
                assert_eq!(issue(app, draft.id).await.state, expected, "{sql}");
            }
            settle_all(app, draft.id).await;
        }
    }
);

const IN_HAND: &str = "SELECT COUNT(*) FROM deliveries WHERE owner IS NOT NULL";

db_test!(
    a_claimed_mail_that_the_next_issue_takes_over_is_in_nobodys_hand,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        app.execute(CLAIMED).await;
        cancel(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, first.id).await[0].1, "skipped");
        let in_hand: i64 = read_db!(&app.db, |conn| sqlx::query_scalar(IN_HAND)
            .fetch_one(conn)
            .await)
        .unwrap();
        assert_eq!(in_hand, 0, "its worker could never be forgotten");
    }
);
