use std::sync::Arc;
use std::time::Duration;

use paperround::db::Db;
use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::decide::{HeldDecision, decide, retry_failed};
use paperround::deliveries::enqueue::{self, NewNotice};
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Kind, Reason, State};
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::id::{DeliveryId, IssueId};
use paperround::issues::compose::{self, Created, create_manual};
use paperround::issues::manual::ManualIssue;
use paperround::issues::prepare::{Preparation, Step};
use paperround::issues::render::Renderer;
use paperround::subscribers::evidence::{Channel, Evidence};
use paperround::subscribers::unsubscribe::unsubscribe;
use paperround::token::ReaderToken;
use paperround::{worker, write_db};

use super::senders::leases;
use super::{Press, Reader};
use crate::support::smtp_server::{Act, SmtpServer, Step as At};
use crate::support::{TestApp, db_test};

const TOUCH_ISSUE: &str = "UPDATE issues SET number = number WHERE id = $1";

async fn decide_again(press: &Press, issue: IssueId, id: DeliveryId) {
    let now = press.now();
    let expires_at = now + Duration::from_hours(48);
    let again = HeldDecision::SendAgain;
    press
        .db
        .write(move |tx| {
            Box::pin(async move { decide(tx, issue, id, again, now, expires_at).await })
        })
        .await
        .unwrap();
}

/// A notice about this reader's subscription, claimed and ready to be sent.
async fn claimed_notice(press: &Press, kind: Kind, reader: &Reader) -> claim::Ready {
    let now = press.now();
    let notice = NewNotice {
        id: press.ids.next(),
        kind,
        newsletter_id: press.newsletter,
        signup_id: None,
        subscription_id: Some(reader.subscription),
        recipient: reader.email.clone(),
        domain: "example.org".to_owned(),
        payload: None,
        now,
        expires_at: now + Duration::from_hours(48),
    };
    press
        .write(move |tx| Box::pin(async move { enqueue::notice(tx, &notice).await }))
        .await;
    let mailroom: Arc<dyn Mailroom> = press.desk.clone();
    let terms = Terms {
        owner: press.worker().await.id(),
        now,
        limit: 1,
        suspects: false,
    };
    let mut claimed = claim::notices(&press.db, &mailroom, terms).await.unwrap();
    claimed.remove(0)
}

db_test!(
    a_held_mail_that_is_sent_again_after_the_goodbye_does_not_leave,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let edition = press.edition(std::slice::from_ref(&reader), "hold").await;
        let id = edition.deliveries[0];
        let server = SmtpServer::start().await;
        server.script().once(At::Dot, Act::close());
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(press.state(id).await, State::Held);
        press.unsubscribe(&reader).await;
        decide_again(&press, edition.issue, id).await;
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 0);
        let delivery = press.delivery(id).await;
        let end = (delivery.state, delivery.reason);
        assert_eq!(end, (State::Skipped, Some(Reason::Unsubscribed)));
    }
);

db_test!(
    a_failed_mail_that_is_retried_after_the_goodbye_does_not_leave,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let edition = press.edition(std::slice::from_ref(&reader), "resend").await;
        let id = edition.deliveries[0];
        let server = SmtpServer::start().await;
        server
            .script()
            .once(At::Rcpt, Act::reply("550 5.1.1 no such user"));
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        assert_eq!(press.state(id).await, State::Failed);
        press.unsubscribe(&reader).await;
        let (issue, now) = (edition.issue, press.now());
        press
            .db
            .write(move |tx| {
                let expires_at = now + Duration::from_hours(48);
                Box::pin(async move { retry_failed(tx, issue, now, expires_at).await })
            })
            .await
            .unwrap();
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 0);
        let delivery = press.delivery(id).await;
        assert_eq!(delivery.reason, Some(Reason::Unsubscribed));
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    a_claimed_notice_about_a_subscription_that_ended_is_not_marked,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for kind in [Kind::Welcome, Kind::ManageLink] {
            let reader = press.reader(&format!("{kind}@example.org")).await;
            let ready = claimed_notice(&press, kind, &reader).await;
            press.unsubscribe(&reader).await;
            let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
            let marked = ledger.mark(&ready, "x").await.unwrap();
            assert_eq!(marked, Marked::No, "{kind}");
        }
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        for _ in 0..5 {
            sender.run_until_idle().await;
            press.time.advance(Duration::from_mins(1));
        }
        assert_eq!(server.accepted().len(), 0);
    }
);

async fn with_relay(app: &TestApp) {
    // the outbox folder takes what would leave
    let worker = worker::prepare(app.app.clone()).await.unwrap();
    worker.run_until_idle().await.unwrap();
}

db_test!(
    who_left_before_the_notice_was_made_gets_none,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let leave = app.reader(&site, "world", "ada@example.org").await;
        // a welcome waits, and a second sign-up that would be told of the subscription
        app.time.advance(Duration::from_secs(1));
        let form = [("email", "ada@example.org")];
        let answer = site.post("/subscribe/world", &form).await;
        answer.assert_status(303);
        site.post(&leave, &[]).await.assert_status(200);
        with_relay(app).await;
        for row in app.rows_of("delivery").await {
            let left = row.contains(" sent ");
            // the form was filled in again: asking whether that was meant is no mail of the subscription
            assert!(!left || row.contains(" confirmation "), "{row}");
        }
        site.stop().await;
    }
);

/// Ada and Ben, and an issue for them that is frozen.
async fn frozen_issue(app: &TestApp) -> IssueId {
    let newsletter = app.newsletter("world").await;
    let site = app.serve().await;
    for email in ["ada@example.org", "ben@example.org"] {
        app.reader(&site, "world", email).await;
    }
    site.stop().await;
    let article = PostedArticle {
        external_id: "a".to_owned(),
        url: "https://example.org/a".to_owned(),
        title: "A title".to_owned(),
        ..PostedArticle::default()
    };
    publish(app, newsletter.id, vec![article]).await.unwrap();
    with_relay(app).await;
    let new = ManualIssue::default().issue(app, &newsletter, true);
    let Created::Issue(id) = create_manual(app, new).await.unwrap() else {
        panic!("there is something to send");
    };
    let now = app.now();
    app.db
        .write(move |tx| Box::pin(async move { compose::freeze(tx, id, now).await }))
        .await
        .unwrap();
    id
}

/// Keeps chunks of the issue from being written until the sender is used.
async fn lock_issue(db: &Db, id: IssueId) -> tokio::sync::oneshot::Sender<()> {
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (unlock, unlocked) = tokio::sync::oneshot::channel::<()>();
    let db = db.clone();
    tokio::spawn(async move {
        db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(TOUCH_ISSUE)
                    .bind(id)
                    .execute(conn)
                    .await
                    .map(drop))?;
                locked.send(()).unwrap();
                let _unlocked = unlocked.await;
                Ok(())
            })
        })
        .await
        .unwrap();
    });
    is_locked.await.unwrap();
    unlock
}

db_test!(
    who_leaves_between_the_reading_of_a_chunk_and_its_writing_gets_no_mail,
    async |app: &TestApp| {
        let id = frozen_issue(app).await;
        let token = ReaderToken {
            subscription: app.subscription("ada@example.org").await,
            issue: None,
        };
        let unlock = lock_issue(&app.db, id).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut leaving = Box::pin(unsubscribe(
            &app.app,
            token,
            Evidence::of(Channel::OneClick),
        ));
        if matches!(app.db, Db::Sqlite { .. }) {
            // in the writer's queue before the chunk
            assert!(futures_util::FutureExt::now_or_never(&mut leaving).is_none());
        }
        let mut preparation = Preparation::new(app, &renderer, id, 10);
        let mut chunk = Box::pin(preparation.step());
        let early = tokio::time::timeout(Duration::from_millis(500), &mut chunk).await;
        assert!(early.is_err(), "the chunk was read and cannot be written");
        if matches!(app.db, Db::Sqlite { .. }) {
            unlock.send(()).unwrap();
            leaving.await.unwrap();
        } else {
            leaving.await.unwrap();
            unlock.send(()).unwrap();
        }
        assert!(matches!(chunk.await.unwrap(), Step::Chunk(_)));
        with_relay(app).await;
        let digests = app.rows_of("delivery digest").await;
        let to = |name: &str| {
            let theirs = digests.iter().filter(|row| row.contains(name));
            theirs.filter(|row| row.contains(" sent ")).count()
        };
        assert_eq!((to("ada@"), to("ben@")), (0, 1), "{digests:?}");
    }
);
