//! A SQLite file that others lock, whose log is gone, whose bytes were changed; and memory.

use std::time::Duration;

use reqwest::Method;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::rig::{CONNECTIONS, DEADLINE, Rig, tally};
use crate::support::service::Service;
use crate::support::{Engine, TestApp, seed};

const LOCK: &str = "BEGIN IMMEDIATE";
const READ: &str = "BEGIN";
const FREE: &str = "ROLLBACK";
const ANYTHING: &str = "SELECT count(*) FROM deliveries";

/// Another program with the file open.
async fn other(path: &std::path::Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path.join("paperround.db"))
        .busy_timeout(Duration::from_secs(30))
        .connect()
        .await
        .unwrap()
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_while_another_program_locks_the_file_pages_answer_and_sending_waits() {
    let rig = Rig::new(150).await;
    rig.relay.script().pace(seed::seed(), 5..21);
    let service = rig.serve().await;
    rig.send();
    rig.accepted(20).await;
    let mut other = other(rig.data.folder()).await;
    run(&mut other, LOCK).await;
    let locked = rig.relay.ledger().count();
    let reader = &rig.readers[149];
    assert_eq!(service.ask(Method::GET, &reader.link).await.unwrap(), 200);
    assert_eq!(service.ask(Method::GET, "/healthz").await.unwrap(), 200);
    // the service waits for the lock as long as it may, then says so: nothing is done that is not stored
    let leaving = service.post(&reader.link).await.unwrap();
    assert_eq!(leaving, 503);
    let meanwhile = rig.relay.ledger().count();
    assert!(
        meanwhile <= locked + CONNECTIONS,
        "{meanwhile} of {locked}: only what was marked"
    );
    assert!(rig.active().await.contains(&reader.email));
    run(&mut other, FREE).await;
    other.close().await.unwrap();
    assert_eq!(service.post(&reader.link).await.unwrap(), 200);
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    assert_eq!(rig.nobody_is_lost_and_copies_are_doubts(&rows), 0);
    assert!(rows.values().all(|row| row.doubt == 0));
    assert!(rig.copies().readers().count() >= 149);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_reader_that_never_ends_holds_nothing_up() {
    let rig = Rig::new(100).await;
    let service = rig.serve().await;
    let mut other = other(rig.data.folder()).await;
    run(&mut other, READ).await;
    let before: i64 = sqlx::query_scalar(ANYTHING)
        .fetch_one(&mut other)
        .await
        .unwrap();
    rig.send();
    let rows = rig.drained().await;
    let still: i64 = sqlx::query_scalar(ANYTHING)
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!((before, still), (0, 0), "it reads what was");
    run(&mut other, FREE).await;
    other.close().await.unwrap();
    assert!(service.terminate().await.success());
    assert_eq!(tally(&rows)["sent"], 100);
    assert_eq!(rig.nobody_is_lost_and_copies_are_doubts(&rows), 0);
    assert_eq!(rig.integrity().await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_a_log_that_was_deleted_after_a_crash_pauses_all_sending() {
    let rig = Rig::new(100).await;
    rig.relay.script().pace(seed::seed(), 5..21);
    rig.send();
    // a start and an end in order: the instance knows itself
    assert!(rig.serve().await.terminate().await.success());
    let service = rig.serve().await;
    rig.accepted(rig.relay.ledger().count() + 20).await;
    service.kill();
    let sent = rig.relay.ledger().count();
    for file in ["paperround.db-wal", "paperround.db-shm"] {
        std::fs::remove_file(rig.data.folder().join(file)).unwrap();
    }
    let service = rig.serve().await;
    assert!(rig.is_paused().await);
    let said = service.words();
    assert!(said.contains("restored"), "{said}");
    assert!(service.terminate().await.success());
    let extra = rig.relay.ledger().count() - sent;
    assert_eq!(extra, 0, "what it does not know of is not sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_changed_bytes_are_found_by_a_backup_and_what_meets_them_sends_nothing() {
    let rig = Rig::new(300).await;
    rig.relay.script().pace(seed::seed(), 5..21);
    let service = rig.serve().await;
    rig.send();
    rig.accepted(20).await;
    assert!(service.terminate().await.success());
    let log = rig.data.folder().join("paperround.db-wal");
    assert!(!log.exists(), "who stops leaves everything in the file");
    let path = rig.data.folder().join("paperround.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let waits = b"reader299@example.org";
    let mut damaged = 0;
    for page in bytes.chunks_mut(4096) {
        // what the page is, and where its rows stand
        if memchr::memmem::find(page, waits).is_some() {
            page[..16].fill(0xA5);
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    std::fs::write(&path, bytes).unwrap();
    let backup = rig.program().run(&["backup", "copy.tar"]);
    assert_ne!(backup.code, Some(0), "{backup:?}");
    assert!(backup.err.contains("malformed"), "{backup:?}");
    assert!(!rig.data.folder().join("copy.tar").exists(), "{backup:?}");
    let service = Service::begin(rig.program(), rig.data.folder()).await;
    let ended = async {
        while !service.words().contains("nothing is sent any more") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // what was claimed before may still go out
        while service.is_ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended)
        .await
        .expect("it meets them");
    let sent = rig.relay.ledger().count();
    let ready = service.ask(Method::GET, "/readyz").await.unwrap();
    assert_eq!(ready, 503);
    assert!(sent < 300, "{sent}");
    service.kill();
    assert_eq!(rig.relay.ledger().count(), sent);
}

/// The most memory that the service ever had, in KiB.
fn most_memory(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k8_memory_does_not_grow_with_the_list() {
    let many = if seed::is_long() { 30_000 } else { 4000 };
    let mut memory = Vec::new();
    for readers in [400, many] {
        let rig = Rig::new(readers).await;
        let service = rig.serve().await;
        rig.send();
        let rows = rig.drained().await;
        assert_eq!(tally(&rows)["sent"], readers);
        memory.push(most_memory(&service));
        assert!(service.terminate().await.success());
    }
    eprintln!("at most {memory:?} KiB for 400 and {many} readers");
    assert!(memory[1] < memory[0] + 40 * 1024, "{memory:?} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_requests_that_are_aborted_while_the_database_is_slow_cost_the_others_nothing() {
    use futures_util::StreamExt as _;
    use tokio::io::AsyncWriteExt as _;
    let app = TestApp::start(Engine::Sqlite).await;
    app.newsletter("world").await;
    let site = app.serve().await;
    let leave = app.reader(&site, "world", "ada@example.org").await;
    let mut other = other(app.folder()).await;
    run(&mut other, LOCK).await;
    let request = format!("POST {leave} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    futures_util::stream::iter(0..1000)
        .for_each_concurrent(100, |_| async {
            let mut stream = site.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        })
        .await;
    run(&mut other, FREE).await;
    other.close().await.unwrap();
    futures_util::stream::iter(0..1000)
        .for_each_concurrent(50, |_| async {
            site.post(&leave, &[]).await.assert_status(200);
        })
        .await;
    assert_eq!(app.rows_of("consent withdrawn").await.len(), 1);
    site.stop().await;
    app.finish().await;
}
