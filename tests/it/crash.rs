//! The program is killed while it sends: nobody is lost, and a second copy only where a reply was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use paperround::{read_db, write_db};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::service::Service;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, Program, TestApp};

const READERS: usize = 2000;
const CONNECTIONS: usize = 8;
const DEADLINE: Duration = Duration::from_mins(5);

const ROWS: &str = "SELECT recipient, state, doubt FROM deliveries WHERE kind = 'digest'";

// the program goes by the real clock: at some hours of the day a slot would bring an issue of its own
const NO_SLOTS: &str = "UPDATE schedules SET enabled = $1";

struct Scene {
    app: TestApp,
    relay: SmtpServer,
    settings: Vec<(&'static str, String)>,
}

impl Scene {
    /// Readers, an article and an issue that waits to be sent, and a relay that takes its time.
    async fn new(readers: usize) -> Self {
        let app = TestApp::start(Engine::Sqlite).await;
        app.newsletter("world").await;
        app.db
            .write::<_, sqlx::Error, _>(|tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(NO_SLOTS)
                        .bind(false)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
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
        let act = Act::reply("250 2.0.0 taken").delayed(Duration::from_millis(12));
        relay.script().always(Step::Dot, act);
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

    async fn rows(&self) -> BTreeMap<String, (String, i64)> {
        let rows: Vec<(String, String, i64)> = read_db!(&self.app.db, |conn| sqlx::query_as(ROWS)
            .fetch_all(conn)
            .await)
        .unwrap();
        rows.into_iter()
            .map(|(recipient, state, doubt)| (recipient, (state, doubt)))
            .collect()
    }

    /// Waits until every row has come to its end.
    async fn drained(&self) -> BTreeMap<String, (String, i64)> {
        let drained = async {
            loop {
                let rows = self.rows().await;
                if rows.len() == READERS && rows.values().all(|(state, _)| state == "sent") {
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

    /// The copies of each reader, by their hashes.
    fn copies(&self) -> BTreeMap<String, Vec<String>> {
        let mut copies = BTreeMap::<String, Vec<String>>::new();
        for accepted in self.relay.accepted() {
            copies
                .entry(accepted.recipient)
                .or_default()
                .push(accepted.hash);
        }
        copies
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

fn tally(rows: &BTreeMap<String, (String, i64)>) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for (state, _) in rows.values() {
        *tally.entry(state.as_str()).or_default() += 1;
    }
    tally
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rig is told how often to kill by the environment"
)]
fn kills() -> usize {
    std::env::var("PAPERROUND_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_lost_and_copies_are_only_where_a_reply_was_lost() {
    let (kills, seed) = (kills(), 20_260_707);
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new(READERS).await;
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
    assert!(service.terminate().await.success());

    let copies = scene.copies();
    let extra: usize = copies.values().map(|hashes| hashes.len() - 1).sum();
    let doubts: i64 = rows.values().map(|(_, doubt)| doubt).sum();
    eprintln!(
        "seed {seed}: {kills} kills, {within} between first and last acceptance; {} of {READERS} readers served, \
         {extra} second copies, {doubts} doubts, at most {open} connections open at the kills",
        copies.len()
    );
    assert_eq!(copies.len(), READERS, "nobody is lost");
    for (reader, hashes) in &copies {
        let doubt = usize::try_from(rows[reader].1).unwrap();
        assert!(
            hashes.len() <= 1 + doubt,
            "{reader} got {} copies with {doubt} doubts",
            hashes.len()
        );
        assert!(
            hashes.iter().all(|hash| hash == &hashes[0]),
            "the copies of {reader} differ"
        );
    }
    assert!(extra <= open);
    assert!(
        within * 5 >= kills * 4,
        "the kills fell outside: {within} of {kills}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_sending_leaves_no_doubt_and_no_second_copy() {
    let scene = Scene::new(READERS).await;
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
    let copies = scene.copies();
    assert_eq!(copies.len(), READERS);
    assert!(copies.values().all(|hashes| hashes.len() == 1));
}
