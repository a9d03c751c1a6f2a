use std::time::Duration;

use paperround::deliveries::State;

use super::Press;
use super::senders::leases;
use super::sending::one;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

/// More than the buffers of a connection hold.
const MORE_THAN_BUFFERS: usize = 24 * 1024 * 1024;

db_test!(
    a_worker_that_is_taken_for_dead_within_a_message_closes_before_the_dot,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        *press.desk.padding.lock().unwrap() = MORE_THAN_BUFFERS;
        let time = press.time.clone();
        let silence = leases().own_worker_lease();
        let stands_still = Act::bytes("").calling(move || time.advance(silence));
        server.script().once(Step::Body(1000), stands_still);
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        assert!(server.accepted().is_empty());
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!((delivery.state, delivery.doubt), (State::Pending, 0));
        // its next life sends it; a busy machine has no time for so much of it again
        *press.desk.padding.lock().unwrap() = 0;
        press.time.advance(Duration::from_mins(2));
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    a_worker_that_is_taken_for_dead_closes_before_the_dot_with_another_mail_announced_behind_it,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        *press.desk.padding.lock().unwrap() = MORE_THAN_BUFFERS;
        let server = SmtpServer::start().await;
        let time = press.time.clone();
        let silence = leases().own_worker_lease();
        let stands_still = Act::bytes("").calling(move || time.advance(silence));
        server.script().once(Step::Body(1000), stands_still);
        let sender = press.sender_with(&server, 1).await;
        sender.run_until_idle().await;
        assert!(server.accepted().is_empty());
        for id in edition.deliveries {
            let row = press.delivery(id).await;
            assert_eq!((row.state, row.doubt), (State::Pending, 0));
        }
    }
);

/// Several machines: the server's clock alone says when a lease is over.
#[cfg(feature = "test-postgres")]
mod differ {
    use std::sync::Arc;

    use paperround::clock::{Clock as _, SystemClock, TestClock};
    use paperround::deliveries::claim::{self as claims, Terms};
    use paperround::deliveries::mailroom::Mailroom;
    use paperround::deliveries::worker::Worker;
    use paperround::deliveries::writer::{Ledger, Marked};
    use paperround::deliveries::{LeaseClock, Leases, recover};

    use super::super::leases::claim;
    use super::*;
    use crate::support::Engine;

    const DAY: Duration = Duration::from_hours(24);

    async fn worker(press: &Press, leases: Leases) -> Worker {
        let (db, clock, ids) = (press.db.clone(), press.time.clone(), press.ids.clone());
        Worker::start(db, clock, ids, leases).await.unwrap()
    }

    /// One whose clock is right looks for what the dead left behind.
    async fn sweep(press: &Press, leases: &Leases) {
        let now = SystemClock.now();
        recover::sweep(&press.db, now, leases).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_whose_clock_is_a_day_behind_lives_and_keeps_what_it_has() {
        let app = TestApp::start(Engine::Postgres).await;
        app.time.set(SystemClock.now() - DAY);
        let (press, edition, _server) = one(&app).await;
        let leases = Leases {
            clock: LeaseClock::Server,
            ..leases()
        };
        let worker = worker(&press, leases).await;
        let (owner, id) = (worker.id(), edition.deliveries[0]);
        let ready = claim(&press, &edition, &worker).await;
        sweep(&press, &leases).await;
        assert_eq!(press.state(id).await, State::Claimed);
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases);
        let marked = ledger.mark(&ready, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        sweep(&press, &leases).await;
        assert_eq!(press.state(id).await, State::Transmitting);
        worker.beat().await.unwrap();
        assert_eq!(worker.id(), owner);
        app.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_worker_whose_clock_is_a_day_ahead_left_behind_is_taken_back() {
        let app = TestApp::start(Engine::Postgres).await;
        app.time.set(SystemClock.now() + DAY);
        let (press, edition, _server) = one(&app).await;
        let leases = Leases {
            clock: LeaseClock::Server,
            worker: Duration::from_millis(500),
            ..leases()
        };
        let worker = worker(&press, leases).await;
        claim(&press, &edition, &worker).await;
        let taken_back = async {
            while press.state(edition.deliveries[0]).await != State::Pending {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sweep(&press, &leases).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), taken_back)
            .await
            .expect("its lease is over");
        app.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_notice_of_a_worker_whose_clock_is_a_day_behind_has_a_whole_lease_too() {
        let app = TestApp::start(Engine::Postgres).await;
        app.time.set(SystemClock.now() - DAY);
        let press = Press::new(&app).await;
        let leases = Leases {
            clock: LeaseClock::Server,
            ..leases()
        };
        let terms = Terms {
            owner: worker(&press, leases).await.id(),
            now: press.now(),
            limit: 1,
            suspects: false,
        };
        let (_, notice) = press.sign_up("ada@example.org").await;
        let mailroom: Arc<dyn Mailroom> = press.desk.clone();
        let claimed = claims::notices(&press.db, &mailroom, terms).await;
        let ready = claimed.unwrap().remove(0);
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases);
        let marked = ledger.mark(&ready, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        sweep(&press, &leases).await;
        assert_eq!(press.state(notice).await, State::Transmitting);
        app.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_whose_clock_is_a_day_ahead_takes_nothing_from_those_that_live() {
        let app = TestApp::start(Engine::Postgres).await;
        app.time.set(SystemClock.now());
        let press = Press::new(&app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let leases = Leases {
            clock: LeaseClock::Server,
            ..leases()
        };
        let (busy, idle) = (worker(&press, leases).await, worker(&press, leases).await);
        let terms = Terms {
            owner: busy.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claims::digests(&press.db, edition.issue, terms).await;
        let claimed = claimed.unwrap();
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases);
        let marked = ledger.mark(&claimed[0], "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        // it looks for what the dead left behind as it begins
        let ahead = Arc::new(TestClock::at(SystemClock.now() + DAY));
        let (db, ids) = (press.db.clone(), press.ids.clone());
        Worker::start(db, ahead, ids, leases).await.unwrap();
        for (ready, state) in claimed.iter().zip([State::Transmitting, State::Claimed]) {
            assert_eq!(press.state(ready.claimed.id).await, state);
        }
        for worker in [busy, idle] {
            let life = worker.id();
            worker.beat().await.unwrap();
            assert_eq!(worker.id(), life, "it is neither dead nor forgotten");
        }
        app.finish().await;
    }
}
