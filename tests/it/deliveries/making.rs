use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::mailroom::{MailError, Mailroom};
use paperround::deliveries::{Claimed, Reason, State, operate};
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::id::IssueId;
use paperround::read_db;
use paperround::smtp::channel::Channel;
use paperround::token::{Purpose, READER_TOKEN_CHARS, ReaderToken};
use paperround::worker;
use paperround::worker::mailroom::ServiceMailroom;
use paperround::worker::sender::{Parts, Sender};

use super::Press;
use super::sending::one;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, TestApp, db_test};

const NO_VARIANTS: &str = "ALTER TABLE variants RENAME TO variants_away";
const NO_NEWSLETTERS: &str = "ALTER TABLE newsletters RENAME TO newsletters_away";

db_test!(
    a_mail_that_the_database_does_not_give_waits_a_minute_and_is_not_held,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let route = press.route(&[("scripted", &server, None)], press.time.clone());
        let mailroom = Arc::new(ServiceMailroom::new(app.app.clone()));
        let channel = Channel::Smtp(route);
        let parts = Parts::of(app, press.worker().await, channel, mailroom);
        app.execute(NO_VARIANTS).await;
        Sender::new(parts).run_until_idle().await;
        let waits = press.delivery(edition.deliveries[0]).await;
        assert_eq!((waits.state, waits.attempt), (State::Pending, 1));
        let wait = waits.not_before.since(press.now());
        assert_eq!(wait, Duration::from_mins(1));
    }
);

db_test!(
    a_mail_to_an_address_that_cannot_stand_in_an_envelope_is_held,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("\"a b\"@example.org").await;
        let edition = press.edition(&[reader], "resend").await;
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        let held = press.delivery(edition.deliveries[0]).await;
        let end = (held.state, held.reason);
        assert_eq!(end, (State::Held, Some(Reason::Unrenderable)));
        assert!(server.accepted().is_empty());
    }
);

db_test!(
    a_claimed_notice_is_stopped_by_a_suppression_of_its_address_however_that_was_written,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let site = app.serve().await;
        let form = [("email", "Ada@Example.org")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        site.stop().await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 1,
            suspects: false,
        };
        let mailroom: Arc<dyn Mailroom> = Arc::new(ServiceMailroom::new(app.app.clone()));
        let claimed = claim::notices(&press.db, &mailroom, terms).await;
        let keys = app.keys.suppression_keys("ada@example.org");
        let keys: Vec<_> = keys.iter().map(|key| key.hash.to_vec()).collect();
        assert_eq!(claimed.unwrap()[0].suppression_keys, keys);
    }
);

/// A welcome that a worker has claimed.
async fn claimed_welcome(app: &TestApp) -> Claimed {
    let press = Press::new(app).await;
    let reader = press.reader("ada@example.org").await;
    press.welcome(&reader).await;
    let terms = Terms {
        owner: press.worker().await.id(),
        now: press.now(),
        limit: 1,
        suspects: false,
    };
    let desk: Arc<dyn Mailroom> = press.desk.clone();
    let claimed = claim::notices(&press.db, &desk, terms).await;
    claimed.unwrap().remove(0).claimed
}

db_test!(
    a_notice_that_the_database_does_not_give_can_be_made_another_time,
    async |app: &TestApp| {
        let welcome = claimed_welcome(app).await;
        app.execute(NO_NEWSLETTERS).await;
        let mailroom = ServiceMailroom::new(app.app.clone());
        let error = mailroom.mail(&welcome).await.unwrap_err();
        assert!(matches!(error, MailError::Retry(_)), "{error}");
    }
);

/// The envelope sender of a welcome under these settings, and the one of its own that it has at a bounce domain.
async fn envelope_sender(settings: &[(&str, &str)]) -> (String, String) {
    let app = TestApp::start_with(Engine::Sqlite, settings).await;
    let welcome = claimed_welcome(&app).await;
    let mailroom = ServiceMailroom::new(app.app.clone());
    let mail = mailroom.mail(&welcome).await.unwrap();
    let local = app.keys.envelope_local_part(welcome.id, "-");
    app.finish().await;
    let own = format!("{local}@bounces.example.org");
    (mail.sender.to_string(), own)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_envelope_sender_is_the_fixed_one_else_one_of_the_mails_own_else_the_newsletters() {
    let (sender, _) = envelope_sender(&[]).await;
    assert_eq!(sender, "news@example.org");
    let domain = ("mail.bounce_domain", "bounces.example.org");
    let (sender, own) = envelope_sender(&[domain, ("mail.separator", "-")]).await;
    assert_eq!(sender, own);
    let fixed = ("mail.envelope_from", "fixed@example.org");
    let (sender, _) = envelope_sender(&[domain, fixed]).await;
    assert_eq!(sender, fixed.1);
}

const ISSUE: &str = "SELECT id FROM issues";
const OTHER_TIMES: &str = "UPDATE deliveries SET created_at = expires_at";

/// A worker starts, does everything that can be done now, and ends.
async fn work(app: &TestApp) {
    let worker = worker::prepare(app.app.clone()).await.unwrap();
    worker.run_until_idle().await.unwrap();
}

db_test!(
    a_digest_bears_the_time_at_which_its_issue_was_released,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let site = app.serve().await;
        app.reader(&site, "world", "ada@example.org").await;
        site.stop().await;
        let article = PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..Default::default()
        };
        publish(app, newsletter, vec![article]).await.unwrap();
        app.time.advance(Duration::from_hours(24));
        let released = app.now();
        let pausing = app.db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move { operate::pause_sending(tx, "by hand", released).await })
        });
        assert!(pausing.await.unwrap());
        work(app).await;
        app.execute(OTHER_TIMES).await;
        app.time.advance(Duration::from_hours(1));
        let expires_at = app.now() + Duration::from_hours(48);
        let resumed = operate::resume_sending(&app.db, expires_at).await;
        assert!(resumed.unwrap());
        work(app).await;
        let date = format!("Date: {}\r\n", released.to_rfc5322());
        let mut dated = 0;
        for file in std::fs::read_dir(app.folder().join("outbox")).unwrap() {
            let text = std::fs::read(file.unwrap().path()).unwrap();
            dated += usize::from(memchr::memmem::find(&text, date.as_bytes()).is_some());
        }
        assert_eq!(dated, 1, "the digest alone");
    }
);

/// What the ways out of the mails in the outbox are about.
fn ways_out(app: &TestApp) -> Vec<ReaderToken> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(app.folder().join("outbox")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let Some((_, way_out)) = text.split_once("/unsubscribe/") else {
            continue;
        };
        let token = way_out.get(..READER_TOKEN_CHARS).unwrap_or_default();
        found.extend(app.keys.read_reader_token(Purpose::Unsubscribe, token));
    }
    found
}

db_test!(
    the_way_out_of_a_digest_names_its_reader_and_its_issue,
    async |app: &TestApp| {
        let newsletter = app.newsletter("world").await.id;
        let site = app.serve().await;
        app.reader(&site, "world", "ada@example.org").await;
        site.stop().await;
        let article = PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..Default::default()
        };
        publish(app, newsletter, vec![article]).await.unwrap();
        app.time.advance(Duration::from_hours(24));
        work(app).await;
        let issue: IssueId = read_db!(&app.db, |conn| sqlx::query_scalar(ISSUE)
            .fetch_one(conn)
            .await)
        .unwrap();
        let subscription = app.subscription("ada@example.org").await;
        let about = ReaderToken {
            subscription,
            issue: Some(issue),
        };
        let digests = ways_out(app).into_iter().filter(|way| *way == about);
        assert_eq!(digests.count(), 1);
    }
);
