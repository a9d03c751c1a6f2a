//! Writes while the disk or the queue is full, beside failing neighbours, and slow ones.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use paperround::db::{Db, Tx};
use paperround::{read_db, write_db};
use sqlx::types::Json;
use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Engine, TestApp, db_test};

const PUT: &str = "INSERT INTO settings (key, value) VALUES ($1, $2)";
const KEYS: &str = "SELECT key FROM settings ORDER BY key";
/// A limit below what is in use is raised to that.
const NO_MORE_PAGES: &str = "PRAGMA max_page_count = 1";
const MORE_PAGES: &str = "PRAGMA max_page_count = 1000000";
const INTEGRITY: &str = "PRAGMA integrity_check";

async fn put(tx: &mut Tx<'_>, key: &str, value: &str) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(PUT)
        .bind(key)
        .bind(Json(value))
        .execute(conn)
        .await
        .map(drop))
}

/// Writes `size` bytes under `key`.
async fn write(db: &Db, key: &str, size: usize) -> sqlx::Result<()> {
    let (key, value) = (key.to_owned(), "x".repeat(size));
    db.write(move |tx| Box::pin(async move { put(tx, &key, &value).await }))
        .await
}

async fn keys(db: &Db) -> Vec<String> {
    read_db!(db, |conn| sqlx::query_scalar(KEYS).fetch_all(conn).await).unwrap()
}

/// A write that is at work until the sender is used or dropped. Comes back when it has begun.
async fn busy(db: &Db) -> oneshot::Sender<()> {
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = oneshot::channel();
    let db = db.clone();
    tokio::spawn(async move {
        db.write::<_, sqlx::Error, _>(|tx| {
            Box::pin(async move {
                put(tx, "busy", "").await?;
                begun.send(()).unwrap();
                let _ended = ends.await;
                Ok(())
            })
        })
        .await
        .unwrap();
    });
    has_begun.await.unwrap();
    end
}

/// Says how far the file may grow, on the writer's own connection.
async fn limit(db: &Db, pragma: &'static str) {
    db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(
            async move { write_db!(tx, |conn| sqlx::query(pragma).execute(conn).await.map(drop)) },
        )
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_a_full_disk_answers_an_error_and_heals() {
    let app = TestApp::start(Engine::Sqlite).await;
    limit(&app.db, NO_MORE_PAGES).await;
    let error = write(&app.db, "large", 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    // many at once: whatever is answered with Ok is there, and nothing else
    limit(&app.db, NO_MORE_PAGES).await;
    let writes = (0..40).map(|n| {
        let db = app.db.clone();
        async move {
            let key = format!("{n:02}");
            let stored = write(&db, &key, (n % 4) << 18).await.is_ok();
            (key, stored)
        }
    });
    let (stored, refused): (Vec<_>, Vec<_>) = join_all(writes)
        .await
        .into_iter()
        .partition(|(_, stored)| *stored);
    assert!(!refused.is_empty(), "there was no room");
    let mut stored: Vec<_> = stored.into_iter().map(|(key, _)| key).collect();
    stored.sort();
    assert_eq!(keys(&app.db).await, stored);
    limit(&app.db, MORE_PAGES).await;
    write(&app.db, "large", 1 << 20)
        .await
        .expect("there is room again");
    assert_eq!(keys(&app.db).await.last().unwrap(), "large");
    let found: String = read_db!(&app.db, |conn| sqlx::query_scalar(INTEGRITY)
        .fetch_one(conn)
        .await)
    .unwrap();
    assert_eq!(found, "ok");
    app.finish().await;
}

/// SQLite undoes all that shares the transaction where the disk fails beneath it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_what_sqlite_undid_with_its_neighbour_is_answered_with_an_error() {
    let app = TestApp::start(Engine::Sqlite).await;
    let end = busy(&app.db).await;
    let undoing = app.db.write::<(), sqlx::Error, _>(|tx| {
        Box::pin(async move {
            write_db!(tx, |conn| sqlx::query("ROLLBACK")
                .execute(conn)
                .await
                .map(drop))?;
            Err(sqlx::Error::RowNotFound)
        })
    });
    let mut all = Box::pin(async {
        tokio::join!(
            write(&app.db, "before", 1),
            undoing,
            write(&app.db, "behind", 1)
        )
    });
    // they wait for the writer, in this order
    assert!(futures_util::poll!(&mut all).is_pending());
    end.send(()).unwrap();
    let (before, undone, behind) = all.await;
    let error = before.unwrap_err();
    assert!(error.to_string().contains("was undone"), "{error}");
    assert!(undone.is_err());
    behind.expect("the next transaction has it");
    assert_eq!(keys(&app.db).await, ["behind", "busy"]);
    app.finish().await;
}

db_test!(
    a_full_queue_pushes_back_and_everybody_is_answered,
    async |app: &TestApp| {
        let end = busy(&app.db).await;
        let db = &app.db;
        let mut writes = Box::pin(join_all((0..300).map(|n| async move {
            let key = format!("{n:03}");
            write(db, &key, 1).await
        })));
        let early = tokio::time::timeout(Duration::from_millis(200), &mut writes).await;
        if matches!(app.db, Db::Sqlite { .. }) {
            assert!(early.is_err(), "the one writer is at work");
        }
        end.send(()).unwrap();
        let answers = match early {
            Ok(answers) => answers,
            Err(_) => tokio::time::timeout(Duration::from_mins(1), writes)
                .await
                .expect("everybody is answered"),
        };
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let numbers = keys(&app.db).await;
        assert_eq!(numbers.iter().filter(|key| *key != "busy").count(), 300);
    }
);

db_test!(
    failing_and_panicking_writes_undo_themselves_alone_among_waiting_neighbours,
    async |app: &TestApp| {
        let end = busy(&app.db).await;
        let writes: Vec<_> = (0..60)
            .map(|n| {
                let db = app.db.clone();
                tokio::spawn(async move {
                    db.write::<(), sqlx::Error, _>(move |tx| {
                        Box::pin(async move {
                            put(tx, &format!("{n:02}"), "").await?;
                            match n % 4 {
                                1 => Err(sqlx::Error::RowNotFound),
                                // a statement that the database itself refuses
                                2 => put(tx, "busy", "").await,
                                3 => panic!("on purpose"),
                                _ => Ok(()),
                            }
                        })
                    })
                    .await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        end.send(()).unwrap();
        for (n, write) in writes.into_iter().enumerate() {
            match (n % 4, write.await) {
                (0, Ok(Ok(()))) | (1 | 2, Ok(Err(_))) => {}
                (3, Err(error)) => assert!(error.is_panic()),
                (_, other) => panic!("{n}: {other:?}"),
            }
        }
        let mut expected: Vec<_> = (0..60).step_by(4).map(|n| format!("{n:02}")).collect();
        expected.push("busy".to_owned());
        assert_eq!(keys(&app.db).await, expected);
    }
);

/// Lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

async fn a_write_that_takes_its_time(db: &Db, span: Duration) {
    db.write::<_, sqlx::Error, _>(move |tx| {
        Box::pin(async move {
            put(tx, &format!("{}", span.as_millis()), "").await?;
            // what is measured is real time: a paused clock would run out the pool's deadlines
            std::thread::sleep(span);
            Ok(())
        })
    })
    .await
    .unwrap();
}

/// On one thread, so that the subscriber of the test hears the writer's task too.
async fn slow_writes_are_logged(engine: Engine) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(lines.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    // its writer has a thread of its own, which logs where it is opened
    let app = TestApp::start(engine).await;
    let said = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    a_write_that_takes_its_time(&app.db, Duration::from_millis(20)).await;
    assert!(
        !said().contains("a_write_that_takes_its_time"),
        "{}",
        said()
    );
    a_write_that_takes_its_time(&app.db, Duration::from_millis(150)).await;
    assert!(said().contains("a_write_that_takes_its_time"), "{}", said());
    drop(guard);
    app.finish().await;
}

#[tokio::test]
async fn a_write_over_100_ms_is_logged_by_name_on_sqlite() {
    slow_writes_are_logged(Engine::Sqlite).await;
}

#[cfg(feature = "test-postgres")]
#[tokio::test]
async fn a_write_over_100_ms_is_logged_by_name_on_postgres() {
    slow_writes_are_logged(Engine::Postgres).await;
}
