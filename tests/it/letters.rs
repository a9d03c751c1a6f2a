//! What the mails about a sign-up say: until when its link works, how often mails come, and from when on.

use std::time::Duration;

use mail_parser::MessageParser;
use paperround::newsletters::Cadence;
use paperround::newsletters::add::{self, NewSchedule};
use paperround::token::{Purpose, READER_TOKEN_CHARS};
use paperround::worker;

use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const CONFIRM: &str = "Please confirm your subscription to World Review";
const WELCOME: &str = "Welcome to World Review";
const ALREADY: &str = "You are already subscribed to World Review";
const OUT_OF_USE: &str = "UPDATE schedules SET enabled = FALSE WHERE local_time = '06:00'";

/// A worker sends what waits to the folder that takes a relay's place; the words of the mail with this subject.
async fn words(app: &TestApp, subject: &str) -> String {
    let bytes = letter(app, subject).await;
    let mail = MessageParser::default().parse(&bytes).unwrap();
    let text = mail.body_text(0).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same: the whole mail.
async fn letter(app: &TestApp, subject: &str) -> Vec<u8> {
    let worker = worker::prepare(app.app.clone()).await.unwrap();
    worker.run_until_idle().await.unwrap();
    for file in std::fs::read_dir(app.folder().join("outbox")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let mail = MessageParser::default().parse(&bytes);
        let is_wanted = mail.unwrap().subject() == Some(subject);
        if is_wanted {
            return bytes;
        }
    }
    panic!("no mail is called {subject}")
}

db_test!(
    a_confirmation_and_a_welcome_say_until_when_how_often_and_from_when,
    [("signup.confirm_lifetime", "3h")],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        for time in ["06:00", "15:00", "09:00", "12:00"] {
            // so that they stand in this order
            app.time.advance(Duration::from_millis(1));
            let zone = "Europe/Berlin".parse().unwrap();
            let weekly = NewSchedule::usual(Cadence::Weekly, time.parse().unwrap(), zone);
            add::schedule(app, newsletter, weekly).await.unwrap();
        }
        app.execute(OUT_OF_USE).await;
        let site = app.serve().await;
        let form = [("email", ADA), ("cadence", "weekly")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let sent = site.get("/subscribe/world/sent").await;
        let hours = "The link works for 3 hours.";
        assert!(sent.body.contains(hours), "{}", sent.body);
        let gone = site.get("/confirm/x").await;
        let hours = "A confirmation link works for 3 hours,";
        assert!(gone.body.contains(hours), "{}", gone.body);
        let asked = words(app, CONFIRM).await;
        for said in [
            "entered this address on 7 July 2026, 07:00 CEST",
            "The link works until 7 July 2026, 10:00 CEST.",
            "It comes once a week.",
        ] {
            assert!(asked.contains(said), "{said}: {asked}");
        }
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        assert!(asked.contains(&link), "{asked}");
        let page = site.post(&link, &[]).await;
        let first = "13 July 2026, 09:00 CEST";
        assert!(page.assert_status(200).body.contains(first));
        let welcomed = words(app, WELCOME).await;
        for said in [
            "will come once a week.",
            &format!("The first one leaves on {first}"),
        ] {
            assert!(welcomed.contains(said), "{said}: {welcomed}");
        }
        site.stop().await;
    }
);

db_test!(
    a_sign_up_is_told_of_by_the_names_of_its_topics_the_newsletters_rhythm_and_who_reads_replies,
    async |app: &TestApp| {
        let mut newsletter = app.newsletter("world").await;
        for (slug, name) in [("asia", "Asia and Pacific"), ("europe", "The Continent")] {
            let (slug, name) = (slug.parse().unwrap(), name.to_owned());
            let made = add::topic(app, newsletter.id, slug, name, None).await;
            made.unwrap();
        }
        newsletter.default_cadence = Cadence::Monthly;
        newsletter.reply_to = Some("desk@world-review.org".to_owned());
        add::edit(app, newsletter).await.unwrap();
        let site = app.serve().await;
        let form = [("email", ADA), ("topic", "asia")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let asked = words(app, CONFIRM).await;
        for said in ["Topics: Asia and Pacific.", "It comes once a month."] {
            assert!(asked.contains(said), "{said}: {asked}");
        }
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        let page = site.get(&link).await.body;
        for shown in [
            "<dd>Asia and Pacific</dd>",
            "One mail a month.",
            "mailto:desk@world-review.org",
        ] {
            assert!(page.contains(shown), "{shown}: {page}");
        }
        site.post(&link, &[]).await.assert_status(200);
        let welcomed = words(app, WELCOME).await;
        let often = "will come once a month.";
        assert!(welcomed.contains(often), "{welcomed}");
        for subject in [CONFIRM, WELCOME] {
            let bytes = letter(app, subject).await;
            let mail = MessageParser::default().parse(&bytes).unwrap();
            let replies = mail.reply_to().expect("it says who reads replies");
            let replies = replies.first().unwrap().address();
            assert_eq!(replies, Some("desk@world-review.org"), "{subject}");
        }
        site.stop().await;
    }
);

db_test!(
    a_welcome_is_worth_sending_for_two_days,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let days = Duration::from_hours(48);
        for (email, late, outcome) in [
            (ADA, days.saturating_sub(Duration::from_secs(1)), "sent -"),
            (BOB, days, "failed expired"),
        ] {
            app.reader(&site, "world", email).await;
            app.time.advance(late);
            let worker = worker::prepare(app.app.clone()).await.unwrap();
            worker.run_until_idle().await.unwrap();
            let welcome = app.rows_of(&format!("delivery welcome {email}")).await;
            assert_eq!(welcome, [format!("delivery welcome {email} {outcome}")]);
        }
        site.stop().await;
    }
);

db_test!(
    no_rhythm_is_promised_that_a_topics_publisher_does_not_allow,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let asia = ("asia".parse().unwrap(), "Asia".to_owned());
        add::topic(app, newsletter, asia.0, asia.1, Some(Cadence::Weekly))
            .await
            .unwrap();
        let site = app.serve().await;
        let form = [("email", ADA), ("cadence", "daily"), ("topic", "asia")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let asked = words(app, CONFIRM).await;
        assert!(asked.contains("It comes once a week."), "{asked}");
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        let page = site.get(&link).await;
        assert!(page.assert_status(200).body.contains("One mail a week."));
        site.post(&link, &[]).await.assert_status(200);
        let welcomed = words(app, WELCOME).await;
        assert!(welcomed.contains("will come once a week."), "{welcomed}");
        // nor is one begun that nobody chose: the newsletter's own is daily
        let form = [("email", BOB), ("topic", "asia")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let link = format!("/confirm/{}", app.confirm_token(BOB).await);
        site.post(&link, &[]).await.assert_status(200);
        let weekly = ["interest asia weekly 0 0"; 2];
        assert_eq!(app.rows_of("interest").await, weekly);
        site.stop().await;
    }
);

db_test!(
    who_is_mailed_as_articles_appear_is_promised_no_day,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let zone = "Europe/Berlin".parse().unwrap();
        let immediate = NewSchedule::usual(Cadence::Immediate, "15:00".parse().unwrap(), zone);
        add::schedule(app, newsletter, immediate).await.unwrap();
        let site = app.serve().await;
        let form = [("email", ADA), ("cadence", "immediate")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let link = format!("/confirm/{}", app.confirm_token(ADA).await);
        let page = site.post(&link, &[]).await;
        let page = &page.assert_status(200).body;
        assert!(!page.contains("The first mail can come"), "{page}");
        let welcomed = words(app, WELCOME).await;
        let often = "as soon as an article appears";
        assert!(welcomed.contains(often), "{welcomed}");
        assert!(!welcomed.contains("The first one leaves"), "{welcomed}");
        site.stop().await;
    }
);

db_test!(
    the_mails_about_a_subscription_have_the_way_out_of_it,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        app.reader(&site, "world", BOB).await;
        app.reader(&site, "world", ADA).await;
        let answer = site.post("/subscribe/world", &[("email", ADA)]).await;
        answer.assert_status(303);
        site.stop().await;
        let subscriptions = [app.subscription(ADA).await, app.subscription(BOB).await];
        for (subject, whose) in [
            (WELCOME, &subscriptions[..]),
            (ALREADY, &subscriptions[..1]),
        ] {
            let said = words(app, subject).await;
            let (_, way_out) = said.split_once("/unsubscribe/").expect("a way out");
            let token = way_out.get(..READER_TOKEN_CHARS).unwrap();
            let named = app.keys.read_reader_token(Purpose::Unsubscribe, token);
            let named = named.expect("a way out that works").subscription;
            assert!(whose.contains(&named), "{subject}");
        }
    }
);
