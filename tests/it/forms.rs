//! What a form may bring, what is recorded of where it stood, and who is woken by it.

use futures_util::FutureExt as _;
use paperround::newsletters::add;
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::explain::explain;

use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";

db_test!(
    the_sender_is_woken_for_a_confirmation_and_for_a_welcome,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let is_woken = || app.queued.notified().now_or_never().is_some();
        assert!(!is_woken());
        let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
        answer.assert_status(303);
        assert!(is_woken(), "a confirmation waits");
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        site.post(&link, &[]).await.assert_status(200);
        assert!(is_woken(), "a welcome waits");
        site.stop().await;
    }
);

db_test!(
    the_settings_say_which_addresses_a_form_takes,
    [
        ("smtp.smtputf8", "true"),
        ("signup.allow_special_use", "true")
    ],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for email in ["jos\u{e9}@example.org", "ada@example.test"] {
            let answer = site.post("/subscribe/world", &[("email", email)]).await;
            answer.assert_status(303);
        }
        assert_eq!(
            app.rows_of("signup").await,
            [
                "signup ada@example.test open",
                "signup jos\u{e9}@example.org open"
            ]
        );
        site.stop().await;
    }
);

db_test!(
    only_our_own_page_and_the_sites_of_the_newsletter_are_recorded_as_where_a_form_stood,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        let mut newsletter = app.newsletter("world").await;
        let other = "https://blog.example.org";
        newsletter.form_origins.0.push(other.to_owned());
        add::edit(app, newsletter).await.unwrap();
        let site = app.serve().await;
        let ours = "http://127.0.0.1:8080/subscribe/world";
        let listed = "https://world-review.org";
        for (number, (origin, page, has_words)) in [
            (Some("http://127.0.0.1:8080"), Some(ours), true),
            (Some(listed), Some(listed), false),
            (Some(other), Some(other), false),
            (Some("https://elsewhere.example.org"), None, false),
            (None, None, false),
        ]
        .into_iter()
        .enumerate()
        {
            let email = format!("reader{number}@example.org");
            let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let body = format!("email=reader{number}%40example.org");
            let answer = site.send("POST", "/subscribe/world", &headers, &body).await;
            answer.assert_status(303);
            let link = format!("/confirm/{}", app.confirm_token(&email).await);
            site.post(&link, &[]).await.assert_status(200);
            let email = EmailAddress::parse(&email, AddressRules::default()).unwrap();
            let explained = explain(&app.db, &email).await.unwrap().remove(0);
            let request = &explained.consent[0].detail["request"];
            assert_eq!(request["page_url"].as_str(), page, "{origin:?}");
            let words = app.texts.get("en", "form-note", &[]);
            let words = has_words.then_some(words.as_str());
            let said = request["wording"]["text"].as_str();
            assert_eq!(said, words, "{origin:?}");
        }
        site.stop().await;
    }
);

db_test!(
    a_link_to_the_form_may_choose_the_newsletter,
    async |app: &TestApp| {
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
        }
        let site = app.serve().await;
        let page = site.get("/subscribe?newsletter=asia").await;
        let body = &page.assert_status(200).body;
        for (slug, is_chosen) in [("asia", true), ("world", false)] {
            let choice = format!("value=\"{slug}\" required checked");
            assert_eq!(body.contains(&choice), is_chosen, "{slug}: {body}");
        }
        site.stop().await;
    }
);
