//! The link in the confirmation mail: one press, one subscription, however often.

use std::time::Duration;

use paperround::feeds::publish::{PostedArticle, publish};
use paperround::feeds::release::release_due;
use paperround::newsletters::{Cadence, add};
use paperround::subscribers::consent::first_broken;
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::expire::remove_outdated;
use paperround::subscribers::explain::{Explanation, explain};
use paperround::token::{Purpose, ReaderToken};

use crate::support::http::Site;
use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";

async fn signed_up(app: &TestApp, site: &Site) -> String {
    let form = [("email", ADA), ("cadence", "weekly")];
    site.post("/subscribe/world", &form)
        .await
        .assert_status(303);
    format!("/confirm/{}", app.confirm_token(ADA).await)
}

async fn explained(app: &TestApp) -> Explanation {
    let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
    let mut found = explain(&app.db, &ada).await.unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

db_test!(
    check_08_looking_at_the_link_changes_nothing_and_the_button_works_then,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        let before = app.rows().await;
        for _ in 0..5 {
            let page = site.get(&link).await;
            page.assert_status(200);
            assert!(page.body.contains("Yes, send me World Review"));
            assert!(page.body.contains(ADA) && page.body.contains("One mail a week."));
            let head = site.send("HEAD", &link, &[], "").await;
            head.assert_status(200);
            assert_eq!(head.body, "");
        }
        assert_eq!(app.rows().await, before);
        let page = site.get(&link).await;
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-robots-tag"), Some("noindex"));
        assert_eq!(page.header("set-cookie"), None);
        let pressed = site.post(&link, &[]).await;
        assert!(pressed.assert_status(200).body.contains("You are in"));
        assert_eq!(
            app.rows_of("subscription").await,
            ["subscription ada@example.org world active -"]
        );
        site.stop().await;
    }
);

db_test!(one_press_makes_one_subscription, async |app: &TestApp| {
    app.newsletter("world").await;
    let site = app.serve().await;
    let link = signed_up(app, &site).await;
    let page = site.post(&link, &[]).await;
    page.assert_status(200);
    assert!(page.body.contains("You are in"));
    let after = app.rows().await;
    for row in [
        "signup ada@example.org confirmed",
        "subscription ada@example.org world active -",
        "interest all weekly 0 0",
        "consent confirmed page",
        "delivery welcome ada@example.org pending -",
    ] {
        assert!(after.iter().any(|found| found == row), "{row} in {after:?}");
    }
    for _ in 0..3 {
        let again = site.post(&link, &[]).await;
        again.assert_status(200);
        assert!(again.body.contains("Already confirmed"));
    }
    assert_eq!(app.rows().await, after);

    let ada = explained(app).await;
    assert!(ada.consent_is_whole);
    let event = &ada.consent[0];
    assert_eq!(event.ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(event.detail["cadence"], "weekly");
    assert_eq!(event.detail["request"]["channel"], "form");
    assert!(event.wording_id.is_some());
    site.stop().await;
});

db_test!(
    the_words_beside_the_button_are_those_that_are_recorded,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        let page = site.get(&link).await.body;
        site.post(&link, &[]).await.assert_status(200);
        let words = app.rows_of("wording").await.remove(0);
        let (lead, button) = words.split_once(" [").unwrap();
        let lead = lead.strip_prefix("wording ").unwrap();
        let button = button.strip_suffix(']').unwrap();
        assert!(page.contains(&format!("<p class=\"lead\">{lead}</p>")));
        assert!(page.contains(&format!("<button>{button}</button>")));
        site.stop().await;
    }
);

db_test!(
    two_presses_at_once_have_one_effect,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        let presses = (0..100).map(|_| site.post(&link, &[]));
        for answer in futures_util::future::join_all(presses).await {
            answer.assert_status(200);
        }
        assert_eq!(app.rows_of("subscription").await.len(), 1);
        assert_eq!(app.rows_of("consent").await.len(), 1);
        assert_eq!(app.rows_of("delivery welcome").await.len(), 1);
        site.stop().await;
    }
);

db_test!(
    no_old_link_brings_back_who_has_left,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let older = signed_up(app, &site).await;
        app.time.advance(Duration::from_secs(1));
        let newer = signed_up(app, &site).await;
        site.post(&newer, &[]).await.assert_status(200);
        let subscription = app.subscription(ADA).await;
        let leave = format!("/unsubscribe/{}", app.unsubscribe_token(subscription));
        app.time.advance(Duration::from_secs(1));
        site.post(&leave, &[]).await.assert_status(200);
        let out = app.rows_of("subscription").await;

        site.post(&newer, &[]).await.assert_status(200);
        site.post(&older, &[]).await.assert_status(404);
        assert_eq!(app.rows_of("subscription").await, out);

        app.time.advance(Duration::from_secs(1));
        let fresh = signed_up(app, &site).await;
        let page = site.post(&fresh, &[]).await;
        assert!(page.assert_status(200).body.contains("You are in"));
        assert_eq!(
            app.rows_of("subscription").await,
            ["subscription ada@example.org world active -"]
        );
        let kinds: Vec<_> = explained(app).await.consent;
        let names: Vec<_> = kinds.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(names, ["confirmed", "withdrawn", "confirmed"]);
        assert_eq!(first_broken(&kinds), None);
        site.stop().await;
    }
);

db_test!(
    a_link_asked_for_at_the_moment_of_leaving_brings_nobody_back,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        app.time.advance(Duration::from_secs(1));
        let link = signed_up(app, &site).await;
        site.post(&leave, &[]).await.assert_status(200);
        site.post(&link, &[]).await.assert_status(404);
        let rows = app.rows_of("subscription").await;
        assert_eq!(
            rows,
            ["subscription ada@example.org world unsubscribed one_click"]
        );
        site.stop().await;
    }
);

db_test!(
    the_record_says_when_each_step_was_and_from_which_client,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let post = async |path: &str, agent: &str, body: &str| {
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("user-agent", agent),
            ];
            site.send("POST", path, &headers, body).await.status
        };
        let form = "email=ada%40example.org";
        assert_eq!(post("/subscribe/world", "asks", form).await, 303);
        let asked = app.now();
        app.time.advance(Duration::from_hours(1));
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        assert_eq!(post(&link, "confirms", "").await, 200);
        let confirmed = app.now();
        app.time.advance(Duration::from_hours(1));
        let token = app.unsubscribe_token(app.subscription(ADA).await);
        let link = format!("/unsubscribe/{token}");
        assert_eq!(post(&link, "leaves", "").await, 200);
        let record = explained(app).await.consent;
        let [first, last] = record.as_slice() else {
            panic!("two decisions: {record:?}")
        };
        for (event, at, agent) in [(first, confirmed, "confirms"), (last, app.now(), "leaves")] {
            assert_eq!(event.at, at, "{agent}");
            assert_eq!(event.user_agent.as_deref(), Some(agent));
            assert_eq!(event.ip.as_deref(), Some("127.0.0.1"), "{agent}");
        }
        let requested_at = serde_json::to_value(asked).unwrap();
        assert_eq!(first.detail["requested_at"], requested_at);
        assert_eq!(first.detail["request"]["user_agent"], "asks");
        site.stop().await;
    }
);

db_test!(
    both_links_of_a_hurried_reader_work,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let older = signed_up(app, &site).await;
        app.time.advance(Duration::from_secs(1));
        let newer = signed_up(app, &site).await;
        let page = site.post(&older, &[]).await;
        assert!(page.assert_status(200).body.contains("You are in"));
        let page = site.post(&newer, &[]).await;
        assert!(page.assert_status(200).body.contains("Already confirmed"));
        assert_eq!(app.rows_of("consent").await.len(), 1);
        site.stop().await;
    }
);

db_test!(
    a_link_that_was_used_says_so_after_its_time_too,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        site.post(&link, &[]).await.assert_status(200);
        app.time.advance(Duration::from_hours(49));
        remove_outdated(app).await.unwrap();
        for page in [site.get(&link).await, site.post(&link, &[]).await] {
            let page = page.assert_status(200);
            assert!(page.body.contains("Already confirmed"), "{}", page.body);
        }
        site.stop().await;
    }
);

db_test!(
    a_topic_comes_no_more_often_than_its_publisher_allows,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let (slug, most) = ("asia".parse().unwrap(), Some(Cadence::Weekly));
        let asia = add::topic(app, newsletter, slug, "Asia".to_owned(), most).await;
        asia.unwrap();
        let site = app.serve().await;
        for (chosen, in_force) in [
            ("daily", "weekly"),
            ("weekly", "weekly"),
            ("monthly", "monthly"),
        ] {
            let email = format!("{chosen}@example.org");
            let form = [("email", &*email), ("topic", "asia"), ("cadence", chosen)];
            let answer = site.post("/subscribe/world", &form).await;
            answer.assert_status(303);
            let link = format!("/confirm/{}", app.confirm_token(&email).await);
            let page = site.post(&link, &[]).await;
            page.assert_status(200);
            let words = app.texts.get("en", &format!("rhythm-{in_force}"), &[]);
            assert!(page.body.contains(&words), "{chosen}: {}", page.body);
        }
        assert_eq!(
            app.rows_of("interest").await,
            [
                "interest asia monthly 0 0",
                "interest asia weekly 0 0",
                "interest asia weekly 0 0"
            ]
        );
        site.stop().await;
    }
);

db_test!(
    every_link_that_does_not_work_gives_the_same_page,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        let token = link.rsplit('/').next().unwrap();
        let about = ReaderToken {
            subscription: paperround::id::SubscriptionId(uuid::Uuid::nil()),
            issue: None,
        };
        let other_purpose = app.keys.reader_token(Purpose::Unsubscribe, about);
        let wrong = [
            "x".to_owned(),
            token[..42].to_owned(),
            format!("{token}A"),
            token.to_lowercase(),
            other_purpose,
            "A".repeat(43),
            "%00%ff".to_owned(),
        ];
        let mut pages = Vec::new();
        for token in &wrong {
            pages.push(site.get(&format!("/confirm/{token}")).await);
            pages.push(site.post(&format!("/confirm/{token}"), &[]).await);
        }
        app.time.advance(Duration::from_hours(49));
        pages.push(site.get(&link).await);
        pages.push(site.post(&link, &[]).await);
        for page in &pages {
            page.assert_status(404);
            assert_eq!(page.body, pages[0].body);
        }
        assert!(pages[0].body.contains("This link no longer works"));
        assert!(
            pages[0].body.contains("name=\"email\""),
            "the form is there"
        );
        assert!(app.rows_of("subscri").await.is_empty());
        site.stop().await;
    }
);

db_test!(
    guessing_links_is_slowed_down_and_reading_them_is_not,
    [("signup.wrong_token_limits", "3/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let wrong = format!("/confirm/{}", "A".repeat(43));
        for _ in 0..3 {
            site.post(&wrong, &[]).await.assert_status(404);
        }
        site.post(&wrong, &[]).await.assert_status(429);
        site.get(&wrong).await.assert_status(404);
        let link = signed_up(app, &site).await;
        site.post(&link, &[]).await.assert_status(200);
        site.stop().await;
    }
);

db_test!(
    a_link_works_for_as_long_as_the_setting_says,
    [("signup.confirm_lifetime", "2h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let link = signed_up(app, &site).await;
        app.time.advance(Duration::from_secs(2 * 3600 - 1));
        site.get(&link).await.assert_status(200);
        app.time.advance(Duration::from_secs(1));
        site.get(&link).await.assert_status(404);
        site.post(&link, &[]).await.assert_status(404);
        site.stop().await;
    }
);

const MONTHLY: &str = "UPDATE newsletters SET default_cadence = 'monthly'";

db_test!(
    who_chooses_no_rhythm_gets_the_newsletters_own,
    async |app: &TestApp| {
        app.newsletter("world").await;
        app.execute(MONTHLY).await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        assert_eq!(app.rows_of("interest").await, ["interest all monthly 0 0"]);
        site.stop().await;
    }
);

db_test!(
    a_reader_begins_behind_the_articles_of_their_own_newsletter,
    async |app: &TestApp| {
        for (slug, count) in [("world", 1_u32), ("asia", 3)] {
            let newsletter = app.newsletter(slug).await.id;
            let article = |number: u32| PostedArticle {
                external_id: format!("{slug}-{number}"),
                url: format!("https://example.org/{slug}/{number}"),
                title: "A title".to_owned(),
                ..Default::default()
            };
            let articles = (0..count).map(article).collect();
            publish(app, newsletter, articles).await.unwrap();
        }
        release_due(&app.db, app.now()).await.unwrap();
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        assert_eq!(app.rows_of("interest").await, ["interest all daily 1 1"]);
        site.stop().await;
    }
);

db_test!(
    who_confirms_is_mailed_at_the_address_as_it_was_typed,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let typed = "Ada@Example.org";
        let answer = site.post("/subscribe/world", &[("email", typed)]).await;
        answer.assert_status(303);
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        site.post(&link, &[]).await.assert_status(200);
        assert_eq!(
            app.rows_of("delivery welcome").await,
            ["delivery welcome Ada@Example.org pending -"]
        );
        assert_eq!(explained(app).await.person.email, typed);
        site.stop().await;
    }
);
