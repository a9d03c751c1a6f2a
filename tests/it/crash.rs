//! The program is killed while it sends: nobody is lost, and a second copy only where a reply was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use paperround::clock::{Clock as _, SystemClock};
use paperround::id::{DeliveryId, IssueId};
use paperround::read_db;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::copies::{Copies, Rows};
use crate::support::service::Service;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, Program, TestApp, seed};

const READERS: usize = 2000;
const CONNECTIONS: usize = 8;
const DEADLINE: Duration = Duration::from_mins(5);

const ROWS: &str = "SELECT recipient, state, doubt FROM deliveries WHERE kind = 'digest'";
const HELD: &str = "SELECT id, issue_id, recipient FROM deliveries WHERE state = 'held'";

struct Scene {
    app: TestApp,
    relay: SmtpServer,
    settings: Vec<(&'static str, String)>,
}

impl Scene {
    /// Readers, an article and an issue that waits to be sent, and a relay.
    async fn new(readers: usize) -> Self {
        let app = TestApp::start(Engine::Sqlite).await;
        // the program goes by the system's clock: no slot may come while it is killed
        app.time.set(SystemClock.now());
        let noon = app.now() + Duration::from_hours(12);
        let time = noon.to_string()[11..16].to_owned();
        app.newsletter_due("world", &time, "UTC").await;
        let list: Vec<_> = (0..readers)
            .map(|n| format!("reader{n}@example.org"))
            .collect();
        let path = app.folder().join("readers.csv");
        std::fs::write(&path, format!("email\n{}\n", list.join("\n"))).unwrap();
        Program::of(&app)
            .run(&["import", path.to_str().unwrap()])
            .expect(0);
        let newsletter = paperround::newsletters::store::by_slug(&app.db, "world")
            .await
            .unwrap()
            .unwrap();
        let article = paperround::feeds::publish::PostedArticle {
            external_id: "a".to_owned(),
            url: "https://example.org/a".to_owned(),
            title: "A title".to_owned(),
            ..Default::default()
        };
        paperround::feeds::publish::publish(&app, newsletter.id, vec![article])
            .await
            .unwrap();
        let relay = SmtpServer::start().await;
        let settings = vec![
            (
                "PAPERROUND_SMTP__URL",
                format!("smtp://127.0.0.1:{}", relay.port()),
            ),
            ("PAPERROUND_SMTP__TLS", "none".to_owned()),
            ("PAPERROUND_SMTP__MAX_CONNECTIONS", CONNECTIONS.to_string()),
            ("PAPERROUND_DELIVERY__GRACE", "0s".to_owned()),
            ("PAPERROUND_LOG__LEVEL", "warn".to_owned()),
        ];
        Program::of(&app)
            .run(&["send", "world", "--yes", "--no-wait"])
            .expect(0);
        Self {
            app,
            relay,
            settings,
        }
    }

    async fn serve(&self) -> Service {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Service::start(&self.app, &settings).await
    }

    async fn rows(&self) -> Rows {
        let rows: Vec<(String, String, i64)> = read_db!(&self.app.db, |conn| sqlx::query_as(ROWS)
            .fetch_all(conn)
            .await)
        .unwrap();
        rows.into_iter()
            .map(|(recipient, state, doubt)| (recipient, (state, doubt)))
            .collect()
    }

    /// Waits until every row has come to its end, which may be an operator's desk.
    async fn drained(&self) -> Rows {
        let ended = |state: &String| matches!(state.as_str(), "sent" | "held");
        let drained = async {
            loop {
                let rows = self.rows().await;
                if rows.len() == READERS && rows.values().all(|(state, _)| ended(state)) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if let Ok(rows) = tokio::time::timeout(DEADLINE, drained).await {
            return rows;
        }
        panic!("not everybody was served: {:?}", tally(&self.rows().await));
    }

    /// The operator asks the relay about each mail that is held, and decides. How many there were.
    async fn decide(&self) -> usize {
        let held: Vec<(DeliveryId, IssueId, String)> =
            read_db!(&self.app.db, |conn| sqlx::query_as(HELD)
                .fetch_all(conn)
                .await)
            .unwrap();
        let copies = Copies::at(&self.relay);
        for (id, issue, recipient) in &held {
            let arrived = copies.has(recipient);
            let decision = if arrived { "--sent" } else { "--again" };
            let (id, issue) = (id.to_string(), issue.to_string());
            Program::of(&self.app)
                .run(&["issue", "decide", &issue, "--delivery", &id, decision])
                .expect(0);
        }
        held.len()
    }

    /// Waits until the relay has accepted `count` messages.
    async fn accepted(&self, count: usize) {
        let reached = async {
            while self.relay.ledger().accepted().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached)
            .await
            .expect("mails arrive");
    }
}

fn tally(rows: &Rows) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for (state, _) in rows.values() {
        *tally.entry(state.as_str()).or_default() += 1;
    }
    tally
}

/// How often the program is killed: `PAPERROUND_TEST_KILLS`, else 50.
fn kills() -> usize {
    let kills = seed::number("PAPERROUND_TEST_KILLS").unwrap_or(50);
    usize::try_from(kills).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_lost_and_copies_are_only_where_a_reply_was_lost() {
    let (kills, seed) = (kills(), seed::seed());
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new(READERS).await;
    scene.relay.script().pace(seed, 5..21);
    let share = READERS / (kills + 1);
    let (mut within, mut open) = (0, 0);
    for kill in 0..kills {
        let service = scene.serve().await;
        // somewhere in this kill's share of the list
        scene
            .accepted(share * kill + random.random_range(1..share))
            .await;
        let accepted = scene.relay.ledger().accepted().len();
        within += usize::from(accepted > 0 && accepted < READERS);
        open += CONNECTIONS;
        service.kill();
    }
    let service = scene.serve().await;
    let rows = scene.drained().await;
    let held = scene.decide().await;
    let after = scene.drained().await;
    assert!(after.values().all(|(state, _)| state == "sent"));
    assert!(service.terminate().await.success());

    let copies = Copies::at(&scene.relay);
    let (served, extra) = (copies.readers().count(), copies.extra());
    let doubts: i64 = rows.values().map(|(_, doubt)| doubt).sum();
    eprintln!(
        "seed {seed}: {kills} kills, {within} between first and last acceptance; {served} of {READERS} readers served, \
         {extra} second copies, {doubts} doubts, {held} held, at most {open} connections open at the kills"
    );
    assert_eq!(served, READERS, "nobody is lost");
    copies.assert_within_doubts(&rows);
    assert!(extra <= open);
    assert!(
        within * 5 >= kills * 4,
        "the kills fell outside: {within} of {kills}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_sending_leaves_no_doubt_and_no_second_copy() {
    let scene = Scene::new(READERS).await;
    scene.relay.script().pace(seed::seed(), 5..21);
    let service = scene.serve().await;
    scene.accepted(300).await;
    assert!(service.terminate().await.success(), "exit code 0");
    let rows = scene.rows().await;
    assert!(
        rows.values()
            .all(|(state, doubt)| matches!(state.as_str(), "sent" | "pending") && *doubt == 0),
        "{:?}",
        tally(&rows)
    );
    let service = scene.serve().await;
    scene.drained().await;
    assert!(service.terminate().await.success());
    let copies = Copies::at(&scene.relay);
    assert_eq!(copies.readers().count(), READERS);
    assert_eq!(copies.extra(), 0);
}
