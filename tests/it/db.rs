//! The contract of `Db::write` and of the types that both engines store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::db::{Db, Tx};
use paperround::{read_db, write_db};
use sqlx::types::Json;
use uuid::Uuid;

use crate::support::{TestApp, db_test};

const PUT: &str = "INSERT INTO settings (key, value) VALUES ($1, $2)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING value";
const KEYS: &str = "SELECT key FROM settings ORDER BY key";
const WORKER: &str =
    "INSERT INTO workers (id, started_at, heartbeat_at, host, version) VALUES ($1, $2, $3, $4, $5)";
const WORKERS: &str =
    "SELECT id, started_at, host FROM workers WHERE heartbeat_at > $1 ORDER BY id";
// a claim: the rows of a subselect change and answer
const CLAIM_SQLITE: &str = "UPDATE workers SET host = $1 WHERE id IN
     (SELECT id FROM workers WHERE host = '' ORDER BY id LIMIT $2) RETURNING id";
const CLAIM_POSTGRES: &str = "UPDATE workers SET host = $1 WHERE id IN
     (SELECT id FROM workers WHERE host = '' ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id";

async fn put(tx: &mut Tx<'_>, key: &str, value: i64) -> sqlx::Result<Json<i64>> {
    write_db!(tx, |conn| sqlx::query_scalar(PUT)
        .bind(key)
        .bind(Json(value))
        .fetch_one(conn)
        .await)
}

async fn keys(db: &Db) -> Vec<String> {
    read_db!(db, |conn| sqlx::query_scalar(KEYS).fetch_all(conn).await).expect("keys are read")
}

async fn add_worker(tx: &mut Tx<'_>, id: Uuid, at: Timestamp) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(WORKER)
        .bind(id)
        .bind(at)
        .bind(at)
        .bind("")
        .bind("1")
        .execute(conn)
        .await
        .map(drop))
}

db_test!(
    ids_instants_and_json_are_read_as_they_were_written,
    async |app: &TestApp| {
        let at = Timestamp::from_micros(1_234_567_890_123_456);
        let id: Uuid = app.ids.next();
        let value = app
            .db
            .write(move |tx| {
                Box::pin(async move {
                    add_worker(tx, id, at).await?;
                    put(tx, "number", 7).await?;
                    put(tx, "number", 8).await
                })
            })
            .await
            .expect("the write commits");
        assert_eq!(value, Json(8));
        let sooner = Timestamp::from_micros(at.as_micros() - 1);
        let rows: Vec<(Uuid, Timestamp, String)> =
            read_db!(&app.db, |conn| sqlx::query_as(WORKERS)
                .bind(sooner)
                .fetch_all(conn)
                .await)
            .expect("rows are read");
        assert_eq!(rows, [(id, at, String::new())]);
        let none: Vec<(Uuid, Timestamp, String)> =
            read_db!(&app.db, |conn| sqlx::query_as(WORKERS)
                .bind(at)
                .fetch_all(conn)
                .await)
            .expect("rows are read");
        assert!(none.is_empty(), "an instant is not later than itself");
    }
);

db_test!(two_claims_never_take_the_same_row, async |app: &TestApp| {
    let (ids, at) = (app.ids.clone(), app.now());
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                for _ in 0..40 {
                    add_worker(tx, ids.next(), at).await?;
                }
                Ok(())
            })
        })
        .await
        .expect("the rows are there");
    let claims = (0..8).map(|n| {
        let db = app.db.clone();
        tokio::spawn(async move {
            db.write::<Vec<Uuid>, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    let sql = tx.pick(CLAIM_SQLITE, CLAIM_POSTGRES);
                    write_db!(tx, |conn| sqlx::query_scalar(sql)
                        .bind(format!("worker {n}"))
                        .bind(5_i64)
                        .fetch_all(conn)
                        .await)
                })
            })
            .await
            .expect("a claim commits")
        })
    });
    let mut owners = BTreeMap::<Uuid, usize>::new();
    for claim in claims.collect::<Vec<_>>() {
        for id in claim.await.expect("no claim panics") {
            *owners.entry(id).or_default() += 1;
        }
    }
    assert_eq!(owners.len(), 40);
    assert!(owners.values().all(|times| *times == 1));
});

db_test!(
    a_failing_write_undoes_itself_and_the_next_one_runs,
    async |app: &TestApp| {
        let failed = app
            .db
            .write::<(), sqlx::Error, _>(|tx| {
                Box::pin(async move {
                    put(tx, "gone", 1).await?;
                    Err(sqlx::Error::RowNotFound)
                })
            })
            .await;
        assert!(failed.is_err());
        app.db
            .write(|tx| Box::pin(async move { put(tx, "kept", 1).await }))
            .await
            .expect("the next write runs");
        assert_eq!(keys(&app.db).await, ["kept"]);
    }
);

db_test!(
    a_panicking_write_undoes_itself_and_the_next_one_runs,
    async |app: &TestApp| {
        let db = app.db.clone();
        let panicked = tokio::spawn(async move {
            db.write::<(), sqlx::Error, _>(|tx| {
                Box::pin(async move {
                    put(tx, "gone", 1).await?;
                    panic!("on purpose")
                })
            })
            .await
        })
        .await;
        assert!(
            panicked.is_err_and(|error| error.is_panic()),
            "the caller hears of the panic"
        );
        app.db
            .write(|tx| Box::pin(async move { put(tx, "kept", 1).await }))
            .await
            .expect("the next write runs");
        assert_eq!(keys(&app.db).await, ["kept"]);
    }
);

db_test!(
    callers_dropped_at_any_await_leave_no_open_transaction_and_their_work_is_done,
    async |app: &TestApp| {
        let finished = Arc::new(AtomicUsize::new(0));
        for polls in 0..60 {
            let finished = finished.clone();
            let write = app.db.write::<(), sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    put(tx, &format!("{polls:02}"), 1).await?;
                    tokio::task::yield_now().await;
                    put(tx, &format!("{polls:02}"), 2).await?;
                    finished.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
            });
            let mut write = Box::pin(write);
            // polled a few times, then dropped
            for _ in 0..polls / 4 {
                if futures_util::FutureExt::now_or_never(&mut write).is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let good = async {
            for n in 0..100 {
                app.db
                    .write(move |tx| {
                        Box::pin(async move { put(tx, &format!("good {n}"), 1).await })
                    })
                    .await
                    .expect("a write after the dropped ones commits");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), good)
            .await
            .expect("nothing hangs");
        // who was polled once had handed the work over
        let all_done = async {
            while finished.load(Ordering::SeqCst) < 56 || keys(&app.db).await.len() < 156 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_done)
            .await
            .expect("the work of dropped callers is done");
        let mut expected: Vec<_> = (4..60).map(|polls| format!("{polls:02}")).collect();
        expected.extend((0..100).map(|n| format!("good {n}")));
        expected.sort();
        let mut found = keys(&app.db).await;
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(finished.load(Ordering::SeqCst), 56);
        app.db.close().await;
    }
);

db_test!(migrating_again_changes_nothing, async |app: &TestApp| {
    app.db.migrate().await.expect("a second run is harmless");
    let steps = app.db.migration_status().await.expect("the status is read");
    assert!(!steps.is_empty());
    assert!(steps.iter().all(|step| step.applied));
});

const NEWER: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     VALUES (9999, 'from the future', TRUE, $1, 1)";

db_test!(
    a_database_of_a_newer_release_is_refused,
    async |app: &TestApp| {
        app.db
            .write::<_, sqlx::Error, _>(|tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(NEWER)
                        .bind(vec![0_u8])
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .expect("the row is written");
        let refused = app
            .db
            .migrate()
            .await
            .expect_err("an older release must not run");
        assert!(refused.to_string().contains("newer release"), "{refused}");
        let status = app.db.migration_status().await;
        let refused = status.expect_err("it has a step that nobody here knows");
        assert!(refused.to_string().contains("newer release"), "{refused}");
    }
);

db_test!(
    what_replaces_the_database_is_refused_until_the_workers_are_gone,
    async |app: &TestApp| {
        let mut first = app.db.lock_worker().await.expect("the first takes it");
        assert!(first.is_held().await);
        let second = app.db.lock_worker().await;
        match app.db {
            // one worker on a file
            Db::Sqlite { .. } => {
                let refused = second.expect_err("the second does not get it");
                assert!(refused.to_string().contains("another worker"), "{refused}");
            }
            Db::Postgres(_) => drop(second.expect("workers share it")),
        }
        let refused = app.db.lock_alone().await.expect_err("a worker is at work");
        assert!(refused.to_string().contains("another worker"), "{refused}");
        drop(first);
        let alone = async {
            loop {
                // PostgreSQL notices the end of a session a moment later
                match app.db.lock_alone().await {
                    Ok(lock) => break lock,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let alone = tokio::time::timeout(Duration::from_secs(10), alone)
            .await
            .expect("the lock is free again");
        assert!(app.db.lock_worker().await.is_err(), "no worker begins now");
        drop(alone);
    }
);

db_test!(
    no_more_connections_are_open_than_the_settings_say,
    [("database.max_connections", "2")],
    async |app: &TestApp| {
        let soon = Duration::from_millis(200);
        let third = match &app.db {
            Db::Sqlite { reader, .. } => {
                let _first = reader.acquire().await.expect("it is opened");
                let _second = reader.acquire().await.expect("it is opened");
                tokio::time::timeout(soon, reader.acquire()).await.is_ok()
            }
            Db::Postgres(server) => {
                let _first = server.session().await.expect("it is opened");
                let _second = server.session().await.expect("it is opened");
                tokio::time::timeout(soon, server.session()).await.is_ok()
            }
        };
        assert!(!third, "it waits");
    }
);

#[cfg(feature = "test-postgres")]
mod sessions {
    use super::*;
    use crate::support::Engine;

    const SETTING: &str = "SELECT current_setting($1)";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_server_ends_what_a_process_left_behind() {
        let app = TestApp::start(Engine::Postgres).await;
        for (setting, expected) in [
            ("idle_in_transaction_session_timeout", "1min"),
            ("statement_timeout", "2min"),
        ] {
            let found: String = read_db!(&app.db, |conn| sqlx::query_scalar(SETTING)
                .bind(setting)
                .fetch_one(conn)
                .await)
            .expect("it is read");
            assert_eq!(found, expected, "{setting}");
        }
        app.finish().await;
    }
}
