use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::mailroom::{MailError, Mailroom};
use paperround::deliveries::{Claimed, State};
use paperround::smtp::channel::Channel;
use paperround::worker::mailroom::ServiceMailroom;
use paperround::worker::sender::{Parts, Sender};

use super::Press;
use super::sending::one;
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
