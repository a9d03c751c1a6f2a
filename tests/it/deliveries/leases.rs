use std::time::Duration;

use paperround::db::Db;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::settlement::Settlement;
use paperround::deliveries::worker::Worker;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{State, recover};
use paperround::worker;

use super::senders::leases;
use super::sending::one;
use super::{Edition, Press};
use crate::support::{TestApp, db_test};

/// `worker` claims the edition's one row.
pub(super) async fn claim(press: &Press, edition: &Edition, worker: &Worker) -> Ready {
    let terms = Terms {
        owner: worker.id(),
        now: press.now(),
        limit: 10,
        suspects: false,
    };
    let claimed = claim::digests(&press.db, edition.issue, terms).await;
    claimed.unwrap().remove(0)
}

async fn sweep(press: &Press) {
    recover::sweep(&press.db, press.now(), &leases())
        .await
        .unwrap();
}

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

db_test!(
    k4_what_a_worker_has_claimed_is_its_own_while_it_shows_life,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let first = press.worker_beside_others().await;
        let ready = claim(&press, &edition, &first).await;
        let id = edition.deliveries[0];
        press.time.advance(Duration::from_secs(40));
        first.beat().await.unwrap();
        press.time.advance(Duration::from_secs(40));
        let second = press.worker_beside_others().await;
        assert_eq!(press.state(id).await, State::Claimed);
        press.time.advance(Duration::from_secs(21));
        sweep(&press).await;
        let retaken = press.delivery(id).await;
        assert_eq!((retaken.state, retaken.crashes), (State::Pending, 1));
        assert!(second.is_alive());
        // the first one was only slow: nothing that it claimed is its own, and its next sign of life is another's
        let dead = first.id();
        assert!(!first.is_still(dead));
        assert_eq!(ledger(&press).mark(&ready, "x").await.unwrap(), Marked::No);
        first.beat().await.unwrap();
        assert!(first.is_alive() && first.id() != dead && !first.is_still(dead));
        assert_eq!(press.state(id).await, State::Pending);
    }
);

db_test!(
    a_worker_with_nothing_in_hand_lives_on_when_another_begins,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let idle = press.worker_beside_others().await;
        let life = idle.id();
        press.worker_beside_others().await;
        idle.beat().await.unwrap();
        assert_eq!(idle.id(), life, "it is not taken for dead");
    }
);

db_test!(
    a_process_that_begins_takes_over_at_once_where_nobody_else_can_be_at_work,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let before = press.worker_beside_others().await;
        claim(&press, &edition, &before).await;
        let _begins = worker::prepare(app.app.clone()).await.unwrap();
        let expected = match app.db {
            // its lock admits one
            Db::Sqlite { .. } => State::Pending,
            Db::Postgres(_) => State::Claimed,
        };
        assert_eq!(press.state(edition.deliveries[0]).await, expected);
    }
);

db_test!(
    k5_a_worker_stops_by_its_own_clock_before_others_take_it_for_dead,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let ready = claim(&press, &edition, &worker).await;
        press.time.advance(Duration::from_secs(54));
        assert!(worker.is_still(ready.claimed.owner));
        press.time.advance(Duration::from_secs(1));
        assert!(!worker.is_alive());
        sweep(&press).await;
        assert_eq!(
            press.state(edition.deliveries[0]).await,
            State::Claimed,
            "not yet"
        );
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No, "its sign of life is too old for a mark");
    }
);

db_test!(
    the_fence_of_a_mark_stands_a_margin_before_the_end_of_its_lease,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let ready = claim(&press, &edition, &worker).await;
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        let Marked::Yes { fence } = marked else {
            panic!("nothing stands in its way");
        };
        press.time.advance(Duration::from_mins(14));
        assert!(!fence.is_over(&*press.time));
        // a quarter of an hour, but for the margin of five seconds
        press.time.advance(Duration::from_secs(55));
        assert!(fence.is_over(&*press.time));
        sweep(&press).await;
        let id = edition.deliveries[0];
        assert_eq!(press.state(id).await, State::Transmitting, "not yet");
    }
);

db_test!(
    d6_a_mark_whose_commit_was_not_heard_of_is_found_made,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let ready = claim(&press, &edition, &worker).await;
        let id = edition.deliveries[0];
        let ledger = ledger(&press);
        for _ in 0..2 {
            let marked = ledger.mark(&ready, "x").await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }));
            assert_eq!(press.state(id).await, State::Transmitting);
        }
        let back = Settlement::untouched(&ready.claimed, press.now());
        ledger.settle(back).await;
        assert_eq!(ledger.mark(&ready, "x").await.unwrap(), Marked::No);
        assert_eq!(press.state(id).await, State::Pending);
    }
);

db_test!(
    what_is_given_back_twice_is_not_taken_from_the_claim_that_came_between,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let (ledger, id) = (ledger(&press), edition.deliveries[0]);
        let earlier = claim(&press, &edition, &worker).await;
        ledger.give_back(&earlier.claimed, press.now()).await;
        let ready = claim(&press, &edition, &worker).await;
        ledger.give_back(&earlier.claimed, press.now()).await;
        assert_eq!(press.state(id).await, State::Claimed);
        let marked = ledger.mark(&ready, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        ledger.give_back(&earlier.claimed, press.now()).await;
        assert_eq!(press.state(id).await, State::Transmitting);
    }
);

db_test!(
    an_earlier_claim_of_the_same_worker_marks_and_ends_nothing_of_a_later_one,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let (ledger, id) = (ledger(&press), edition.deliveries[0]);
        let earlier = claim(&press, &edition, &worker).await;
        ledger.give_back(&earlier.claimed, press.now()).await;
        claim(&press, &edition, &worker).await;
        let marked = ledger.mark(&earlier, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        assert_eq!(press.state(id).await, State::Claimed);
        let end = Settlement::untouched(&earlier.claimed, press.now());
        ledger.refuse(end).await;
        assert_eq!(press.state(id).await, State::Claimed);
    }
);

#[cfg(feature = "test-postgres")]
mod deadlocks {
    use paperround::db::Tx;
    use paperround::id::{IssueId, SubscriptionId};
    use paperround::read_db;
    use tokio::sync::oneshot;

    use super::*;
    use crate::support::Engine;

    // the other one finds the deadlock first
    const PATIENT: &str = "SET LOCAL deadlock_timeout = '60s'";
    const LOCK_SUBSCRIPTION: &str =
        "UPDATE subscriptions SET paused_until = paused_until WHERE id = $1";
    const LOCK_ISSUE: &str = "UPDATE issues SET subject = subject WHERE id = $1";
    const WRITER_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'
           AND query LIKE 'SELECT id FROM subscriptions%')";
    const QUEUE: &str = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE subscriptions%'";

    /// Locks in the wrong order: the subscription, and the issue once the writer waits for the subscription.
    async fn block(
        db: Db,
        subscription: SubscriptionId,
        issue: IssueId,
        has_begun: oneshot::Sender<()>,
    ) {
        let watcher = db.clone();
        let work = db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                let Tx::Postgres(tx) = tx else {
                    unreachable!("the test is for PostgreSQL");
                };
                sqlx::query(PATIENT).execute(&mut **tx).await?;
                has_begun.send(()).unwrap();
                let locks = sqlx::query(LOCK_SUBSCRIPTION).bind(subscription);
                locks.execute(&mut **tx).await?;
                let waits = async || -> bool {
                    read_db!(&watcher, |conn| sqlx::query_scalar(WRITER_WAITS)
                        .fetch_one(conn)
                        .await)
                    .unwrap()
                };
                while !waits().await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let locks = sqlx::query(LOCK_ISSUE).bind(issue);
                locks.execute(&mut **tx).await.map(drop)
            })
        });
        work.await.unwrap();
    }

    /// One more than there are tries without the writer's own repetitions.
    const DEADLOCKS: usize = 3;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn d8_a_mark_survives_deadlocks() {
        let app = TestApp::start(Engine::Postgres).await;
        let (press, edition, _server) = one(&app).await;
        let worker = press.worker_beside_others().await;
        let ready = claim(&press, &edition, &worker).await;
        let subscription = ready.claimed.subscription_id.unwrap();
        let mut blocks = Vec::new();
        for waiting in 0..DEADLOCKS {
            let (has_begun, begun) = oneshot::channel();
            let (db, issue) = (press.db.clone(), edition.issue);
            blocks.push(tokio::spawn(block(db, subscription, issue, has_begun)));
            begun.await.unwrap();
            // each waits for the one before
            let queued = async || -> i64 {
                read_db!(&press.db, |conn| sqlx::query_scalar(QUEUE)
                    .fetch_one(conn)
                    .await)
                .unwrap()
            };
            while queued().await < i64::try_from(waiting).unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        for block in blocks {
            block.await.unwrap();
        }
        let marked = press.delivery(edition.deliveries[0]).await;
        assert_eq!((marked.state, marked.attempt), (State::Transmitting, 1));
        app.finish().await;
    }
}
