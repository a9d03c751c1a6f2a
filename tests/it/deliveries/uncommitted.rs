use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::write_db;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::Press;
use super::senders::leases;
use crate::support::{TestApp, db_test};

const CANCELS: &str = "UPDATE issues SET state = 'cancelled' WHERE id = $1";
const PAUSES: &str = "UPDATE issues SET paused_at = created_at WHERE id = $1";
const LEAVES: &str =
    "UPDATE subscriptions SET state = 'unsubscribed', ended_at = started_at WHERE id = $1";
const CONFIRMS: &str = "UPDATE signups SET confirmed_at = requested_at WHERE id = $1";

/// Marks beside another write, which does `sql` with `id` and has not committed: it must wait for that one's end.
async fn mark_beside(press: &Press, ready: &Ready, sql: &'static str, id: Uuid) -> Marked {
    let ((has_begun, begun), (may_end, end)) = (oneshot::channel(), oneshot::channel::<()>());
    let db = press.db.clone();
    let other = tokio::spawn(async move {
        db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(sql)
                    .bind(id)
                    .execute(conn)
                    .await
                    .map(drop))?;
                has_begun.send(()).unwrap();
                end.await.unwrap();
                Ok(())
            })
        })
        .await
    });
    begun.await.unwrap();
    let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
    let mut marking = pin!(ledger.mark(ready, "x"));
    let early = timeout(Duration::from_millis(300), &mut marking).await;
    assert!(early.is_err(), "nobody knows yet: {sql}");
    may_end.send(()).unwrap();
    other.await.unwrap().unwrap();
    marking.await.unwrap()
}

db_test!(
    a_digest_is_not_marked_beside_what_will_stop_it_when_it_commits,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for (name, sql) in [("cancel", CANCELS), ("pause", PAUSES), ("goodbye", LEAVES)] {
            let readers = press.readers_at(&format!("{name}.example"), 1).await;
            let edition = press.edition(&readers, "resend").await;
            let ready = press.claim_one(&edition).await;
            let id = if sql == LEAVES {
                readers[0].subscription.0
            } else {
                edition.issue.0
            };
            let marked = mark_beside(&press, &ready, sql, id).await;
            assert_eq!(marked, Marked::No, "{name}");
        }
    }
);

db_test!(
    a_notice_is_not_marked_beside_what_will_stop_it_when_it_commits,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        press.welcome(&reader).await;
        let welcome = claim_notice(&press).await;
        let id = reader.subscription.0;
        let marked = mark_beside(&press, &welcome, LEAVES, id).await;
        assert_eq!(marked, Marked::No);
        let (signup, _) = press.sign_up("ben@example.org").await;
        let confirmation = claim_notice(&press).await;
        let marked = mark_beside(&press, &confirmation, CONFIRMS, signup.0).await;
        assert_eq!(marked, Marked::No);
    }
);

/// The one notice that waits, claimed by a new worker.
async fn claim_notice(press: &Press) -> Ready {
    let mailroom: Arc<dyn Mailroom> = press.desk.clone();
    let terms = Terms {
        owner: press.worker().await.id(),
        now: press.now(),
        limit: 1,
        suspects: false,
    };
    let claimed = claim::notices(&press.db, &mailroom, terms).await;
    claimed.unwrap().remove(0)
}
