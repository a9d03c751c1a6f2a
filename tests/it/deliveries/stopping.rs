use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::deliveries::State;
use paperround::{read_db, worker};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Press;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, TestApp, db_test};

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);

const LAST_SIGN: &str = "SELECT heartbeat_at FROM workers";

/// Stops the sender at the next recipient, to which no answer comes.
fn stops_at_the_envelope(relay: &SmtpServer) -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let stalls = Act::stall().calling(move || stopping.cancel());
    relay.script().once(Step::Rcpt, stalls);
    stop
}

db_test!(
    a_worker_shows_life_until_what_is_on_the_wire_has_ended,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let stop = stops_at_the_envelope(&server);
        let worker = press.worker().await;
        let sender = press.sender_beating(&server, worker.clone(), Duration::from_millis(5));
        let shown = async || -> Timestamp {
            read_db!(&press.db, |conn| sqlx::query_scalar(LAST_SIGN)
                .fetch_one(conn)
                .await)
            .unwrap()
        };
        let watching = async {
            stop.cancelled().await;
            // each time nearly as long as a sign of life is good for
            for _ in 0..3 {
                press.time.advance(Duration::from_secs(50));
                while shown().await < press.now() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
            assert!(worker.is_alive());
            drop(server);
        };
        let sending = sender.run(stop.clone());
        let ((), watched) = tokio::join!(sending, timeout(SOON, watching));
        watched.expect("it shows life");
    }
);

db_test!(
    what_has_no_connection_yet_at_the_stop_is_not_begun,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let greets = Act::reply("220 welcome").calling(move || stopping.cancel());
        server.script().once(Step::Banner, greets);
        let late = Act::reply("250 at last").delayed(Duration::from_secs(1));
        server.script().once(Step::Ehlo, late);
        press.sender(&server).await.run(stop).await;
        assert!(server.accepted().is_empty());
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    }
);

async fn nobody_begins_before_the_worker_that_stops_has_ended(engine: Engine) {
    let relay = SmtpServer::start().await;
    let url = format!("smtp://127.0.0.1:{}", relay.port());
    let app = TestApp::start_with(engine, &[("smtp.url", &url), ("smtp.tls", "none")]).await;
    let stop = stops_at_the_envelope(&relay);
    app.newsletter("world").await;
    let site = app.serve().await;
    let form = [("email", "ada@example.org")];
    let answer = site.post("/subscribe/world", &form).await;
    answer.assert_status(303);
    site.stop().await;
    let prepared = worker::prepare(app.app.clone()).await.unwrap();
    let lock = app.db.lock_worker().await.unwrap();
    let work = tokio::spawn(prepared.run(lock, stop.clone()));
    timeout(SOON, stop.cancelled())
        .await
        .expect("a mail is on its way");
    // time enough to let go of the lock
    for _ in 0..20 {
        sleep(Duration::from_millis(5)).await;
        assert!(app.db.lock_alone().await.is_err());
    }
    drop(relay);
    timeout(SOON, work).await.expect("it ends").unwrap();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_begins_before_the_worker_that_stops_has_ended_sqlite() {
    nobody_begins_before_the_worker_that_stops_has_ended(Engine::Sqlite).await;
}

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_begins_before_the_worker_that_stops_has_ended_postgres() {
    nobody_begins_before_the_worker_that_stops_has_ended(Engine::Postgres).await;
}
