//! What the mail about a sign-up becomes when it is claimed, by how it stands between the address and the newsletter.

use std::time::Duration;

use paperround::deliveries::Reason;
use paperround::subscribers::notice::{Decision, NoticeKind};
use paperround::write_db;

use crate::signup::{claim, claim_as, suppress};
use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const EVE: &str = "eve@example.org";

const BOUNCED: &str =
    "UPDATE subscriptions SET state = 'bounced', ended_at = started_at WHERE state = 'active'";
const COMPLAINED: &str =
    "UPDATE subscriptions SET state = 'complained', ended_at = started_at WHERE state = 'active'";

db_test!(
    who_has_confirmed_complained_or_bounced_lately_is_not_asked_to_confirm,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        // the button was pressed between two attempts at the mail
        app.reader(&site, "world", ADA).await;
        let decided = claim(app, ADA).await;
        assert_eq!(decided, Decision::Skip(Reason::NothingToConfirm));

        let never = Decision::Skip(Reason::Suppressed);
        let asked = Decision::Send(NoticeKind::Confirmation, None);
        let month = Duration::from_hours(30 * 24);
        for (email, ends, in_a_month) in [(BOB, COMPLAINED, never), (EVE, BOUNCED, asked)] {
            app.reader(&site, "world", email).await;
            app.execute(ends).await;
            let ended = app.now();
            for (passed, expect) in [
                (Duration::from_millis(1), never),
                (month.saturating_sub(Duration::from_secs(1)), never),
                (month, in_a_month),
            ] {
                app.time.set(ended + passed);
                let answer = site.post("/subscribe/world", &[("email", email)]).await;
                answer.assert_status(303);
                let decided = claim(app, email).await;
                assert_eq!(decided, expect, "{email} after {passed:?}");
            }
        }
        site.stop().await;
    }
);

db_test!(
    who_is_subscribed_is_told_so_again_after_seven_days,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        app.time.advance(Duration::from_millis(1));
        let told = Decision::Send(NoticeKind::ManageLink, Some(app.subscription(ADA).await));
        let silent = Decision::Skip(Reason::ToldAlready);
        for (days, expect) in [(0, told), (6, silent), (2, told)] {
            app.time.advance(Duration::from_hours(24 * days));
            let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
            answer.assert_status(303);
            assert_eq!(claim(app, ADA).await, expect, "{days} days later");
        }
        site.stop().await;
    }
);

db_test!(
    who_is_subscribed_elsewhere_is_asked_and_each_who_is_subscribed_here_is_told,
    [("signup.client_limits", "100/1h")],
    async |app: &TestApp| {
        let site = app.serve().await;
        for (slug, readers) in [("asia", &[ADA][..]), ("world", &[BOB, EVE][..])] {
            app.newsletter(slug).await;
            for email in readers {
                app.reader(&site, slug, email).await;
            }
        }
        app.time.advance(Duration::from_millis(1));
        let told = async |email| {
            let subscription = app.subscription(email).await;
            Decision::Send(NoticeKind::ManageLink, Some(subscription))
        };
        let asked = Decision::Send(NoticeKind::Confirmation, None);
        for (email, expect) in [(ADA, asked), (BOB, told(BOB).await), (EVE, told(EVE).await)] {
            let answer = site.post("/subscribe/world", &[("email", email)]).await;
            answer.assert_status(303);
            assert_eq!(claim(app, email).await, expect, "{email}");
        }
        site.stop().await;
    }
);

db_test!(
    nobody_is_welcomed_who_has_left_or_is_not_to_be_mailed,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        let welcome = Decision::Send(NoticeKind::Welcome, Some(app.subscription(ADA).await));
        assert_eq!(claim_as(app, ADA, NoticeKind::Welcome).await, welcome);
        suppress(app, ADA, "operator", app.now()).await;
        let decided = claim_as(app, ADA, NoticeKind::Welcome).await;
        assert_eq!(decided, Decision::Skip(Reason::Suppressed));
        let leave = app.reader(&site, "world", BOB).await;
        site.post(&leave, &[]).await.assert_status(200);
        let decided = claim_as(app, BOB, NoticeKind::Welcome).await;
        assert_eq!(decided, Decision::Skip(Reason::Unsubscribed));
        site.stop().await;
    }
);

const SUPPRESS: &str = "INSERT INTO suppressions (key, scope, reason, at) VALUES ($1, $2, $3, $4)";

/// The address is not to be mailed from now on, by all newsletters or by one.
pub(crate) async fn suppress_in(app: &TestApp, email: &str, scope: &str, reason: &'static str) {
    let key = app.keys.suppression_key(email).hash;
    let (scope, at) = (scope.to_owned(), app.now());
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SUPPRESS)
                    .bind(&key[..])
                    .bind(&scope)
                    .bind(reason)
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

db_test!(
    a_refusal_beside_a_bounce_stands_whichever_of_the_two_is_for_all_newsletters,
    async |app: &TestApp| {
        let world = app.newsletter("world").await.id.to_string();
        let site = app.serve().await;
        for (email, bounce, refusal) in [(ADA, "all", &*world), (BOB, &*world, "all")] {
            let answer = site.post("/subscribe/world", &[("email", email)]).await;
            answer.assert_status(303);
            suppress_in(app, email, bounce, "hard_bounce").await;
            suppress_in(app, email, refusal, "request").await;
            let link = format!("/confirm/{}", app.confirm_token(email).await);
            site.post(&link, &[]).await.assert_status(404);
        }
        assert!(app.rows_of("subscription").await.is_empty());
        assert_eq!(app.rows_of("suppression").await.len(), 4);
        site.stop().await;
    }
);

db_test!(
    what_was_not_sent_does_not_count_against_an_addresss_limits_and_what_was_counts_in_every_newsletter,
    [
        ("signup.client_limits", "100/1h"),
        ("signup.address_limits", "2/24h")
    ],
    async |app: &TestApp| {
        for slug in ["world", "asia", "europe"] {
            app.newsletter(slug).await;
        }
        let site = app.serve().await;
        app.reader(&site, "world", ADA).await;
        let told = Decision::Send(NoticeKind::ManageLink, Some(app.subscription(ADA).await));
        for (slug, expect) in [
            ("world", told),
            ("world", Decision::Skip(Reason::ToldAlready)),
            ("asia", Decision::Send(NoticeKind::Confirmation, None)),
            ("europe", Decision::Skip(Reason::AddressLimit)),
        ] {
            app.time.advance(Duration::from_millis(1));
            let path = format!("/subscribe/{slug}");
            site.post(&path, &[("email", ADA)]).await.assert_status(303);
            assert_eq!(claim(app, ADA).await, expect, "{slug}");
        }
        site.stop().await;
    }
);

db_test!(
    a_mail_that_was_to_say_that_there_is_a_subscription_is_decided_anew_at_its_next_claim,
    [("signup.address_limits", "10/24h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", ADA).await;
        let told = Decision::Send(NoticeKind::ManageLink, Some(app.subscription(ADA).await));
        app.time.advance(Duration::from_millis(1));
        let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
        answer.assert_status(303);
        assert_eq!(claim_as(app, ADA, NoticeKind::ManageLink).await, told);
        site.post(&leave, &[]).await.assert_status(200);
        let decided = claim_as(app, ADA, NoticeKind::ManageLink).await;
        assert_eq!(decided, Decision::Send(NoticeKind::Confirmation, None));
        site.stop().await;
    }
);

db_test!(
    a_bounce_keeps_confirmations_away_whatever_stands_beside_it,
    async |app: &TestApp| {
        let world = app.newsletter("world").await.id.to_string();
        let site = app.serve().await;
        for (email, bounce, erased) in [(ADA, "all", &*world), (BOB, &*world, "all")] {
            suppress_in(app, email, bounce, "hard_bounce").await;
            suppress_in(app, email, erased, "erased").await;
            let answer = site.post("/subscribe/world", &[("email", email)]).await;
            answer.assert_status(303);
            let decided = claim(app, email).await;
            assert_eq!(decided, Decision::Skip(Reason::Suppressed), "{email}");
        }
        site.stop().await;
    }
);
