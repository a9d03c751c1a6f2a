//! Readers who come back: what a fresh confirmation begins anew, and what it lifts.

use std::sync::Arc;
use std::time::Duration;

use paperround::app::{App, World};
use paperround::deliveries::State;
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::feeds::release::release_due;
use paperround::id::SeededEntropy;
use paperround::newsletters::add;
use paperround::subscribers::confirm::{Confirmed, confirm};
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::explain::explain;
use paperround::subscribers::export::Export;
use paperround::subscribers::unsubscribe::{Left, unsubscribe};

use paperround::token::{ConfirmToken, ReaderToken};
use paperround::write_db;
use serde_json::json;

use crate::signup::suppress;
use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";
pub(crate) const NEW_PEPPER: &str = "
[[peppers]]
id = \"p2\"
secret = \"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\"
";

db_test!(
    who_comes_back_gets_the_topics_chosen_now_and_not_those_of_before,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        for topic in ["asia", "europe"] {
            let name = topic.to_uppercase();
            let slug = topic.parse().unwrap();
            add::topic(app, newsletter, slug, name, None).await.unwrap();
        }
        let site = app.serve().await;
        let choose = async |topic| {
            app.time.advance(Duration::from_secs(1));
            let form = [("email", ADA), ("topic", topic)];
            site.post("/subscribe/world", &form)
                .await
                .assert_status(303);
            let link = format!("/confirm/{}", app.confirm_token(ADA).await);
            site.post(&link, &[]).await.assert_status(200);
        };
        choose("asia").await;
        let article = PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..Default::default()
        };
        publish(app, newsletter, vec![article]).await.unwrap();
        release_due(&app.db, app.now()).await.unwrap();
        app.time.advance(Duration::from_secs(1));
        let token = app.unsubscribe_token(app.subscription(ADA).await);
        site.post(&format!("/unsubscribe/{token}"), &[])
            .await
            .assert_status(200);
        choose("europe").await;
        assert_eq!(
            app.rows_of("interest").await,
            ["interest asia off 0 0", "interest europe daily 1 1"]
        );
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        let record = explained.consent.iter();
        let chosen: Vec<_> = record.map(|event| event.detail["topics"].clone()).collect();
        assert_eq!(chosen, [json!(["asia"]), json!(null), json!(["europe"])]);
        site.stop().await;
    }
);

/// The service after its operator has added a pepper.
async fn with_a_new_pepper(app: &TestApp) -> Arc<App> {
    let path = app.config.secrets_file();
    let secrets = std::fs::read_to_string(&path).unwrap() + NEW_PEPPER;
    std::fs::write(&path, secrets).unwrap();
    let world = World {
        clock: app.time.clone(),
        entropy: Arc::new(SeededEntropy::new(2)),
    };
    Arc::new(App::open(app.config.clone(), world).await.unwrap())
}

db_test!(
    a_record_of_consent_goes_on_across_a_new_pepper,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        site.stop().await;
        let renewed = with_a_new_pepper(app).await;
        let token = ReaderToken {
            subscription: app.subscription(ADA).await,
            issue: None,
        };
        let left = unsubscribe(&renewed, token, Evidence::of(Channel::OneClick)).await;
        assert!(matches!(left, Ok(Left::Now(_))), "{left:?}");
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&renewed.db, &ada).await.unwrap().remove(0);
        assert!(explained.consent_is_whole, "{:?}", explained.consent);
        renewed.db.close().await;
    }
);

db_test!(
    a_record_of_consent_goes_on_across_a_clock_that_was_set_back,
    async |app: &TestApp| {
        let site = app.serve().await;
        let mut links = Vec::new();
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
            app.time.advance(Duration::from_millis(1));
            let path = format!("/subscribe/{slug}");
            site.post(&path, &[("email", ADA)]).await.assert_status(303);
            links.push(format!("/confirm/{}", app.confirm_token(ADA).await));
        }
        site.post(&links[0], &[]).await.assert_status(200);
        app.time.set(app.now() - Duration::from_hours(1));
        let token = app.unsubscribe_token(app.subscription(ADA).await);
        links[0] = format!("/unsubscribe/{token}");
        for link in links.iter().rev() {
            site.post(link, &[]).await.assert_status(200);
        }
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        assert_eq!(explained.consent.len(), 3);
        assert!(explained.consent_is_whole, "{:?}", explained.consent);
        site.stop().await;
    }
);

db_test!(
    who_confirms_soon_after_a_bounce_is_subscribed_and_mailed_again,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for (email, reason) in [(ADA, "hard_bounce"), ("bob@example.org", "erased")] {
            let answer = site.post("/subscribe/world", &[("email", email)]).await;
            answer.assert_status(303);
            suppress(app, email, reason, app.now()).await;
            let link = format!("/confirm/{}", app.confirm_token(email).await);
            site.post(&link, &[]).await.assert_status(200);
            assert!(app.rows_of("suppression").await.is_empty(), "{reason}");
        }
        assert_eq!(
            app.rows_of("subscription").await,
            [
                "subscription ada@example.org world active -",
                "subscription bob@example.org world active -"
            ]
        );
        site.stop().await;
    }
);

db_test!(
    what_a_reader_was_sent_is_told_from_the_newest_on,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let first = app.now();
        app.time.advance(Duration::from_secs(1));
        site.post(&leave, &[]).await.assert_status(200);
        app.reader(&site, "world", ADA).await;
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        let mails = explained.deliveries.iter();
        let told: Vec<_> = mails.map(|mail| (mail.created_at, mail.state)).collect();
        assert_eq!(told, [(app.now(), State::Pending), (first, State::Skipped)]);
        site.stop().await;
    }
);

db_test!(
    a_confirmation_lifts_what_a_bounce_left_whichever_pepper_hid_it_and_no_refusal,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let bob = "bob@example.org";
        for email in [ADA, bob] {
            let form = [("email", email)];
            site.post("/subscribe/world", &form)
                .await
                .assert_status(303);
        }
        let long_ago = app.now() - Duration::from_hours(31 * 24);
        suppress(app, ADA, "hard_bounce", long_ago).await;
        suppress(app, bob, "request", app.now()).await;
        let renewed = with_a_new_pepper(app).await;
        let press = async |email| {
            let token = ConfirmToken::parse(&app.confirm_token(email).await).unwrap();
            let evidence = Evidence::of(Channel::Page);
            confirm(&renewed, &token, evidence).await.unwrap()
        };
        assert_eq!(press(bob).await, Confirmed::Gone);
        assert!(matches!(press(ADA).await, Confirmed::Now { .. }));
        assert_eq!(app.rows_of("suppression").await, ["suppression request"]);
        renewed.db.close().await;
        site.stop().await;
    }
);

const BOUNCED: &str =
    "UPDATE subscriptions SET state = 'bounced', ended_at = started_at WHERE state = 'active'";
const COMPLAINED: &str =
    "UPDATE subscriptions SET state = 'complained', ended_at = started_at WHERE state = 'active'";

db_test!(
    who_bounced_comes_back_by_a_fresh_confirmation_and_who_complained_does_not,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let bob = "bob@example.org";
        for (email, ends, status) in [(bob, COMPLAINED, 404), (ADA, BOUNCED, 200)] {
            let leave = app.reader(&site, "world", email).await;
            app.execute(ends).await;
            // a goodbye changes nothing: the end was another
            site.post(&leave, &[]).await.assert_status(200);
            app.time.advance(Duration::from_secs(1));
            let form = [("email", email)];
            site.post("/subscribe/world", &form)
                .await
                .assert_status(303);
            let link = format!("/confirm/{}", app.confirm_token(email).await);
            site.post(&link, &[]).await.assert_status(status);
        }
        assert_eq!(
            app.rows_of("subscription").await,
            [
                "subscription ada@example.org world active -",
                "subscription bob@example.org world complained -"
            ]
        );
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        assert_eq!(explained.person.ended_at, None);
        site.stop().await;
    }
);

const SCOPE: &str = "UPDATE suppressions SET scope = $1";

db_test!(
    a_refusal_of_one_newsletter_stands_against_no_other_and_stays,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let asia = app.newsletter("asia").await.id.to_string();
        suppress(app, ADA, "request", app.now()).await;
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(SCOPE)
                        .bind(&asia)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        assert_eq!(
            app.rows_of("subscription").await,
            ["subscription ada@example.org world active -"]
        );
        assert_eq!(app.rows_of("suppression").await, ["suppression request"]);
        site.stop().await;
    }
);

db_test!(
    a_confirmation_lifts_the_bounce_of_its_own_address_and_an_old_link_lifts_none,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let ask = async || {
            app.time.advance(Duration::from_secs(1));
            let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
            answer.assert_status(303);
            format!("/confirm/{}", app.confirm_token(ADA).await)
        };
        let old = ask().await;
        site.post(&leave, &[]).await.assert_status(200);
        for email in [ADA, "bob@example.org"] {
            suppress(app, email, "hard_bounce", app.now()).await;
        }
        let fresh = ask().await;
        for (link, status, left) in [(old, 404, 2), (fresh, 200, 1)] {
            site.post(&link, &[]).await.assert_status(status);
            assert_eq!(app.rows_of("suppression").await.len(), left, "{status}");
        }
        site.stop().await;
    }
);

const BOUNCED_IN_A_PAUSE: &str = "UPDATE subscriptions
     SET state = 'bounced', ended_at = started_at, paused_until = started_at";

db_test!(
    who_comes_back_is_not_paused_any_more,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        app.execute(BOUNCED_IN_A_PAUSE).await;
        app.reader(&site, "world", ADA).await;
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        assert_eq!(explained.person.paused_until, None);
        site.stop().await;
    }
);

db_test!(
    what_is_told_of_a_reader_is_theirs_in_each_newsletter_and_nobody_elses,
    async |app: &TestApp| {
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
        }
        let site = app.serve().await;
        for (slug, email) in [("world", ADA), ("world", "bob@example.org"), ("asia", ADA)] {
            app.reader(&site, slug, email).await;
        }
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap();
        let told: Vec<_> = explained
            .iter()
            .map(|one| {
                let (interests, mails) = (one.interests.len(), one.deliveries.len());
                (one.person.newsletter.as_str(), interests, mails)
            })
            .collect();
        assert_eq!(told, [("asia", 1, 1), ("world", 1, 1)]);
        site.stop().await;
    }
);

db_test!(
    who_left_one_of_two_newsletters_comes_back_to_it,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        let site = app.serve().await;
        for slug in ["world", "asia"] {
            app.newsletter(slug).await;
            app.reader(&site, slug, ADA).await;
        }
        let ada = EmailAddress::parse(ADA, AddressRules::default()).unwrap();
        for one in explain(&app.db, &ada).await.unwrap() {
            app.time.advance(Duration::from_secs(1));
            let token = app.unsubscribe_token(one.person.subscription_id);
            let leave = format!("/unsubscribe/{token}");
            site.post(&leave, &[]).await.assert_status(200);
            app.time.advance(Duration::from_secs(1));
            app.reader(&site, &one.person.newsletter, ADA).await;
            assert_eq!(
                app.rows_of("subscription").await,
                [
                    "subscription ada@example.org asia active -",
                    "subscription ada@example.org world active -"
                ]
            );
        }
        site.stop().await;
    }
);

db_test!(
    a_subscription_began_when_it_was_confirmed_and_ended_when_its_reader_left,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let site = app.serve().await;
        let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
        answer.assert_status(303);
        app.time.advance(Duration::from_hours(1));
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        site.post(&link, &[]).await.assert_status(200);
        let began = app.now();
        let listed = async || {
            let page = Export::of(newsletter).next_page(&app.db).await;
            let reader = page.unwrap().remove(0);
            (reader.started_at, reader.ended_at)
        };
        assert_eq!(listed().await, (began, None));
        app.time.advance(Duration::from_hours(1));
        let token = app.unsubscribe_token(app.subscription(ADA).await);
        let leave = format!("/unsubscribe/{token}");
        site.post(&leave, &[]).await.assert_status(200);
        assert_eq!(listed().await, (began, Some(app.now())));
        site.stop().await;
    }
);

db_test!(
    who_comes_back_brings_along_nobody_else_who_left,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        for email in [ADA, "bob@example.org"] {
            let leave = app.reader(&site, "world", email).await;
            site.post(&leave, &[]).await.assert_status(200);
        }
        app.time.advance(Duration::from_secs(1));
        app.reader(&site, "world", ADA).await;
        assert_eq!(
            app.rows_of("subscription").await,
            [
                "subscription ada@example.org world active -",
                "subscription bob@example.org world unsubscribed one_click"
            ]
        );
        site.stop().await;
    }
);
