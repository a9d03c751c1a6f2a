//! An operator's retry of mails that grew too old: their articles may have come with other issues since.

use super::*;
use crate::support::db_test;
use paperround::deliveries::decide::{self, HeldDecision, Refusal};
use paperround::deliveries::{operate, recover};

const WEEKLY: &[Cadence] = &[Cadence::Weekly];

/// A newsletter with a reader of everything each week, and of Asia each day; and the weekly issue with one article about
/// Asia.
async fn weekly(app: &TestApp) -> (Newsletter, SubscriptionId, IssueId) {
    let newsletter = newsletter(app, 12).await;
    let all = topic(app, &newsletter, "all").await;
    let asia = topic(app, &newsletter, "asia").await;
    let both = [(all, Cadence::Weekly), (asia, Cadence::Daily)];
    let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
    publish(app, &newsletter, vec![posted(1, &["asia"])]).await;
    let weekly = send(app, new_issue(&newsletter, WEEKLY, app.now())).await;
    (newsletter, ada, weekly.id)
}

/// The same, and nobody sent it in time.
async fn expired(app: &TestApp) -> (Newsletter, SubscriptionId, IssueId) {
    let all = weekly(app).await;
    grow_old(app).await;
    all
}

async fn grow_old(app: &TestApp) {
    app.time.advance(Duration::from_hours(49));
    assert_eq!(recover::expire(&app.db, app.now()).await.unwrap(), 1);
}

/// Lets the issue's failed mails wait again, and commits when told to.
async fn retry(
    app: &TestApp,
    issue: IssueId,
    commit: impl Future<Output = ()> + Send + 'static,
) -> Result<u64, Refusal> {
    let (db, now) = (app.db.clone(), app.now());
    let expires_at = now + Duration::from_hours(48);
    db.write(move |tx| {
        Box::pin(async move {
            let again = decide::retry_failed(tx, issue, now, expires_at).await?;
            commit.await;
            Ok(again)
        })
    })
    .await
}

const SENT: &str = "UPDATE deliveries SET state = 'sent' WHERE reason IS NULL";
const REFUSED_DAILY: &str = "UPDATE deliveries SET state = 'failed' WHERE reason IS NULL";

db_test!(
    an_article_that_came_with_another_rhythm_meanwhile_is_not_sent_again,
    async |app: &TestApp| {
        let (newsletter, ada, weekly) = expired(app).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await.len(), 1);
        settle_all(app, daily.id).await;
        // sent, and then as if it had been refused: it can be retried itself
        for sql in [SENT, REFUSED_DAILY] {
            app.execute(sql).await;
            let again = retry(app, weekly, async {}).await;
            assert!(matches!(again, Err(Refusal::NothingFailed)), "{again:?}");
        }
        assert_eq!(
            deliveries(app, weekly).await,
            [(ada, "failed".to_owned(), vec![1])]
        );
    }
);

db_test!(
    an_article_that_came_by_a_topic_it_has_no_more_is_not_sent_again,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let both = [(asia, Cadence::Weekly), (europe, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
        publish(
            app,
            &newsletter,
            vec![posted(1, &["asia"]), posted(2, &["europe"])],
        )
        .await;
        let cadences = [Cadence::Daily, Cadence::Weekly];
        let both = send(app, new_issue(&newsletter, &cadences, app.now())).await;
        grow_old(app).await;
        // the second article comes with the next daily issue, and the publisher gives it another topic then
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await.len(), 1);
        settle_all(app, daily.id).await;
        app.execute("DELETE FROM article_topics WHERE topic_id = (SELECT id FROM topics WHERE slug = 'europe')")
            .await;
        let again = retry(app, both.id, async {}).await;
        assert!(matches!(again, Err(Refusal::NothingFailed)), "{again:?}");
        let mut given = given(app, ada).await;
        given.sort_unstable();
        assert_eq!(given, [0, 2]);
    }
);

db_test!(
    a_mail_that_waits_again_while_its_reader_is_prepared_is_the_only_one,
    async |app: &TestApp| {
        let (newsletter, ada, weekly) = expired(app).await;
        // an issue after it is on its way to somebody else
        let monthly = [(topic(app, &newsletter, "all").await, Cadence::Monthly)];
        reader(app, &newsletter, "ben@example.org", &monthly, None).await;
        let monthly = new_issue(&newsletter, &[Cadence::Monthly], app.now());
        let monthly = send(app, monthly).await;
        assert_eq!(deliveries(app, monthly.id).await.len(), 1);
        let daily = frozen(app, &newsletter).await;
        let ((has_begun, begun), (may_end, end)) = (oneshot::channel(), oneshot::channel());
        let commit = async move {
            has_begun.send(()).unwrap();
            end.await.unwrap();
        };
        let retrying = async {
            let again = retry(app, weekly, commit).await;
            assert_eq!(again.unwrap(), 1);
        };
        let preparing = async {
            begun.await.unwrap();
            let renderer = Arc::new(Renderer::of(app));
            let mut preparation = Preparation::new(app, &renderer, daily, 10);
            let mut step = pin!(preparation.step());
            let early = timeout(Duration::from_millis(300), &mut step).await;
            assert!(early.is_err(), "it waits for the operator: {early:?}");
            may_end.send(()).unwrap();
            let Step::Chunk(counts) = step.await.unwrap() else {
                panic!("a chunk is done");
            };
            assert_eq!((counts.queued, counts.excluded), (0, 2));
        };
        tokio::join!(retrying, preparing);
        assert_eq!(
            deliveries(app, weekly).await,
            [(ada, "pending".to_owned(), vec![1])]
        );
        assert_eq!(deliveries(app, daily).await, []);
    }
);

const REFUSED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE";

db_test!(
    an_article_that_nothing_brought_is_sent_again_however_often_its_mail_failed,
    async |app: &TestApp| {
        let (newsletter, ada, weekly) = weekly(app).await;
        app.execute(REFUSED).await;
        // what was refused counts as given: the daily issue has nothing, and moves on all the same
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await, []);
        assert_eq!(given(app, ada).await, [1, 1]);
        for _ in 0..2 {
            assert_eq!(retry(app, weekly, async {}).await.unwrap(), 1);
            grow_old(app).await;
        }
    }
);

const SENT_TO_BEN: &str =
    "UPDATE deliveries SET state = 'sent', is_open = FALSE WHERE recipient = 'ben@example.org'";

db_test!(
    what_reached_another_reader_and_what_came_before_keep_no_mail_from_being_sent_again,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let weekly = [(topic(app, &newsletter, "all").await, Cadence::Weekly)];
        for email in ["ada@example.org", "ben@example.org"] {
            reader(app, &newsletter, email, &weekly, None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let before = send(app, new_issue(&newsletter, WEEKLY, app.now())).await;
        settle_all(app, before.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let issue = send(app, new_issue(&newsletter, WEEKLY, app.now())).await;
        app.execute(SENT_TO_BEN).await;
        grow_old(app).await;
        assert_eq!(retry(app, issue.id, async {}).await.unwrap(), 1);
    }
);

db_test!(
    an_article_whose_other_mail_was_given_up_or_cancelled_is_sent_again,
    async |app: &TestApp| {
        let (newsletter, _, weekly) = expired(app).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await.len(), 1);
        grow_old(app).await;
        assert_eq!(retry(app, weekly, async {}).await.unwrap(), 1);
        grow_old(app).await;

        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await.len(), 1);
        let (id, now) = (daily.id, app.now());
        let cancelled = app
            .db
            .write(move |tx| Box::pin(async move { operate::cancel(tx, id, "a fault", now).await }))
            .await;
        assert!(cancelled.unwrap());
        assert_eq!(operate::skip_cancelled(&app.db, now).await.unwrap(), 1);
        assert_eq!(retry(app, weekly, async {}).await.unwrap(), 1);
    }
);

db_test!(
    a_mail_that_is_sent_again_counts_for_all_interests_that_it_moves,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let both = [(asia, Cadence::Daily), (europe, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
        let articles = vec![posted(1, &["asia"]), posted(2, &["europe"])];
        publish(app, &newsletter, articles).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        grow_old(app).await;
        assert_eq!(given(app, ada).await, [0, 0]);
        assert_eq!(retry(app, daily.id, async {}).await.unwrap(), 1);
        assert_eq!(given(app, ada).await, [2, 2]);
    }
);

db_test!(
    who_has_two_mails_on_their_way_waits_for_the_one_that_cannot_be_taken_over,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let both = [(asia, Cadence::Weekly), (europe, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
        let articles = vec![posted(1, &["asia"]), posted(2, &["europe"])];
        publish(app, &newsletter, articles).await;
        let weekly = send(app, new_issue(&newsletter, WEEKLY, app.now())).await;
        grow_old(app).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(retry(app, weekly.id, async {}).await.unwrap(), 1);

        publish(app, &newsletter, vec![posted(3, &["europe"])]).await;
        let new = new_issue(&newsletter, DAILY, app.now());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        assert_eq!((shown.recipients, shown.waiting), (0, 1));
        let next = send(app, new).await;
        assert_eq!(next.state, IssueState::Skipped, "{:?}", next.state_reason);
        let mail = |state: &str, numbers: &[usize]| (ada, state.to_owned(), numbers.to_vec());
        assert_eq!(deliveries(app, weekly.id).await, [mail("pending", &[1])]);
        assert_eq!(deliveries(app, daily.id).await, [mail("skipped", &[2])]);
        settle_all(app, weekly.id).await;
        let last = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, last.id).await, [mail("pending", &[3, 2])]);
    }
);

const HELD: &str = "UPDATE deliveries SET state = 'held', is_open = FALSE, reason = 'crashed'";

db_test!(
    of_a_mail_that_was_not_sent_come_again_the_articles_of_each_interest_that_has_not_gone_on,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let mut subscriptions = Vec::new();
        for (email, stays, goes_on) in [
            ("ada@example.org", asia, europe),
            ("ben@example.org", europe, asia),
        ] {
            let both = [(stays, Cadence::Weekly), (goes_on, Cadence::Daily)];
            subscriptions.push(reader(app, &newsletter, email, &both, None).await);
        }
        let articles = vec![posted(1, &["asia"]), posted(2, &["europe"])];
        publish(app, &newsletter, articles).await;
        let cadences = [Cadence::Daily, Cadence::Weekly];
        let both = send(app, new_issue(&newsletter, &cadences, app.now())).await;
        app.execute(HELD).await;
        let articles = vec![posted(3, &["asia"]), posted(4, &["europe"])];
        publish(app, &newsletter, articles).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await.len(), 2);
        let (not_sent, now) = (HeldDecision::NotSent, app.now());
        let decided = decide::decide_all(&app.db, both.id, not_sent, now, now).await;
        assert_eq!(decided.unwrap(), 2);
        for subscription in subscriptions {
            let mut given = given(app, subscription).await;
            given.sort_unstable();
            assert_eq!(given, [0, 4]);
        }
    }
);
