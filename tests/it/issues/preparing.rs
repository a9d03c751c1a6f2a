//! Slots, chunks, crashes, drafts, refusals, the dry run.

use paperround::deliveries::recover;
use paperround::newsletters::slots::Outcome;

use super::*;
use crate::support::db_test;

const WEEKLY_NOW: &str = "UPDATE interests SET cadence = 'weekly' WHERE subscription_id = $1";
const TWO_AT_LEAST: &str = "UPDATE schedules SET min_articles = 2";
const EXPIRES: &str = "SELECT expires_at FROM deliveries WHERE issue_id = $1";

db_test!(
    a_due_slot_makes_one_issue_however_many_schedulers_look,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 7).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        app.time.advance(Duration::from_hours(24));
        let due = slots::find(&app.db, app.now()).await.unwrap().due.remove(0);
        let (one, two) = tokio::join!(
            compose::create_due(app, due.clone()),
            compose::create_due(app, due.clone())
        );
        let made = [&one, &two].map(|made| matches!(made, Ok(Created::Issue(_))));
        assert_eq!(
            made.iter().filter(|made| **made).count(),
            1,
            "{one:?} {two:?}"
        );
        let issues = store::issues::of_newsletter(&app.db, newsletter.id, None, 9)
            .await
            .unwrap();
        assert_eq!(issues.len(), 1);
        assert_eq!(
            (issues[0].kind, issues[0].max_cards),
            (IssueKind::Scheduled, 7)
        );
        assert_eq!(issues[0].cadences.0, Cadences::NONE.with(Cadence::Daily));
        assert_eq!(issues[0].due_at, due.at);
    }
);

db_test!(
    a_slot_below_its_minimum_makes_no_issue_until_there_is_enough,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 7).await;
        let all = topic(app, &newsletter, "all").await;
        let interests = [(all, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &interests, None).await;
        app.execute(TWO_AT_LEAST).await;
        for (number, outcome) in [(1, Outcome::BelowMinimum), (2, Outcome::Issue)] {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            app.time.advance(Duration::from_hours(24));
            let due = slots::find(&app.db, app.now()).await.unwrap().due.remove(0);
            let made = compose::create_due(app, due).await.unwrap();
            let is_made = matches!(made, Created::Issue(_));
            assert_eq!(is_made, outcome == Outcome::Issue, "{made:?}");
            let recent = slots::recent(&app.db, newsletter.id, 1).await.unwrap();
            assert_eq!(recent[0].outcome, outcome);
        }
    }
);

db_test!(
    a_crash_between_and_within_chunks_resumes_with_the_same_bytes_and_everybody_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let asia = topic(app, &newsletter, "asia").await;
        for n in 0..40 {
            let topic = if n % 4 == 0 { asia } else { all };
            let email = format!("reader-{n}@example.org");
            reader(app, &newsletter, &email, &[(topic, Cadence::Daily)], None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &["asia"])]).await;
        let id = frozen(app, &newsletter).await;
        let mut first_bytes = None;
        for crash in 0..200 {
            // each time a new process, which dies after some awaits
            let renderer = Arc::new(Renderer::of(app));
            let mut preparation = Preparation::new(app, &renderer, id, 3);
            let done = timeout(Duration::from_micros(200 * crash), preparation.step()).await;
            let variants = store::prepared::variants(&app.db, id).await.unwrap();
            if let Some(variant) = variants.first() {
                let bytes = message(app, variant.id).await;
                let known = first_bytes.get_or_insert((variant.id, bytes.clone()));
                let again = message(app, known.0).await;
                assert_eq!(known.1, again);
            }
            if matches!(done, Ok(Ok(Step::Prepared))) {
                break;
            }
        }
        let prepared = issue(app, id).await;
        assert!(prepared.prepared_at.is_some());
        assert_eq!((prepared.candidates, prepared.queued), (40, 40));
        let rows = deliveries(app, id).await;
        assert_eq!(rows.len(), 40);
        let variants = store::prepared::variants(&app.db, id).await.unwrap();
        let recipients: Vec<i64> = variants.iter().map(|variant| variant.recipients).collect();
        assert_eq!(recipients, [30, 10]);
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        assert_eq!(issue(app, id).await.state, IssueState::Sending);
    }
);

db_test!(
    two_processes_that_prepare_at_once_make_each_delivery_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        for n in 0..30 {
            let email = format!("reader-{n}@example.org");
            reader(app, &newsletter, &email, &[(all, Cadence::Daily)], None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let Created::Issue(id) = create(app, new).await.unwrap() else {
            panic!("there is something to send");
        };
        let renderer = Arc::new(Renderer::of(app));
        let processes = [0, 1].map(|_| {
            let (app, renderer) = (app.app.clone(), renderer.clone());
            tokio::spawn(async move { advance(&app, &renderer).await })
        });
        for process in processes {
            process.await.unwrap().unwrap();
        }
        advance(app, &renderer).await.unwrap();
        let sent = issue(app, id).await;
        assert_eq!(sent.state, IssueState::Sending);
        assert_eq!((sent.candidates, sent.queued), (30, 30));
        assert_eq!(deliveries(app, id).await.len(), 30);
    }
);

db_test!(
    a_newsletter_without_postal_address_is_refused,
    async |app: &TestApp| {
        let mut newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let ada = reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        newsletter.postal_address = None;
        let newsletter = add::edit(app, newsletter).await.unwrap();
        let refused = create(app, new_issue(&newsletter, &[Cadence::Daily], app.now())).await;
        let refused = refused.expect_err("nothing is sent without an address");
        assert!(
            refused.to_string().contains("--postal-address"),
            "{refused}"
        );

        // a schedule's issue fails where the operator sees it, and nothing is lost
        let mut new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        new.kind = IssueKind::Scheduled;
        let failed = send(app, new).await;
        assert_eq!(failed.state, IssueState::Failed);
        assert!(failed.state_reason.unwrap().contains("postal address"));
        assert_eq!(given(app, ada).await, [0]);
    }
);

db_test!(
    a_preview_shows_what_the_real_issue_then_is_and_stores_nothing,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        let asia = topic(app, &newsletter, "asia").await;
        for n in 0..5 {
            let email = format!("all-{n}@example.org");
            reader(app, &newsletter, &email, &[(all, Cadence::Daily)], None).await;
        }
        reader(
            app,
            &newsletter,
            "asia@example.org",
            &[(asia, Cadence::Daily)],
            None,
        )
        .await;
        reader(
            app,
            &newsletter,
            "weekly@example.org",
            &[(all, Cadence::Weekly)],
            None,
        )
        .await;
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &["asia"])]).await;
        let new = new_issue(&newsletter, &[Cadence::Daily], app.now());
        let renderer = Renderer::of(app);
        let shown = preview(app, &renderer, &new).await.unwrap();
        assert_eq!(
            (shown.recipients, shown.nothing_for, shown.paused),
            (6, 1, 0)
        );
        assert_eq!(shown.articles.len(), 2);
        let sample = shown.sample.unwrap();
        assert!(sample.html.contains("article-002") && sample.text.contains("article-001"));
        assert!(
            !sample.html.contains("slot.unsubscribe"),
            "no mark is shown"
        );
        assert!(sample.eml.starts_with(b"From: "));

        let nothing = store::issues::of_newsletter(&app.db, newsletter.id, None, 9).await;
        assert!(nothing.unwrap().is_empty());
        let sent = send(app, new).await;
        let variants = store::prepared::variants(&app.db, sent.id).await.unwrap();
        let real: Vec<_> = variants
            .iter()
            .map(|it| (it.subject.clone(), it.recipients, it.bytes))
            .collect();
        let previewed: Vec<_> = shown
            .variants
            .iter()
            .map(|it| {
                let number = |size: usize| i64::try_from(size).unwrap();
                (it.subject.clone(), number(it.recipients), number(it.bytes))
            })
            .collect();
        assert_eq!(real, previewed);
    }
);

db_test!(
    a_draft_waits_for_an_operator_and_does_not_grow_old_meanwhile,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let all = topic(app, &newsletter, "all").await;
        reader(
            app,
            &newsletter,
            "ada@example.org",
            &[(all, Cadence::Daily)],
            None,
        )
        .await;
        // a short wait costs nothing worth a new time for everybody
        let short = Duration::from_mins(50);
        let waits = [short, Duration::from_mins(70), Duration::from_hours(24 * 9)];
        for (number, wait) in (1..).zip(waits) {
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            // made long after it was due: what counts is when its mails were made
            let due_at = app.now() - Duration::from_hours(72);
            let mut new = new_issue(&newsletter, &[Cadence::Daily], due_at);
            new.release_when_prepared = false;
            let draft = send(app, new).await;
            assert_eq!(draft.state, IssueState::Preparing);
            assert!(draft.prepared_at.is_some());
            let queued_at = app.now();
            app.time.advance(wait);
            assert_eq!(recover::expire(&app.db, app.now()).await.unwrap(), 0);
            assert!(
                paperround::issues::release::allow(app, draft.id)
                    .await
                    .unwrap()
            );
            advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
            let sent = issue(app, draft.id).await;
            assert_eq!(sent.state, IssueState::Sending);
            assert_eq!(sent.released_at, Some(app.now()));
            let expires: Timestamp = read_db!(&app.db, |conn| sqlx::query_scalar(EXPIRES)
                .bind(draft.id)
                .fetch_one(conn)
                .await)
            .unwrap();
            let begins_at = if wait == short { queued_at } else { app.now() };
            assert_eq!(expires.since(begins_at), Duration::from_hours(48));
            settle_all(app, draft.id).await;
        }
    }
);

db_test!(
    an_article_that_comes_out_while_an_issue_is_prepared_waits_for_the_next,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let id = frozen(app, &newsletter).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        assert_eq!(issue(app, id).await.queued, 1);
        assert_eq!(given(app, ada).await, [1]);
    }
);

db_test!(
    a_reader_who_was_read_ahead_gets_what_they_choose_meanwhile,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        for name in ["ada", "bob", "eve"] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &daily, None).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let id = frozen(app, &newsletter).await;

        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, id, 1);
        let mut seen = Vec::new();
        while let Step::Chunk(counts) = preparation.step().await.unwrap() {
            seen.push((counts.queued, counts.excluded));
            // Bob was read while Ada's mail was written
            if seen.len() == 1 {
                app.execute(
                    "UPDATE interests SET cadence = 'weekly' WHERE subscription_id = (
                    SELECT id FROM subscriptions ORDER BY id LIMIT 1 OFFSET 1)",
                )
                .await;
            }
        }
        assert_eq!(seen, [(1, 0), (0, 1), (1, 0)]);
        assert!(issue(app, id).await.prepared_at.is_some());
    }
);

db_test!(
    a_reader_who_was_read_ahead_and_whom_another_process_prepares_meanwhile_counts_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let later = Some(app.now() + Duration::from_hours(24));
        for (name, paused_until) in [("ada", later), ("bob", later), ("eve", None)] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &daily, paused_until).await;
        }
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let id = frozen(app, &newsletter).await;

        let renderer = Arc::new(Renderer::of(app));
        let mut first = Preparation::new(app, &renderer, id, 1);
        let mut second = Preparation::new(app, &renderer, id, 1);
        // Bob was read while Ada was written, and the other process is faster
        for preparation in [&mut first, &mut second] {
            let step = preparation.step().await.unwrap();
            assert!(matches!(step, Step::Chunk(_)), "{step:?}");
        }
        while first.step().await.unwrap() != Step::Prepared {}
        let prepared = issue(app, id).await;
        assert_eq!(
            (prepared.candidates, prepared.queued, prepared.excluded),
            (3, 1, 2)
        );
    }
);

db_test!(
    a_reader_who_chooses_another_rhythm_while_they_are_prepared_is_read_again,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        let ada = reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let id = frozen(app, &newsletter).await;

        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, id, 10);
        let Ok(Step::Chunk(counts)) = against(app, WEEKLY_NOW, ada, preparation.step()).await
        else {
            panic!("a chunk is done");
        };
        assert_eq!((counts.queued, counts.excluded), (0, 1));
        assert_eq!(given(app, ada).await, [0]);
    }
);

const FIRST_WITHDRAWN: &str = "UPDATE articles SET state = 'withdrawn' WHERE seq = 1";
const ALL_WITHDRAWN: &str = "UPDATE articles SET state = 'withdrawn'";

db_test!(
    what_was_withdrawn_counts_towards_no_minimum_and_makes_no_issue,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 7).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        app.execute(TWO_AT_LEAST).await;
        publish(app, &newsletter, vec![posted(1, &[]), posted(2, &[])]).await;
        app.execute(FIRST_WITHDRAWN).await;
        app.time.advance(Duration::from_hours(24));
        let due = slots::find(&app.db, app.now()).await.unwrap().due.remove(0);
        compose::create_due(app, due).await.unwrap();
        let recent = slots::recent(&app.db, newsletter.id, 1).await.unwrap();
        assert_eq!(recent[0].outcome, Outcome::BelowMinimum);
        app.execute(ALL_WITHDRAWN).await;
        let made = create(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(made.unwrap(), Created::NothingNew);
    }
);

db_test!(
    an_issue_that_waits_for_an_earlier_one_holds_up_no_other_newsletter,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let mut draft = new_issue(&newsletter, DAILY, app.now());
        draft.release_when_prepared = false;
        send(app, draft).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let waits = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(waits.state, IssueState::Scheduled);
        let asia = app.newsletter("asia").await;
        let daily = [(topic(app, &asia, "all").await, Cadence::Daily)];
        reader(app, &asia, "ben@example.org", &daily, None).await;
        publish(app, &asia, vec![posted(3, &[])]).await;
        let sent = send(app, new_issue(&asia, DAILY, app.now())).await;
        assert_eq!((sent.state, sent.number), (IssueState::Sending, 1));
    }
);

db_test!(
    an_issue_that_is_released_wakes_who_sends,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let daily = [(topic(app, &newsletter, "all").await, Cadence::Daily)];
        reader(app, &newsletter, "ada@example.org", &daily, None).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let called = timeout(Duration::ZERO, app.queued.notified()).await;
        assert!(called.is_ok(), "they would look a second later");
    }
);
