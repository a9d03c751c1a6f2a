//! A reader leaves at the moment their mail begins: once the goodbye is stored, no transmission starts.
//!
//! Triggers write down in which order the database took marks and goodbyes. A mark locks the subscription before it is
//! made and a goodbye changes it, so of two about one reader the numbers tell which was first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use paperround::db::Tx;
use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::{read_db, write_db};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::sleep;

use super::rig::Rig;
use crate::deliveries::{Press, Reader, leases};
use crate::support::{TestApp, db_test, seed};

const WATCH_SQLITE: &[&str] = &[
    "CREATE TABLE order_of (at INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT, subscription BLOB)",
    "CREATE TRIGGER marks AFTER UPDATE OF state ON deliveries WHEN NEW.state = 'transmitting'
     BEGIN INSERT INTO order_of (what, subscription) VALUES ('mark', NEW.subscription_id); END",
    "CREATE TRIGGER goodbyes AFTER UPDATE OF state ON subscriptions WHEN NEW.state = 'unsubscribed'
     BEGIN INSERT INTO order_of (what, subscription) VALUES ('goodbye', NEW.id); END",
];
const WATCH_POSTGRES: &[&str] = &[
    "CREATE TABLE order_of (at BIGSERIAL PRIMARY KEY, what TEXT, subscription UUID)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO order_of (what, subscription) VALUES (TG_ARGV[0], (to_jsonb(NEW) ->> TG_ARGV[1])::uuid);
         RETURN NULL;
     END $$",
    "CREATE TRIGGER marks AFTER UPDATE OF state ON deliveries FOR EACH ROW
     WHEN (NEW.state = 'transmitting') EXECUTE FUNCTION note('mark', 'subscription_id')",
    "CREATE TRIGGER goodbyes AFTER UPDATE OF state ON subscriptions FOR EACH ROW
     WHEN (NEW.state = 'unsubscribed') EXECUTE FUNCTION note('goodbye', 'id')",
];
const MARKS_AFTER_GOODBYE: &str =
    "SELECT count(*) FROM order_of marks JOIN order_of goodbyes ON goodbyes.subscription = marks.subscription
     WHERE marks.what = 'mark' AND goodbyes.what = 'goodbye' AND marks.at > goodbyes.at";
const SEEN: &str = "SELECT count(*) FROM order_of WHERE what = $1";
const FORGET: &str = "DELETE FROM order_of";
/// Within which the marks and goodbyes of a round begin.
const SPREAD_MICROS: u64 = 100_000;
const COME_BACK: &str =
    "UPDATE subscriptions SET state = 'active', ended_at = NULL, end_channel = NULL";

async fn execute(tx: &mut Tx<'_>, sql: &'static str) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(sql).execute(conn).await.map(drop))
}

async fn watch(press: &Press) {
    press
        .write(|tx| {
            Box::pin(async move {
                let watch = match tx {
                    Tx::Sqlite(_) => WATCH_SQLITE,
                    Tx::Postgres(_) => WATCH_POSTGRES,
                };
                for sql in watch {
                    execute(tx, sql).await?;
                }
                Ok(())
            })
        })
        .await;
}

/// An issue to readers who all leave while their mails are marked. How many were marked.
async fn round(press: &Press, ledger: &Ledger, readers: &[Reader], random: &mut StdRng) -> usize {
    press
        .write(|tx| {
            Box::pin(async move {
                execute(tx, FORGET).await?;
                execute(tx, COME_BACK).await
            })
        })
        .await;
    let edition = press.edition(readers, "resend").await;
    let worker = press.worker().await;
    let terms = Terms {
        owner: worker.id(),
        now: press.now(),
        limit: readers.len(),
        suspects: false,
    };
    let claimed = claim::digests(&press.db, edition.issue, terms)
        .await
        .unwrap();
    assert_eq!(claimed.len(), readers.len());
    let by_subscription: HashMap<_, _> = readers
        .iter()
        .map(|reader| (Some(reader.subscription), reader))
        .collect();
    let relay: Arc<str> = "x".into();
    let races = claimed.iter().map(|ready| {
        let reader = by_subscription[&ready.claimed.subscription_id];
        let relay = &relay;
        // all over some transactions of the writer: together, one goodbye would send all marks into ones of their own
        let [mark_at, leave_at] =
            [0, 1].map(|_| Duration::from_micros(random.random_range(0..SPREAD_MICROS)));
        async move {
            let marking = async {
                sleep(mark_at).await;
                ledger.advance(None, ready, relay).await
            };
            let leaving = async {
                sleep(leave_at).await;
                press.unsubscribe(reader).await;
            };
            tokio::join!(marking, leaving).0.unwrap() != Marked::No
        }
    });
    let marked = join_all(races).await.into_iter().filter(|marked| *marked);
    let marked = marked.count();
    for ready in claimed.iter().step_by(20) {
        let late = ledger.advance(None, ready, &relay).await.unwrap();
        assert_eq!(late, Marked::No, "after the goodbye");
    }
    marked
}

async fn count(press: &Press, sql: &'static str, what: Option<&'static str>) -> usize {
    let found: i64 = read_db!(&press.db, |conn| {
        let query = sqlx::query_scalar(sql);
        let query = match what {
            Some(what) => query.bind(what),
            None => query,
        };
        query.fetch_one(conn).await
    })
    .unwrap();
    usize::try_from(found).unwrap()
}

db_test!(
    s16_in_races_of_leaving_and_marking_there_is_no_mark_after_the_goodbye,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        watch(&press).await;
        let mut readers = Vec::new();
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let rounds = if seed::is_long() { 1000 } else { 10 };
        let mut random = StdRng::seed_from_u64(seed::seed());
        let mut won = 0;
        for round_number in 0..rounds {
            // what a reader did before is read at each goodbye: with the same ones each round would be slower
            if round_number % 25 == 0 {
                let domain = format!("from-{round_number}.example");
                readers = press.readers_at(&domain, 100).await;
            }
            let marked = round(&press, &ledger, &readers, &mut random).await;
            assert_eq!(count(&press, SEEN, Some("mark")).await, marked);
            assert_eq!(count(&press, SEEN, Some("goodbye")).await, 100);
            assert_eq!(count(&press, MARKS_AFTER_GOODBYE, None).await, 0);
            won += marked;
        }
        let races = rounds * 100;
        eprintln!("{races} races: the mark came first in {won}, the goodbye in the others");
        assert!((1..races).contains(&won), "both come first at times");
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s16_readers_who_leave_by_http_while_the_mails_go_out_get_none_that_begins_later() {
    let rig = Rig::new(400).await;
    let file = rig.data.folder().join("paperround.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut database = options.connect().await.unwrap();
    for sql in WATCH_SQLITE {
        sqlx::query(*sql).execute(&mut database).await.unwrap();
    }
    let seed = seed::seed();
    // slow enough that there is something to stop, however slow the pages are
    rig.relay.script().pace(seed, 20..60);
    let service = rig.serve().await;
    rig.send();
    rig.accepted(10).await;
    // those whose mails come last are the ones that a goodbye can stop
    let leaving = rig.readers.iter().rev().step_by(2);
    let answers: Vec<_> = futures_util::stream::iter(leaving)
        .map(|reader| service.post(&reader.link))
        .buffer_unordered(8)
        .collect()
        .await;
    let left = answers.len();
    for answer in answers {
        assert_eq!(answer.unwrap(), 200);
    }
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    let late: i64 = sqlx::query_scalar(MARKS_AFTER_GOODBYE)
        .fetch_one(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    let skipped = rows.values().filter(|row| row.state == "skipped").count();
    eprintln!("{left} left, {skipped} of them before their mail began");
    assert_eq!((left, late), (200, 0));
    assert!(skipped > 20, "{skipped}");
    assert_eq!(rig.nobody_is_lost_and_copies_are_doubts(&rows), 0);
    assert_eq!(rig.copies().readers().count(), 400 - skipped);
}
