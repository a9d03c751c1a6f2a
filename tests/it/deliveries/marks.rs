use std::sync::Arc;
use std::time::Duration;

use paperround::db::Tx;
use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::settlement::Settlement;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State};
use paperround::write_db;
use tokio_util::sync::CancellationToken;

use super::fences::later;
use super::recovery::acknowledged;
use super::sending::one;
use super::{Press, leases};
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, TestApp, db_test};

const NO_MARKS_SQLITE: &[&str] = &[
    "CREATE TRIGGER no_marks BEFORE UPDATE OF state ON deliveries WHEN NEW.state = 'transmitting'
     BEGIN SELECT RAISE(ABORT, 'no marks today'); END",
];
const NO_MARKS_POSTGRES: &[&str] = &[
    "CREATE FUNCTION no_marks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'no marks today';
     END $$",
    "CREATE TRIGGER no_marks BEFORE UPDATE OF state ON deliveries FOR EACH ROW
     WHEN (NEW.state = 'transmitting') EXECUTE FUNCTION no_marks()",
];
const MARKS_SQLITE: &[&str] = &["DROP TRIGGER no_marks"];
const MARKS_POSTGRES: &[&str] = &["DROP TRIGGER no_marks ON deliveries"];
const NO_ENDS_SQLITE: &[&str] = &[
    "CREATE TRIGGER no_ends BEFORE UPDATE OF state ON deliveries WHEN NEW.state = 'sent'
     BEGIN SELECT RAISE(ABORT, 'no ends today'); END",
];
const NO_ENDS_POSTGRES: &[&str] = &[
    "CREATE FUNCTION no_ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'no ends today';
     END $$",
    "CREATE TRIGGER no_ends BEFORE UPDATE OF state ON deliveries FOR EACH ROW
     WHEN (NEW.state = 'sent') EXECUTE FUNCTION no_ends()",
];
const ENDS_SQLITE: &[&str] = &["DROP TRIGGER no_ends"];
const ENDS_POSTGRES: &[&str] = &["DROP TRIGGER no_ends ON deliveries"];
const NO_FAILURES_SQLITE: &[&str] = &[
    "CREATE TRIGGER no_failures BEFORE UPDATE OF state ON deliveries WHEN NEW.state = 'failed'
     BEGIN SELECT RAISE(ABORT, 'no failures today'); END",
];
const NO_FAILURES_POSTGRES: &[&str] = &[
    "CREATE FUNCTION no_failures() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'no failures today';
     END $$",
    "CREATE TRIGGER no_failures BEFORE UPDATE OF state ON deliveries FOR EACH ROW
     WHEN (NEW.state = 'failed') EXECUTE FUNCTION no_failures()",
];
const FAILURES_SQLITE: &[&str] = &["DROP TRIGGER no_failures"];
const FAILURES_POSTGRES: &[&str] = &["DROP TRIGGER no_failures ON deliveries"];

/// Changes what the database refuses.
pub(super) async fn execute(press: &Press, sqlite: &'static [&str], postgres: &'static [&str]) {
    press
        .write(move |tx| {
            Box::pin(async move {
                let all = match tx {
                    Tx::Sqlite(_) => sqlite,
                    Tx::Postgres(_) => postgres,
                };
                for sql in all {
                    write_db!(&mut *tx, |conn| sqlx::query(*sql)
                        .execute(conn)
                        .await
                        .map(drop))?;
                }
                Ok(())
            })
        })
        .await;
}

db_test!(
    a_row_whose_mark_failed_is_given_back_and_sent_when_marks_succeed_again,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let id = edition.deliveries[0];
        let sender = press.sender(&server).await;
        execute(&press, NO_MARKS_SQLITE, NO_MARKS_POSTGRES).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let seen = async {
                // claimed again means given back
                while press.delivery(id).await.attempt < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                assert_eq!(server.accepted().len(), 0);
                execute(&press, MARKS_SQLITE, MARKS_POSTGRES).await;
                while press.state(id).await != State::Sent {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), seen)
                .await
                .unwrap();
            stop.cancel();
        });
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    while_a_result_cannot_be_stored_the_ledger_says_so_and_it_is_stored_at_last,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let ready = press.claim_one(&edition).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        ledger.mark(&ready, "x").await.unwrap();
        execute(&press, NO_ENDS_SQLITE, NO_ENDS_POSTGRES).await;
        assert!(ledger.is_healthy());
        let settled = acknowledged(&press, &ready);
        tokio::join!(ledger.settle(settled), async {
            until_refused(&ledger).await;
            execute(&press, ENDS_SQLITE, ENDS_POSTGRES).await;
        });
        assert!(ledger.is_healthy());
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
    }
);

/// Waits until the ledger knows of a result that cannot be stored.
async fn until_refused(ledger: &Ledger) {
    let refused = async {
        while ledger.is_healthy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .expect("it is not stored");
}

db_test!(
    nothing_is_marked_along_with_a_result_before_that_is_stored,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let claimed = claimed.unwrap();
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        ledger.mark(&claimed[0], "x").await.unwrap();
        execute(&press, NO_ENDS_SQLITE, NO_ENDS_POSTGRES).await;
        let settled = acknowledged(&press, &claimed[0]);
        let relay: Arc<str> = "x".into();
        let advanced = ledger.advance(Some(settled), &claimed[1], &relay);
        let (marked, ()) = tokio::join!(advanced, async {
            until_refused(&ledger).await;
            let second = press.state(claimed[1].claimed.id).await;
            assert_eq!(second, State::Claimed);
            execute(&press, ENDS_SQLITE, ENDS_POSTGRES).await;
        });
        assert!(matches!(marked.unwrap(), Marked::Yes { .. }));
        assert_eq!(press.state(claimed[0].claimed.id).await, State::Sent);
    }
);

db_test!(
    a_result_that_is_stored_at_last_hides_no_other_that_is_not,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let claimed = claimed.unwrap();
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        for ready in &claimed {
            ledger.mark(ready, "x").await.unwrap();
        }
        execute(&press, NO_ENDS_SQLITE, NO_ENDS_POSTGRES).await;
        execute(&press, NO_FAILURES_SQLITE, NO_FAILURES_POSTGRES).await;
        let sent = acknowledged(&press, &claimed[0]);
        let failed = Settlement {
            state: State::Failed,
            reason: Some(Reason::Refused),
            ..acknowledged(&press, &claimed[1])
        };
        let first = async {
            ledger.settle(sent).await;
            until_refused(&ledger).await;
            execute(&press, FAILURES_SQLITE, FAILURES_POSTGRES).await;
        };
        tokio::join!(first, ledger.settle(failed), async {
            until_refused(&ledger).await;
            // by then both were tried
            tokio::time::sleep(Duration::from_millis(200)).await;
            execute(&press, ENDS_SQLITE, ENDS_POSTGRES).await;
        });
        assert!(ledger.is_healthy());
    }
);

db_test!(
    nothing_is_claimed_while_a_result_cannot_be_stored,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        execute(&press, NO_ENDS_SQLITE, NO_ENDS_POSTGRES).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let mut waits = None;
            // some may leave before the first one's result cannot be stored
            for number in 0..20 {
                let domain = format!("number{number}.example");
                let readers = press.readers_at(&domain, 1).await;
                let id = press.edition(&readers, "resend").await.deliveries[0];
                tokio::time::sleep(Duration::from_millis(50)).await;
                if press.delivery(id).await.attempt == 0 {
                    waits = Some(id);
                    break;
                }
            }
            let id = waits.expect("one is not claimed");
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(press.delivery(id).await.attempt, 0);
            execute(&press, ENDS_SQLITE, ENDS_POSTGRES).await;
            let sent = async {
                while press.state(id).await != State::Sent {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), sent)
                .await
                .expect("it is sent");
            stop.cancel();
        });
    }
);

#[tokio::test]
async fn a_result_that_could_not_be_stored_for_long_is_stored_soon_when_it_can_be() {
    let app = TestApp::start(Engine::Sqlite).await;
    let (press, edition, _server) = one(&app).await;
    let ready = press.claim_one(&edition).await;
    let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
    ledger.mark(&ready, "x").await.unwrap();
    execute(&press, NO_ENDS_SQLITE, NO_ENDS_POSTGRES).await;
    let settled = acknowledged(&press, &ready);
    tokio::join!(ledger.settle(settled), async {
        until_refused(&ledger).await;
        for _ in 0..13 {
            later(Duration::from_mins(1)).await;
            // for one more try
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        execute(&press, ENDS_SQLITE, ENDS_POSTGRES).await;
        later(Duration::from_secs(6)).await;
        let stored = async {
            while !ledger.is_healthy() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), stored)
            .await
            .expect("it is stored");
    });
    assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
    app.finish().await;
}
