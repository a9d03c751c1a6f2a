//! What the mails about a sign-up say: until when its link works, how often mails come, and from when on.

use mail_parser::MessageParser;
use paperround::newsletters::Cadence;
use paperround::newsletters::add::{self, NewSchedule};
use paperround::worker;

use crate::support::{TestApp, db_test};

const ADA: &str = "ada@example.org";
const OUT_OF_USE: &str = "UPDATE schedules SET enabled = FALSE WHERE local_time = '06:00'";

/// A worker sends what waits to the folder that takes a relay's place; the words of the mail with this subject.
async fn words(app: &TestApp, subject: &str) -> String {
    let worker = worker::prepare(app.app.clone()).await.unwrap();
    worker.run_until_idle().await.unwrap();
    for file in std::fs::read_dir(app.folder().join("outbox")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let mail = MessageParser::default().parse(&bytes).unwrap();
        if mail.subject() == Some(subject) {
            let text = mail.body_text(0).unwrap();
            return text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }
    panic!("no mail is called {subject}")
}

db_test!(
    a_confirmation_and_a_welcome_say_until_when_how_often_and_from_when,
    [("signup.confirm_lifetime", "3h")],
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        for time in ["06:00", "09:00"] {
            let zone = "Europe/Berlin".parse().unwrap();
            let weekly = NewSchedule::usual(Cadence::Weekly, time.parse().unwrap(), zone);
            add::schedule(app, newsletter, weekly).await.unwrap();
        }
        app.execute(OUT_OF_USE).await;
        let site = app.serve().await;
        let form = [("email", ADA), ("cadence", "weekly")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        let asked = words(app, "Please confirm your subscription to World Review").await;
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
        let welcomed = words(app, "Welcome to World Review").await;
        for said in [
            "will come once a week.",
            &format!("The first one leaves on {first}"),
        ] {
            assert!(welcomed.contains(said), "{said}: {welcomed}");
        }
        site.stop().await;
    }
);
