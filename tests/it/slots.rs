use std::collections::BTreeSet;
use std::time::Duration;

use paperround::app::App;
use paperround::clock::Timestamp;
use paperround::feeds::publish::{self, PostedArticle};
use paperround::feeds::release;
use paperround::id::IssueId;
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::slots::{self, DueIssue, Outcome};
use paperround::newsletters::{Cadence, Cadences, Newsletter};
use paperround::write_db;
use sqlx::types::Json;

use crate::support::{TestApp, db_test};

async fn newsletter(app: &App) -> Newsletter {
    newsletter_named(app, "world").await
}

/// A newsletter due each day at 07:00 in Berlin.
async fn newsletter_named(app: &App, slug: &str) -> Newsletter {
    let new = NewNewsletter {
        slug: slug.parse().unwrap(),
        name: "World".to_owned(),
        description: String::new(),
        from_name: "World".to_owned(),
        from_address: "world@example.org".to_owned(),
        reply_to: None,
        postal_address: None,
        locale: "en".to_owned(),
        schedule: NewSchedule::usual(
            Cadence::Daily,
            "07:00".parse().unwrap(),
            "Europe/Berlin".parse().unwrap(),
        ),
        form_origins: Vec::new(),
    };
    add::newsletter(app, new).await.unwrap()
}

/// What a scheduler does at `now`, without feeds and issues. Gives the names of the slots it settled.
async fn tick(app: &App, now: Timestamp) -> Vec<String> {
    let plan = slots::find(&app.db, now).await.unwrap();
    let mut settled = Vec::new();
    for slot in plan.missed {
        app.db
            .write(move |tx| Box::pin(async move { slots::settle_missed(tx, &slot, now).await }))
            .await
            .unwrap();
    }
    for due in plan.due {
        let names: Vec<_> = due.slots.iter().map(|slot| slot.name.clone()).collect();
        let first = app
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let weighed = slots::weigh(tx, &due).await?;
                    if slots::settle(tx, &due, &weighed, None, now).await? {
                        Ok(true)
                    } else {
                        Err(sqlx::Error::RowNotFound)
                    }
                })
            })
            .await
            .unwrap_or(false);
        if first {
            settled.extend(names);
        }
    }
    settled
}

db_test!(
    two_schedulers_settle_each_slot_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        let mut seen = BTreeSet::new();
        let days = if cfg!(debug_assertions) { 100 } else { 1000 };
        for day in 1..=days {
            let now =
                app.now() + Duration::from_hours(24) * day + Duration::from_mins(5) * (day % 7);
            let (one, two) = tokio::join!(tick(app, now), tick(app, now));
            let mut both = [one, two].concat();
            assert_eq!(both.len(), 1, "day {day}: {both:?}");
            assert!(seen.insert(both.remove(0)), "day {day}: settled before");
        }
        // The first morning had not been looked at, so it was missed.
        let recent = slots::recent(&app.db, newsletter.id, 5000).await.unwrap();
        assert_eq!(
            recent
                .iter()
                .filter(|slot| slot.outcome == Outcome::NothingNew)
                .count(),
            days as usize
        );
    }
);

db_test!(
    a_slot_with_nothing_new_stands_there_visibly,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        // 05:00 UTC is 07:00 in Berlin; the newsletter was made at that moment, so its first slot is tomorrow's.
        assert!(tick(app, app.now()).await.is_empty());
        let now = app.now() + Duration::from_hours(24);
        assert_eq!(tick(app, now).await, ["2026-07-08T07:00 Europe/Berlin"]);
        assert!(tick(app, now).await.is_empty());
        let recent = slots::recent(&app.db, newsletter.id, 5).await.unwrap();
        assert_eq!(recent.len(), 1);
        assert_eq!(
            (recent[0].outcome, recent[0].issue_id, recent[0].due_at),
            (Outcome::NothingNew, None, now)
        );
    }
);

db_test!(
    slots_missed_while_the_service_was_down_are_recorded,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        let now = app.now() + Duration::from_hours(24 * 4 + 2);
        assert_eq!(tick(app, now).await, ["2026-07-11T07:00 Europe/Berlin"]);
        let outcomes: Vec<_> = slots::recent(&app.db, newsletter.id, 9)
            .await
            .unwrap()
            .into_iter()
            .map(|slot| (slot.slot[..10].to_owned(), slot.outcome))
            .collect();
        let expect = [
            ("2026-07-11", Outcome::NothingNew),
            ("2026-07-10", Outcome::Missed),
            ("2026-07-09", Outcome::Missed),
            ("2026-07-08", Outcome::Missed),
        ];
        assert_eq!(
            outcomes,
            expect.map(|(day, outcome)| (day.to_owned(), outcome))
        );
    }
);

const IMMEDIATE: &str = "UPDATE schedules SET cadence = 'immediate'";
const ISSUE: &str =
    "INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state, release_when_prepared,
         max_cards, cutoff_seq, created_at, candidates, queued, excluded, in_doubt_policy)
     VALUES ($1, $2, 1, 'scheduled', $3, $4, 'failed', TRUE, 10, 1, $4, 0, 0, 0, 'resend')";
const FINISHED: &str = "UPDATE issues SET state = 'finished'";
const CANCELLED: &str = "UPDATE issues SET state = 'cancelled'";

/// A newsletter whose issues go out as articles come.
async fn immediate(app: &TestApp) -> Newsletter {
    let newsletter = newsletter(app).await;
    app.execute(IMMEDIATE).await;
    newsletter
}

async fn article(app: &TestApp, newsletter: &Newsletter, name: &str) {
    let article = PostedArticle {
        external_id: name.to_owned(),
        url: format!("https://example.org/{name}"),
        title: name.to_owned(),
        ..PostedArticle::default()
    };
    publish::publish(app, newsletter.id, vec![article])
        .await
        .unwrap();
    release::release_due(&app.db, app.now()).await.unwrap();
}

db_test!(
    an_immediate_schedule_waits_from_its_last_slot_on,
    async |app: &TestApp| {
        let newsletter = immediate(app).await;
        for (name, minutes, expected) in [("a", 0, 1), ("b", 31, 1), ("c", 9, 0), ("d", 22, 1)] {
            app.time.advance(Duration::from_mins(minutes));
            article(app, &newsletter, name).await;
            assert_eq!(tick(app, app.now()).await.len(), expected, "{name}");
        }
    }
);

db_test!(
    articles_that_an_immediate_schedule_had_for_nobody_are_looked_at_once,
    async |app: &TestApp| {
        let newsletter = immediate(app).await;
        for name in ["a", "b"] {
            article(app, &newsletter, name).await;
            assert_eq!(tick(app, app.now()).await.len(), 1, "{name}");
            app.time.advance(Duration::from_mins(31));
            assert_eq!(count_due(app).await, 0, "nothing has come since {name}");
        }
    }
);

/// An immediate issue of the newsletter, up to the first article, that failed.
async fn failed_issue(app: &TestApp, newsletter: &Newsletter) {
    let (id, newsletter, now): (IssueId, _, _) = (app.ids.next(), newsletter.id, app.now());
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                let cadences = Json(Cadences::NONE.with(Cadence::Immediate));
                write_db!(tx, |conn| sqlx::query(ISSUE)
                    .bind(id)
                    .bind(newsletter)
                    .bind(cadences)
                    .bind(now)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

async fn count_due(app: &TestApp) -> usize {
    slots::find(&app.db, app.now()).await.unwrap().due.len()
}

db_test!(
    articles_of_an_issue_that_failed_still_wait_for_an_immediate_one,
    async |app: &TestApp| {
        let newsletter = immediate(app).await;
        article(app, &newsletter, "a").await;
        failed_issue(app, &newsletter).await;
        for (state, expected) in [(None, 1), (Some(FINISHED), 0), (Some(CANCELLED), 1)] {
            if let Some(state) = state {
                app.execute(state).await;
            }
            assert_eq!(count_due(app).await, expected, "{state:?}");
        }
    }
);

db_test!(
    issues_of_another_newsletter_take_no_articles_from_an_immediate_one,
    async |app: &TestApp| {
        let newsletter = immediate(app).await;
        let other = newsletter_named(app, "asia").await;
        article(app, &newsletter, "a").await;
        failed_issue(app, &other).await;
        app.execute(FINISHED).await;
        assert_eq!(count_due(app).await, 1);
    }
);

const NOT_IN_USE: &str = "UPDATE schedules SET enabled = FALSE";

db_test!(
    a_schedule_that_is_not_in_use_is_never_due,
    async |app: &TestApp| {
        newsletter(app).await;
        app.time.advance(Duration::from_hours(24));
        assert_eq!(count_due(app).await, 1);
        app.execute(NOT_IN_USE).await;
        assert_eq!(count_due(app).await, 0);
    }
);

db_test!(
    immediate_schedules_of_two_newsletters_know_nothing_of_each_other,
    async |app: &TestApp| {
        let newsletters = [newsletter(app).await, newsletter_named(app, "asia").await];
        app.execute(IMMEDIATE).await;
        for newsletter in &newsletters {
            article(app, newsletter, "a").await;
            assert_eq!(tick(app, app.now()).await, ["seq:1"]);
            app.time.advance(Duration::from_mins(1));
        }
        for newsletter in &newsletters {
            let recent = slots::recent(&app.db, newsletter.id, 9).await.unwrap();
            assert_eq!(recent.len(), 1, "each has its own slot");
        }
    }
);

const TWO_AT_LEAST: &str = "UPDATE schedules SET min_articles = 2";
const FINISHED_DAILY: &str = "UPDATE issues SET state = 'finished', cadences = '[\"daily\"]'";

/// What becomes of the newsletter's slots of the next day.
async fn outcomes(app: &TestApp, newsletter: &Newsletter) -> Vec<Outcome> {
    let now = app.now() + Duration::from_hours(24);
    let mut due = slots::find(&app.db, now).await.unwrap().due;
    due.retain(|due| due.newsletter_id == newsletter.id);
    let due = due.remove(0);
    let weighed = app
        .db
        .write(move |tx| Box::pin(async move { slots::weigh(tx, &due).await }))
        .await;
    weighed.unwrap().outcomes
}

db_test!(
    articles_and_issues_of_another_newsletter_have_no_part_in_a_minimum,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        let other = newsletter_named(app, "asia").await;
        app.execute(TWO_AT_LEAST).await;
        for name in ["a", "b"] {
            article(app, &other, name).await;
        }
        article(app, &newsletter, "c").await;
        let outcome = outcomes(app, &newsletter).await;
        assert_eq!(outcome, [Outcome::BelowMinimum]);
        failed_issue(app, &other).await;
        app.execute(FINISHED_DAILY).await;
        article(app, &newsletter, "d").await;
        assert_eq!(outcomes(app, &newsletter).await, [Outcome::Issue]);
    }
);

db_test!(
    who_finds_one_of_several_slots_settled_was_not_the_first,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
        let weekly = NewSchedule::usual(Cadence::Weekly, time, zone);
        add::schedule(app, newsletter.id, weekly).await.unwrap();
        // Monday
        let now = app.now() + Duration::from_hours(24 * 6);
        let both = slots::find(&app.db, now).await.unwrap().due.remove(0);
        assert_eq!(both.slots.len(), 2);
        let second = DueIssue {
            slots: both.slots[1..].to_vec(),
            ..both.clone()
        };
        for (due, expected) in [(second, true), (both, false)] {
            assert_eq!(settle(app, due, now).await, expected);
        }
    }
);

/// Whether the slots of `due` were settled by this.
async fn settle(app: &TestApp, due: DueIssue, now: Timestamp) -> bool {
    let settled = app.db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move {
            let weighed = slots::weigh(tx, &due).await?;
            slots::settle(tx, &due, &weighed, None, now).await
        })
    });
    settled.await.unwrap()
}

const ALL_OF_THREE_DAYS: &str = "UPDATE schedules SET missed = 'all', max_lateness = 259200";

db_test!(
    slots_that_are_settled_in_any_order_stay_settled,
    async |app: &TestApp| {
        newsletter(app).await;
        app.execute(ALL_OF_THREE_DAYS).await;
        let now = app.now() + Duration::from_hours(48);
        let mut due = slots::find(&app.db, now).await.unwrap().due;
        assert_eq!(due.len(), 2);
        // the feeds were read more quickly for the newer one
        due.reverse();
        for due in due {
            assert!(settle(app, due, now).await);
        }
        let plan = slots::find(&app.db, now).await.unwrap();
        assert!(plan.due.is_empty() && plan.missed.is_empty(), "{plan:?}");
    }
);

const MANY_ISSUES_SQLITE: &str = "WITH RECURSIVE numbers (n) AS
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 201)
     INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state, release_when_prepared,
         max_cards, cutoff_seq, created_at, candidates, queued, excluded, in_doubt_policy)
     SELECT randomblob(16), $1, n, 'scheduled', CASE n WHEN 2 THEN '[\"weekly\"]' ELSE '[\"daily\"]' END, $2,
         'finished', TRUE, 10, CASE n WHEN 201 THEN 3 ELSE 2 END, $2, 0, 0, 0, 'resend' FROM numbers";
const MANY_ISSUES_POSTGRES: &str = "INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state,
         release_when_prepared, max_cards, cutoff_seq, created_at, candidates, queued, excluded, in_doubt_policy)
     SELECT gen_random_uuid(), $1, n, 'scheduled',
         CAST(CASE n WHEN 2 THEN '[\"weekly\"]' ELSE '[\"daily\"]' END AS jsonb), $2, 'finished', TRUE, 10,
         CASE n WHEN 201 THEN 3 ELSE 2 END, $2, 0, 0, 0, 'resend' FROM generate_series(1, 201) AS numbers (n)";

db_test!(
    what_an_issue_gave_counts_towards_no_minimum_however_many_came_after_it,
    async |app: &TestApp| {
        let newsletter = newsletter(app).await;
        // ids of one millisecond are in no order
        app.time.advance(Duration::from_millis(1));
        let (time, zone) = ("07:00".parse().unwrap(), "Europe/Berlin".parse().unwrap());
        let weekly = NewSchedule::usual(Cadence::Weekly, time, zone);
        add::schedule(app, newsletter.id, weekly).await.unwrap();
        app.execute(TWO_AT_LEAST).await;
        for name in ["a", "b", "c"] {
            article(app, &newsletter, name).await;
        }
        // the second of 201 issues was the only weekly one; the last gave the third article to daily readers
        let (whose, now) = (newsletter.id, app.now());
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    let sql = tx.pick(MANY_ISSUES_SQLITE, MANY_ISSUES_POSTGRES);
                    write_db!(tx, |conn| sqlx::query(sql)
                        .bind(whose)
                        .bind(now)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        // Monday comes a day later
        app.time.advance(Duration::from_hours(24 * 5));
        let expected = [Outcome::NothingNew, Outcome::BelowMinimum];
        assert_eq!(outcomes(app, &newsletter).await, expected);
    }
);

db_test!(
    a_slot_that_is_settled_settles_none_of_another_newsletter,
    async |app: &TestApp| {
        newsletter(app).await;
        newsletter_named(app, "asia").await;
        let now = app.now() + Duration::from_hours(24);
        let mut due = slots::find(&app.db, now).await.unwrap().due;
        assert_eq!(due.len(), 2);
        assert!(settle(app, due.remove(0), now).await);
        // the service is killed before it comes to the other
        let left = slots::find(&app.db, now).await.unwrap().due;
        let left: Vec<_> = left.iter().map(|it| it.newsletter_id).collect();
        assert_eq!(left, [due[0].newsletter_id]);
    }
);

const HAVE_THEM: [&str; 3] = [
    "UPDATE issues SET state = 'preparing'",
    "UPDATE issues SET state = 'sending'",
    "UPDATE issues SET state = 'skipped'",
];

db_test!(
    articles_that_an_issue_has_or_had_for_nobody_wait_for_none,
    async |app: &TestApp| {
        let newsletter = immediate(app).await;
        article(app, &newsletter, "a").await;
        failed_issue(app, &newsletter).await;
        for state in HAVE_THEM {
            app.execute(state).await;
            assert_eq!(count_due(app).await, 0, "{state}");
        }
    }
);
