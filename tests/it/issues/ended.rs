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
