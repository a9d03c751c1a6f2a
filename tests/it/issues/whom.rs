//! For whom an issue is made, and what it has for them.

use paperround::issues::manual::ManualIssue;

use super::*;
use crate::support::db_test;

const WITHDRAWN: &str = "UPDATE articles SET state = 'withdrawn' WHERE seq = 1";
const DRAFT: &str = "UPDATE schedules SET mode = 'draft'";
const POLICIES: &str = "SELECT in_doubt_policy FROM issues ORDER BY number";

/// The issues that are due are made and prepared, and the relay takes all their mails.
async fn slot(app: &TestApp, newsletter: &Newsletter) -> Vec<IssueId> {
    app.time.advance(Duration::from_hours(24));
    for due in slots::find(&app.db, app.now()).await.unwrap().due {
        compose::create_due(app, due).await.unwrap();
    }
    advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
    let issues = store::issues::of_newsletter(&app.db, newsletter.id, None, 9).await;
    let ids: Vec<_> = issues.unwrap().iter().map(|issue| issue.id).collect();
    for id in &ids {
        settle_all(app, *id).await;
    }
    ids
}

db_test!(
    who_was_paused_gets_an_issue_of_their_own_at_a_slot_without_news,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let until = Some(app.now() + Duration::from_hours(36));
        reader(app, &newsletter, "bob@example.org", &daily, None).await;
        let ada = reader(app, &newsletter, "ada@example.org", &daily, until).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        assert_eq!(slot(app, &newsletter).await.len(), 1);
        assert_eq!(given(app, ada).await, [0], "she is paused");
        let issues = slot(app, &newsletter).await;
        assert_eq!(issues.len(), 2);
        let mail = (ada, "sent".to_owned(), vec![1]);
        assert_eq!(deliveries(app, issues[0]).await, [mail]);
        assert_eq!(slot(app, &newsletter).await.len(), 2, "all have everything");
    }
);

db_test!(
    an_issue_by_hand_is_for_the_cadences_that_were_named,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let of = |cadences: &[Cadence]| {
            let manual = ManualIssue {
                cadences: cadences.to_vec(),
                ..ManualIssue::default()
            };
            manual.issue(app, &newsletter, true).cadences
        };
        for cadence in [Cadence::Weekly, Cadence::Daily] {
            assert_eq!(of(&[cadence]), Cadences::NONE.with(cadence));
        }
        let usual = Cadences::NONE.with(newsletter.default_cadence);
        assert_eq!(of(&[]), usual);
    }
);

db_test!(
    an_issue_of_a_schedule_that_wants_drafts_waits_for_an_operator,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        app.execute(DRAFT).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let issues = slot(app, &newsletter).await;
        let draft = issue(app, issues[0]).await;
        assert_eq!(draft.state, IssueState::Preparing);
        assert!(draft.prepared_at.is_some());
    }
);

db_test!(
    the_setting_decides_for_each_new_issue_what_happens_to_mails_in_doubt,
    [("delivery.in_doubt", "hold")],
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        slot(app, &newsletter).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        send(app, ManualIssue::default().issue(app, &newsletter, true)).await;
        let policies: Vec<String> = read_db!(&app.db, |conn| sqlx::query_scalar(POLICIES)
            .fetch_all(conn)
            .await)
        .unwrap();
        assert_eq!(policies, ["hold", "hold"], "by a schedule and by hand");
    }
);

db_test!(
    a_draft_can_be_released_before_it_is_prepared,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.release_when_prepared = false;
        let Ok(Created::Issue(id)) = create(app, new).await else {
            panic!("there is something to send");
        };
        let allowed = paperround::issues::release::allow(app, id).await;
        assert!(allowed.unwrap());
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        assert_eq!(issue(app, id).await.state, IssueState::Sending);
    }
);

db_test!(
    who_would_get_withdrawn_articles_alone_gets_no_mail,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = [(topic(app, &newsletter, "asia").await, Cadence::Daily)];
        let all = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &asia, None).await;
        let bob = reader(app, &newsletter, "bob@example.org", &all, None).await;
        publish(app, &newsletter, vec![posted(1, &["asia"])]).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        app.execute(WITHDRAWN).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mail = (bob, "pending".to_owned(), vec![2]);
        assert_eq!(deliveries(app, sent.id).await, [mail]);
        assert_eq!(given(app, ada).await, [2], "there is nothing to wait for");
    }
);

db_test!(
    a_preview_has_what_is_taken_over_from_older_mails,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        for number in [1, 2] {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            let new = new_issue(&newsletter, DAILY, app.now());
            let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
            let variants = shown.variants.iter().map(|it| (it.articles, it.recipients));
            let variants: Vec<_> = variants.collect();
            assert_eq!(variants, [(number, 1)]);
            send(app, new).await;
        }
    }
);
