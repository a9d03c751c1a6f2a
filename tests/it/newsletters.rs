//! Making newsletters, topics and schedules, as every front door does it.

use std::time::Duration;

use paperround::feeds::publish::{self, PostedArticle};
use paperround::feeds::release;
use paperround::newsletters::add::{self, AddError, NewNewsletter, NewSchedule};
use paperround::newsletters::{Cadence, Calendar, Missed, Mode, Newsletter, store};
use sqlx::types::Json;

use crate::support::{TestApp, db_test};

fn new(slug: &str) -> NewNewsletter {
    NewNewsletter {
        slug: slug.parse().unwrap(),
        name: "World News".to_owned(),
        description: String::new(),
        from_name: "World News".to_owned(),
        from_address: "news@example.org".to_owned(),
        reply_to: None,
        postal_address: Some("1 Main Street\n12345 Town".to_owned()),
        locale: "en".to_owned(),
        schedule: NewSchedule::usual(
            Cadence::Daily,
            "07:00".parse().unwrap(),
            "Europe/Berlin".parse().unwrap(),
        ),
        form_origins: vec!["https://example.org".to_owned()],
    }
}

db_test!(
    a_newsletter_is_made_with_its_topic_and_its_schedule,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        let found = store::by_slug(&app.db, "world").await.unwrap().unwrap();
        assert_eq!(
            (found.id, &found.name, found.created_at),
            (made.id, &made.name, app.now())
        );
        assert_eq!(found.form_origins.0, ["https://example.org"]);
        let topics = store::topics(&app.db, made.id).await.unwrap();
        assert_eq!(
            topics
                .iter()
                .map(|topic| topic.slug.as_str())
                .collect::<Vec<_>>(),
            ["all"]
        );
        let schedules = store::schedules(&app.db, made.id).await.unwrap();
        assert_eq!(schedules.len(), 1);
        let next = schedules[0]
            .calendar
            .next_slot(schedules[0].handled_to)
            .unwrap();
        // the test begins at 07:00 in Berlin sharp: that slot has passed
        assert_eq!(next.name, "2026-07-08T07:00 Europe/Berlin");
        assert_eq!(store::enabled_schedules(&app.db).await.unwrap().len(), 1);
    }
);

db_test!(a_taken_name_changes_nothing, async |app: &TestApp| {
    add::newsletter(app, new("world")).await.unwrap();
    let refused = add::newsletter(app, new("world")).await.unwrap_err();
    assert!(matches!(refused, AddError::Taken(_)), "{refused}");
    assert_eq!(store::all(&app.db).await.unwrap().len(), 1);
    assert_eq!(store::enabled_schedules(&app.db).await.unwrap().len(), 1);
});

db_test!(
    a_sender_that_is_no_address_is_refused_with_its_field,
    async |app: &TestApp| {
        let wrong = NewNewsletter {
            from_address: "news@example.org\r\nBcc: x@example.org".to_owned(),
            ..new("world")
        };
        let refused = add::newsletter(app, wrong).await.unwrap_err();
        assert!(
            refused.to_string().starts_with("from-address:"),
            "{refused}"
        );
        let wrong = NewNewsletter {
            from_name: "World\r\nBcc: x".to_owned(),
            ..new("world")
        };
        assert!(matches!(
            add::newsletter(app, wrong).await,
            Err(AddError::Text(_))
        ));
        assert!(store::all(&app.db).await.unwrap().is_empty());
    }
);

db_test!(editing_keeps_what_it_must, async |app: &TestApp| {
    let made = add::newsletter(app, new("world")).await.unwrap();
    let edited = Newsletter {
        name: " Europe ".to_owned(),
        postal_address: None,
        ..made.clone()
    };
    add::edit(app, edited).await.unwrap();
    let found = store::by_id(&app.db, made.id).await.unwrap().unwrap();
    assert_eq!(
        (
            found.name.as_str(),
            found.slug.as_str(),
            found.postal_address
        ),
        ("Europe", "world", None)
    );
});

db_test!(
    topics_keep_their_order_and_their_names_apart,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        for slug in ["europe", "asia-pacific"] {
            add::topic(
                app,
                made.id,
                slug.parse().unwrap(),
                slug.to_owned(),
                Some(Cadence::Daily),
            )
            .await
            .unwrap();
        }
        let again = add::topic(
            app,
            made.id,
            "europe".parse().unwrap(),
            "Europe".to_owned(),
            None,
        )
        .await;
        assert!(matches!(again, Err(AddError::Taken(_))));
        let topics = store::topics(&app.db, made.id).await.unwrap();
        assert_eq!(
            topics
                .iter()
                .map(|topic| topic.slug.as_str())
                .collect::<Vec<_>>(),
            ["all", "europe", "asia-pacific"]
        );
    }
);

db_test!(
    a_schedule_begins_with_its_next_slot,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        let calendar = Calendar::new(
            "mon".parse().unwrap(),
            "09:30".parse().unwrap(),
            "Asia/Tokyo".parse().unwrap(),
        );
        let weekly = add::schedule(app, made.id, NewSchedule::new(Cadence::Weekly, calendar))
            .await
            .unwrap();
        assert_eq!(weekly.handled_to, app.now());
        let stored = store::schedules(&app.db, made.id).await.unwrap();
        assert_eq!(
            (stored[1].cadence, &stored[1].calendar),
            (Cadence::Weekly, &weekly.calendar)
        );
        assert_eq!(
            (stored[1].min_interval, stored[1].max_lateness),
            (add::MIN_INTERVAL, add::MAX_LATENESS)
        );
    }
);

fn usual(cadence: Cadence) -> NewSchedule {
    NewSchedule::usual(
        cadence,
        "07:00".parse().unwrap(),
        "Europe/Berlin".parse().unwrap(),
    )
}

#[test]
fn a_schedule_is_usual_where_nothing_else_is_said() {
    for (cadence, days) in [
        (Cadence::Daily, "all"),
        (Cadence::Weekly, "mon"),
        (Cadence::Monthly, "1"),
    ] {
        let usual = usual(cadence);
        assert_eq!(usual.calendar.days().to_string(), days);
        assert_eq!(
            (usual.mode, usual.missed),
            (Mode::Automatic, Missed::Latest)
        );
        assert_eq!((usual.min_articles, usual.max_cards), (1, 12));
        assert_eq!(usual.min_interval, Duration::from_mins(30));
        assert_eq!(usual.max_lateness, Duration::from_hours(12));
    }
}

db_test!(
    off_is_no_rhythm_of_a_newsletter_or_a_schedule,
    async |app: &TestApp| {
        let wrong = NewNewsletter {
            schedule: usual(Cadence::Off),
            ..new("world")
        };
        let refused = add::newsletter(app, wrong).await;
        assert!(matches!(refused, Err(AddError::Off)), "{refused:?}");
        let made = add::newsletter(app, new("world")).await.unwrap();
        let refused = add::schedule(app, made.id, usual(Cadence::Off)).await;
        assert!(matches!(refused, Err(AddError::Off)), "{refused:?}");
    }
);

db_test!(
    a_schedule_is_stored_as_it_was_made,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        let calendar = Calendar::new(
            "1,31,last".parse().unwrap(),
            "18:30".parse().unwrap(),
            "America/New_York".parse().unwrap(),
        );
        for missed in [Missed::All, Missed::None] {
            let new = NewSchedule {
                mode: Mode::Draft,
                min_articles: 3,
                max_cards: 5,
                min_interval: Duration::from_mins(45),
                missed,
                max_lateness: Duration::from_hours(30),
                ..NewSchedule::new(Cadence::Monthly, calendar.clone())
            };
            let added = add::schedule(app, made.id, new).await.unwrap();
            let stored = store::schedules(&app.db, made.id).await.unwrap();
            let found = stored.iter().find(|it| it.id == added.id).unwrap();
            assert_eq!(format!("{found:?}"), format!("{added:?}"));
        }
    }
);

db_test!(
    a_newsletter_is_stored_as_it_was_changed,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        let changed = Newsletter {
            description: "What matters.".to_owned(),
            from_name: "World Review".to_owned(),
            from_address: "noreply@example.net".to_owned(),
            reply_to: Some("editor@example.net".to_owned()),
            postal_address: Some("2 Main Street".to_owned()),
            locale: "de".to_owned(),
            timezone: "Asia/Tokyo".to_owned(),
            default_cadence: Cadence::Weekly,
            form_origins: Json(vec!["https://example.net".to_owned()]),
            ..made
        };
        let edited = add::edit(app, changed.clone()).await.unwrap();
        let found = store::by_id(&app.db, edited.id).await.unwrap().unwrap();
        for newsletter in [edited, found] {
            assert_eq!(format!("{newsletter:?}"), format!("{changed:?}"));
        }
    }
);

db_test!(
    what_cannot_stand_in_a_mail_is_refused_with_its_field,
    async |app: &TestApp| {
        let made = add::newsletter(app, new("world")).await.unwrap();
        for (wrong, field) in [
            (
                Newsletter {
                    name: "World\r\nBcc: x".to_owned(),
                    ..made.clone()
                },
                "the name ",
            ),
            (
                Newsletter {
                    reply_to: Some("nobody".to_owned()),
                    ..made.clone()
                },
                "reply-to: ",
            ),
            (
                Newsletter {
                    from_name: " ".to_owned(),
                    ..made.clone()
                },
                "the sender's name ",
            ),
            (
                Newsletter {
                    from_address: "grüße@example.org".to_owned(),
                    ..made.clone()
                },
                "from-address: ",
            ),
        ] {
            let refused = add::edit(app, wrong).await.expect_err(field);
            assert!(refused.to_string().starts_with(field), "{refused}");
        }
        let found = store::by_id(&app.db, made.id).await.unwrap().unwrap();
        assert_eq!(format!("{found:?}"), format!("{made:?}"));
    }
);

db_test!(
    a_newsletter_has_the_zone_and_rhythm_of_its_first_schedule,
    async |app: &TestApp| {
        let new = NewNewsletter {
            description: " What matters. ".to_owned(),
            schedule: NewSchedule::usual(
                Cadence::Weekly,
                "07:00".parse().unwrap(),
                "Asia/Tokyo".parse().unwrap(),
            ),
            ..new("world")
        };
        let made = add::newsletter(app, new).await.unwrap();
        let found = store::by_id(&app.db, made.id).await.unwrap().unwrap();
        assert_eq!(found.timezone, "Asia/Tokyo");
        assert_eq!(found.default_cadence, Cadence::Weekly);
        assert_eq!(found.description, "What matters.");
    }
);

db_test!(
    a_newsletters_addresses_stand_as_they_are_written_on_the_wire,
    async |app: &TestApp| {
        let new = NewNewsletter {
            from_address: "News@bücher.de".to_owned(),
            reply_to: Some("office@bücher.de".to_owned()),
            ..new("world")
        };
        let made = add::newsletter(app, new).await.unwrap();
        let found = store::by_id(&app.db, made.id).await.unwrap().unwrap();
        assert_eq!(found.from_address, "News@xn--bcher-kva.de");
        assert_eq!(found.reply_to.as_deref(), Some("office@xn--bcher-kva.de"));
    }
);

db_test!(a_topic_is_stored_as_it_was_made, async |app: &TestApp| {
    let made = add::newsletter(app, new("world")).await.unwrap();
    let (slug, name) = ("asia".parse().unwrap(), " Asia & Pacific ".to_owned());
    let added = add::topic(app, made.id, slug, name, Some(Cadence::Weekly)).await;
    let added = added.unwrap();
    assert_eq!(added.name, "Asia & Pacific");
    assert_eq!((added.position, added.default_on), (1, false));
    assert_eq!(added.max_cadence, Some(Cadence::Weekly));
    let topics = store::topics(&app.db, made.id).await.unwrap();
    assert_eq!(topics[1], added);
    assert!(topics[0].default_on, "a form offers everything first");
    let slug = "europe".parse().unwrap();
    let refused = add::topic(app, made.id, slug, " ".to_owned(), None).await;
    assert!(matches!(refused, Err(AddError::Text(_))), "{refused:?}");
});

db_test!(
    schedules_and_articles_of_one_newsletter_are_not_those_of_another,
    async |app: &TestApp| {
        let world = add::newsletter(app, new("world")).await.unwrap().id;
        let asia = add::newsletter(app, new("asia")).await.unwrap().id;
        let article = PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..PostedArticle::default()
        };
        publish::publish(app, world, vec![article]).await.unwrap();
        release::release_due(&app.db, app.now()).await.unwrap();
        for (id, expected) in [(world, 1), (asia, 0)] {
            let schedules = store::schedules(&app.db, id).await.unwrap();
            let whose: Vec<_> = schedules.iter().map(|it| it.newsletter_id).collect();
            assert_eq!(whose, [id]);
            // who subscribes now gets what comes after it
            let newest = app
                .db
                .write(move |tx| Box::pin(async move { store::newest_seq(tx, id).await }))
                .await;
            assert_eq!(newest.unwrap(), expected);
        }
    }
);

db_test!(
    a_change_of_one_newsletter_leaves_the_others_as_they_are,
    async |app: &TestApp| {
        let world = add::newsletter(app, new("world")).await.unwrap();
        let asia = add::newsletter(app, new("asia")).await.unwrap();
        let changed = Newsletter {
            name: "Europe".to_owned(),
            ..world
        };
        add::edit(app, changed).await.unwrap();
        let found = store::by_id(&app.db, asia.id).await.unwrap().unwrap();
        assert_eq!(format!("{found:?}"), format!("{asia:?}"));
    }
);
