use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::deliveries::State;
use paperround::{instance, read_db, worker};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Press;
use super::marks::execute;
use super::sending::one;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, TestApp, db_test};

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for something to be tried a few times.
const A_WHILE: Duration = Duration::from_millis(150);

const LEFT_BEHIND: &str =
    "UPDATE deliveries SET state = 'transmitting', owner = id, lease_until = created_at";
const NO_DOUBTS_SQLITE: &[&str] = &[
    "CREATE TRIGGER no_doubts BEFORE UPDATE OF state ON deliveries WHEN NEW.state = 'in_doubt'
     BEGIN SELECT RAISE(ABORT, 'no doubts today'); END",
];
const NO_DOUBTS_POSTGRES: &[&str] = &[
    "CREATE FUNCTION no_doubts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'no doubts today';
     END $$",
    "CREATE TRIGGER no_doubts BEFORE UPDATE OF state ON deliveries FOR EACH ROW
     WHEN (NEW.state = 'in_doubt') EXECUTE FUNCTION no_doubts()",
];
const NO_WORKERS: &str = "ALTER TABLE workers RENAME TO workers_away";
const THE_WORKERS: &str = "ALTER TABLE workers_away RENAME TO workers";
const LAST_SIGN: &str = "SELECT heartbeat_at FROM workers";
const NO_SETTINGS: &str = "ALTER TABLE settings RENAME TO settings_away";
const THE_SETTINGS: &str = "ALTER TABLE settings_away RENAME TO settings";
const NO_LIMITS: &str = "ALTER TABLE rate_limits RENAME TO rate_limits_away";

db_test!(
    an_issue_is_finished_though_what_a_dead_worker_left_cannot_be_taken_back,
    async |app: &TestApp| {
        let (press, left, server) = one(app).await;
        let sender = press.sender(&server).await;
        app.execute(LEFT_BEHIND).await;
        execute(&press, NO_DOUBTS_SQLITE, NO_DOUBTS_POSTGRES).await;
        let readers = press.readers_at("other.example", 1).await;
        let other = press.edition(&readers, "resend").await;
        press.time.advance(Duration::from_secs(1));
        sender.run_until_idle().await;
        let left = press.state(left.deliveries[0]).await;
        assert_eq!(left, State::Transmitting);
        assert_eq!(press.issue_state(other.issue).await, "finished");
    }
);

db_test!(
    a_sign_of_life_that_cannot_be_written_is_not_the_last_one,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let worker = press.worker().await;
        let sender = press.sender_beating(&server, worker, Duration::from_millis(5));
        let shown = async || -> Timestamp {
            read_db!(&press.db, |conn| sqlx::query_scalar(LAST_SIGN)
                .fetch_one(conn)
                .await)
            .unwrap()
        };
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            app.execute(NO_WORKERS).await;
            sleep(A_WHILE).await;
            app.execute(THE_WORKERS).await;
            press.time.advance(Duration::from_secs(10));
            let resumed = async {
                while shown().await < press.now() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(SOON, resumed).await.expect("it shows life again");
            stop.cancel();
        });
    }
);

db_test!(
    a_claim_that_fails_is_not_the_last_one,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let id = edition.deliveries[0];
        let sender = press.sender(&server).await;
        app.execute(NO_SETTINGS).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            sleep(A_WHILE).await;
            assert_eq!(press.delivery(id).await.attempt, 0);
            app.execute(THE_SETTINGS).await;
            let sent = async {
                while press.state(id).await != State::Sent {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(SOON, sent).await.expect("it is claimed and sent");
            stop.cancel();
        });
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_rises_though_what_is_outdated_cannot_be_removed() {
    let app = TestApp::start(Engine::Sqlite).await;
    let prepared = worker::prepare(app.app.clone()).await.unwrap();
    let epoch = async || -> i64 {
        let mark = instance::mark(&app.db).await.unwrap();
        mark.expect("it has begun").epoch
    };
    let at_its_start = epoch().await;
    app.execute(NO_LIMITS).await;
    let lock = app.db.lock_worker().await.unwrap();
    let stop = CancellationToken::new();
    let work = tokio::spawn(prepared.run(lock, stop.clone()));
    let raised = async {
        while epoch().await == at_its_start {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, raised).await.expect("it rises");
    stop.cancel();
    work.await.unwrap();
    app.finish().await;
}
