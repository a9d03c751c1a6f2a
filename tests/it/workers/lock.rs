//! A worker's lock is lost with its session.

use std::time::Duration;

use paperround::{read_db, worker};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{Engine, TestApp};

const END_SESSIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_lock_is_a_restores_by_now_ends() {
    let app = TestApp::start(Engine::Postgres).await;
    let prepared = worker::prepare(app.app.clone()).await.unwrap();
    let pulse = prepared.pulse();
    let lock = app.db.lock_worker().await.unwrap();
    let ended: Vec<bool> = read_db!(&app.db, |conn| sqlx::query_scalar(END_SESSIONS)
        .fetch_all(conn)
        .await)
    .unwrap();
    assert_eq!(ended, [true]);
    let alone = async {
        loop {
            // the end of the session is noticed a moment later
            match app.db.lock_alone().await {
                Ok(lock) => break lock,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let restore = timeout(SOON, alone).await.expect("the lock is free");
    let work = tokio::spawn(prepared.run(lock, CancellationToken::new()));
    timeout(SOON, work).await.expect("it ends").unwrap();
    let trouble = pulse.trouble().expect("it is said");
    assert!(trouble.contains("has lost its lock"), "{trouble}");
    drop(restore);
    app.finish().await;
}

const LOCKS: &str = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Waits until so many sessions have the lock.
async fn until_held_by(app: &TestApp, sessions: i64) {
    let locks = async || -> i64 {
        read_db!(&app.db, |conn| sqlx::query_scalar(LOCKS)
            .fetch_one(conn)
            .await)
        .unwrap()
    };
    let held = async {
        while locks().await != sessions {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, held).await.expect("it is so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_lock_was_lost_with_its_session_takes_it_again_and_goes_on() {
    let app = TestApp::start(Engine::Postgres).await;
    let prepared = worker::prepare(app.app.clone()).await.unwrap();
    let pulse = prepared.pulse();
    let lock = app.db.lock_worker().await.unwrap();
    let ended: Vec<bool> = read_db!(&app.db, |conn| sqlx::query_scalar(END_SESSIONS)
        .fetch_all(conn)
        .await)
    .unwrap();
    assert_eq!(ended, [true]);
    until_held_by(&app, 0).await;
    let stop = CancellationToken::new();
    let work = tokio::spawn(prepared.run(lock, stop.clone()));
    until_held_by(&app, 1).await;
    assert_eq!(pulse.trouble(), None);
    stop.cancel();
    work.await.unwrap();
    app.finish().await;
}
