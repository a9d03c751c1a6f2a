//! For whom an issue is made, and what it has for them.

use paperround::issues::manual::ManualIssue;
use paperround::newsletters::slots::Outcome;

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
    an_issue_by_hand_has_the_words_that_it_was_given,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let manual = ManualIssue {
            subject: Some("A long night".to_owned()),
            intro: Some("Dear reader".to_owned()),
            ..ManualIssue::default()
        };
        for release in [true, false] {
            let new = manual.issue(app, &newsletter, release);
            assert_eq!((new.kind, new.due_at), (IssueKind::Manual, app.now()));
            assert_eq!((new.max_cards, new.release_when_prepared), (12, release));
            assert_eq!(new.subject.as_deref(), Some("A long night"));
            assert_eq!(new.intro.as_deref(), Some("Dear reader"));
        }
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

db_test!(
    no_issue_is_made_where_only_readers_whom_it_does_not_serve_lack_something,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let (daily, weekly) = ([(all, Cadence::Daily)], [(all, Cadence::Weekly)]);
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, sent.id).await;
        // of another rhythm, and of another newsletter
        reader(app, &newsletter, "ben@example.org", &weekly, None).await;
        let asia = app.newsletter("asia").await;
        let daily = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "eve@example.org", &daily, None).await;
        let made = create(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(made.unwrap(), Created::NothingNew);
        let made = create(app, new_issue(&newsletter, &[Cadence::Weekly], app.now())).await;
        assert!(matches!(made, Ok(Created::Issue(_))));
    }
);

db_test!(
    what_another_newsletter_has_neither_counts_nor_comes,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = app.newsletter("asia").await;
        publish(app, &asia, (1..=3).map(|n| posted(n, &[])).collect()).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(7, &[])]).await;
        let issues = slot(app, &newsletter).await;
        let mail = (ada, "sent".to_owned(), vec![7]);
        assert_eq!(deliveries(app, issues[0]).await, [mail]);
        assert_eq!(given(app, ada).await, [1]);
    }
);

db_test!(
    a_slot_with_articles_and_nobody_for_them_says_that_there_was_nothing_new,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        assert!(slot(app, &newsletter).await.is_empty());
        let recent = slots::recent(&app.db, newsletter.id, 9).await.unwrap();
        let settled: Vec<_> = recent.iter().map(|it| (it.outcome, it.issue_id)).collect();
        assert_eq!(settled, [(Outcome::NothingNew, None)]);
    }
);

const TWO_FOR_A_WEEK: &str = "UPDATE schedules SET min_articles = 2 WHERE cadence = 'weekly'";

db_test!(
    of_schedules_due_together_the_one_with_too_little_has_no_part_in_the_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
        let weekly = NewSchedule::usual(Cadence::Weekly, time, zone);
        add::schedule(app, newsletter.id, weekly).await.unwrap();
        app.execute(TWO_FOR_A_WEEK).await;
        let all = topic(app, &newsletter, "all").await;
        for (email, cadence) in [
            ("ada@example.org", Cadence::Daily),
            // who lacks the article, and waits for a second one
            ("bob@example.org", Cadence::Weekly),
        ] {
            reader(app, &newsletter, email, &[(all, cadence)], None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        // Monday comes a day later
        app.time.advance(Duration::from_hours(24 * 5));
        let issues = slot(app, &newsletter).await;
        assert_eq!(issues.len(), 1);
        let made = issue(app, issues[0]).await;
        assert_eq!(made.cadences.0, Cadences::NONE.with(Cadence::Daily));
        let recent = slots::recent(&app.db, newsletter.id, 9).await.unwrap();
        let mut settled: Vec<_> = recent
            .iter()
            .map(|it| (it.cadence, it.outcome, it.issue_id))
            .collect();
        settled.sort_unstable();
        let expected = [
            (Cadence::Daily, Outcome::Issue, Some(issues[0])),
            (Cadence::Weekly, Outcome::BelowMinimum, None),
        ];
        assert_eq!(settled, expected);
    }
);

const CAME_BACK: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT subscription_id, topic_id, 1, cadence, 1 FROM interests";
const LEFT: &str = "UPDATE interests SET cadence = 'off' WHERE start_seq = 0";

db_test!(
    who_left_and_came_back_gets_what_came_out_since_they_are_back,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        app.execute(CAME_BACK).await;
        app.execute(LEFT).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(next.state, IssueState::Sending);
        let mail = (ada, "pending".to_owned(), vec![2]);
        assert_eq!(deliveries(app, next.id).await, [mail]);
        assert_eq!(given(app, ada).await, [0, 2]);
    }
);

db_test!(
    a_pause_is_over_at_the_moment_until_which_it_was_meant,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let until = app.now() + Duration::from_hours(24);
        let ada = reader(app, &newsletter, "ada@example.org", &daily, Some(until)).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        app.time.set(until);
        let sent = send(app, new_issue(&newsletter, DAILY, until)).await;
        let mail = (ada, "pending".to_owned(), vec![1]);
        assert_eq!(deliveries(app, sent.id).await, [mail]);
    }
);

db_test!(
    of_slots_without_news_only_those_whose_readers_lack_something_have_a_part_in_the_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
        let weekly = NewSchedule::usual(Cadence::Weekly, time, zone);
        add::schedule(app, newsletter.id, weekly).await.unwrap();
        let all = topic(app, &newsletter, "all").await;
        let (daily, weekly) = ([(all, Cadence::Daily)], [(all, Cadence::Weekly)]);
        let until = Some(app.now() + Duration::from_hours(36));
        reader(app, &newsletter, "ada@example.org", &daily, until).await;
        reader(app, &newsletter, "ben@example.org", &weekly, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let both = [Cadence::Daily, Cadence::Weekly];
        let first = send(app, new_issue(&newsletter, &both, app.now())).await;
        settle_all(app, first.id).await;
        // Monday comes a day later, and Ada's pause is over
        app.time.advance(Duration::from_hours(24 * 5));
        let issues = slot(app, &newsletter).await;
        assert_eq!(issues.len(), 2);
        let recent = slots::recent(&app.db, newsletter.id, 9).await.unwrap();
        let mut settled: Vec<_> = recent
            .iter()
            .map(|it| (it.cadence, it.outcome, it.issue_id))
            .collect();
        settled.sort_unstable();
        let expected = [
            (Cadence::Daily, Outcome::Issue, Some(issues[0])),
            (Cadence::Weekly, Outcome::NothingNew, None),
        ];
        assert_eq!(settled, expected);
    }
);

const EXPIRES: &str = "SELECT expires_at FROM deliveries";

async fn expires(app: &TestApp) -> Timestamp {
    read_db!(&app.db, |conn| sqlx::query_scalar(EXPIRES)
        .fetch_one(conn)
        .await)
    .unwrap()
}

db_test!(
    a_mail_is_tried_for_as_long_as_the_setting_says,
    [("delivery.give_up_after", "24h")],
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut new = new_issue(&newsletter, DAILY, app.now());
        new.release_when_prepared = false;
        let draft = send(app, new).await;
        let day = Duration::from_hours(24);
        assert_eq!(expires(app).await, app.now() + day, "prepared");
        app.time.advance(Duration::from_hours(2));
        let allowed = paperround::issues::release::allow(app, draft.id).await;
        assert!(allowed.unwrap());
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        assert_eq!(expires(app).await, app.now() + day, "released");
    }
);

const BEN_LEFT: &str = "UPDATE subscriptions SET state = 'unsubscribed'
     WHERE subscriber_id = (SELECT id FROM subscribers WHERE email_key = 'ben@example.org')";

db_test!(
    an_issue_looks_at_active_readers_of_its_newsletter_alone,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        reader(app, &newsletter, "ben@example.org", &daily, None).await;
        let asia = app.newsletter("asia").await;
        let theirs = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "eve@example.org", &theirs, None).await;
        app.execute(BEN_LEFT).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, DAILY, app.now());
        let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
        assert_eq!((shown.recipients, shown.nothing_for), (1, 0));
        let sent = send(app, new).await;
        assert_eq!((sent.candidates, sent.queued, sent.excluded), (1, 1, 0));
    }
);

db_test!(
    articles_of_another_newsletter_make_no_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, sent.id).await;
        let asia = app.newsletter("asia").await;
        publish(app, &asia, (1..=3).map(|n| posted(n, &[])).collect()).await;
        let made = create(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(made.unwrap(), Created::NothingNew);
    }
);

db_test!(
    a_slot_with_too_little_says_so_also_where_the_others_have_nobody,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
        let weekly = NewSchedule::usual(Cadence::Weekly, time, zone);
        add::schedule(app, newsletter.id, weekly).await.unwrap();
        app.execute(TWO_FOR_A_WEEK).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        // Monday comes a day later
        app.time.advance(Duration::from_hours(24 * 5));
        assert!(slot(app, &newsletter).await.is_empty());
        let recent = slots::recent(&app.db, newsletter.id, 9).await.unwrap();
        let mut settled: Vec<_> = recent.iter().map(|it| (it.cadence, it.outcome)).collect();
        settled.sort_unstable();
        let expected = [
            (Cadence::Daily, Outcome::NothingNew),
            (Cadence::Weekly, Outcome::BelowMinimum),
        ];
        assert_eq!(settled, expected);
    }
);

const ON_ITS_WAY: &str = "UPDATE deliveries SET state = 'claimed', owner = id";

db_test!(
    who_waits_for_the_end_of_an_older_mail_counts_among_those_an_issue_looked_at,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        app.execute(ON_ITS_WAY).await;
        reader(app, &newsletter, "ben@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!((next.candidates, next.queued, next.excluded), (2, 1, 1));
    }
);
