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
const TOUCHES: &str = "UPDATE workers SET host = host WHERE id = $1";
const CONFIRMS: &str = "UPDATE signups SET confirmed_at = requested_at WHERE id = $1";

/// What `act` gives beside another write, which does `sql` with `id` and has not committed: it must wait for that one's end.
async fn beside<T>(press: &Press, sql: &'static str, id: Uuid, act: impl Future<Output = T>) -> T {
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
    let mut acting = pin!(act);
    let early = timeout(Duration::from_millis(300), &mut acting).await;
    assert!(early.is_err(), "nobody knows yet: {sql}");
    may_end.send(()).unwrap();
    other.await.unwrap().unwrap();
    acting.await
}

async fn mark_beside(press: &Press, ready: &Ready, sql: &'static str, id: Uuid) -> Marked {
    let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
    beside(press, sql, id, ledger.mark(ready, "x"))
        .await
        .unwrap()
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

db_test!(
    a_sign_of_life_that_had_to_wait_counts_from_before_it_waited,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let worker = press.worker().await;
        let beating = async {
            let waits = async { press.time.advance(Duration::from_secs(40)) };
            tokio::join!(worker.beat(), waits).0
        };
        let shown = beside(&press, TOUCHES, worker.id().0, beating).await;
        shown.unwrap();
        press.time.advance(Duration::from_secs(10));
        assert!(worker.is_alive());
        press.time.advance(Duration::from_secs(10));
        assert!(!worker.is_alive(), "others count from then, too");
    }
);

/// What another transaction, whose process may stand still, has in hand is left alone.
#[cfg(feature = "test-postgres")]
mod in_hand {
    use paperround::deliveries::{State, recover};
    use paperround::id::DeliveryId;

    use super::*;
    use crate::support::Engine;

    const TOUCHES: &str = "UPDATE deliveries SET recipient = recipient WHERE id = $1";
    // by nobody who is alive
    const CLAIMED: &str = "UPDATE deliveries SET state = 'claimed', owner = id";
    const ON_THE_WIRE: &str =
        "UPDATE deliveries SET state = 'transmitting', owner = id, lease_until = created_at";

    /// What `act` gives while another transaction has `mail` in hand and does not end.
    async fn meanwhile<T>(press: &Press, mail: DeliveryId, act: impl Future<Output = T>) -> T {
        let ((has_begun, begun), (may_end, end)) = (oneshot::channel(), oneshot::channel::<()>());
        let db = press.db.clone();
        let other = tokio::spawn(async move {
            db.write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(TOUCHES)
                        .bind(mail)
                        .execute(conn)
                        .await
                        .map(drop))?;
                    has_begun.send(()).unwrap();
                    let _ended = end.await;
                    Ok(())
                })
            })
            .await
        });
        begun.await.unwrap();
        let done = timeout(Duration::from_secs(10), act).await;
        let done = done.expect("it waits for nobody");
        may_end.send(()).unwrap();
        other.await.unwrap().unwrap();
        done
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sweep_waits_for_nobody() {
        let app = TestApp::start(Engine::Postgres).await;
        let press = Press::new(&app).await;
        let readers = press.readers(2).await;
        let mails = press.edition(&readers, "resend").await.deliveries;
        press.time.advance(Duration::from_secs(1));
        let leases = leases();
        for (left_behind, state) in [(CLAIMED, State::Pending), (ON_THE_WIRE, State::InDoubt)] {
            app.execute(left_behind).await;
            let before = press.state(mails[0]).await;
            let sweeping = recover::sweep(&press.db, press.now(), &leases);
            let swept = meanwhile(&press, mails[0], sweeping).await.unwrap();
            assert_eq!(swept.taken_back + swept.doubted, 1);
            assert_eq!(press.state(mails[0]).await, before, "the next sweep's");
            assert_eq!(press.state(mails[1]).await, state);
        }
        app.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_claim_waits_for_nobody() {
        let app = TestApp::start(Engine::Postgres).await;
        let press = Press::new(&app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let (_, first) = press.sign_up("ada@example.org").await;
        let (_, second) = press.sign_up("ben@example.org").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 10,
            suspects: false,
        };
        let ids = |claimed: sqlx::Result<Vec<Ready>>| -> Vec<DeliveryId> {
            let claimed = claimed.unwrap();
            claimed.iter().map(|ready| ready.claimed.id).collect()
        };
        let claiming = claim::digests(&press.db, edition.issue, terms);
        let claimed = meanwhile(&press, edition.deliveries[0], claiming).await;
        assert_eq!(ids(claimed), edition.deliveries[1..]);
        let mailroom: Arc<dyn Mailroom> = press.desk.clone();
        let claiming = claim::notices(&press.db, &mailroom, terms);
        let claimed = meanwhile(&press, first, claiming).await;
        assert_eq!(ids(claimed), [second]);
        app.finish().await;
    }
}
