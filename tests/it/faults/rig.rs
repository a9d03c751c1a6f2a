//! The real program on a folder of its own, before a relay that outlives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use paperround::id::{DeliveryId, IssueId, SubscriptionId};
use paperround::read_db;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::copies::Copies;
use crate::support::service::Service;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Engine, Program, Stopped, TestApp};

/// Connections to the relay.
pub(crate) const CONNECTIONS: usize = 8;
/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

const READERS: &str = "SELECT subscribers.email, subscriptions.id FROM subscriptions
     JOIN subscribers ON subscribers.id = subscriptions.subscriber_id ORDER BY subscriptions.id";
const ROWS: &str = "SELECT id, issue_id, recipient, state, doubt, reason, reply_text FROM deliveries WHERE kind = 'digest'";
#[cfg(feature = "test-mtas")]
const ENDED: &str = "SELECT count(*) FROM deliveries
     WHERE kind = 'digest' AND state IN ('sent', 'failed', 'held', 'skipped')";
#[cfg(feature = "test-mtas")]
const PACE: &str = "SELECT count(*) * 1000000.0 / (max(settled_at) - min(settled_at))
     FROM deliveries WHERE kind = 'digest' AND state = 'sent'";
const ACTIVE: &str =
    "SELECT subscribers.email FROM subscriptions
     JOIN subscribers ON subscribers.id = subscriptions.subscriber_id WHERE subscriptions.state = 'active'";
const PAUSED: &str = "SELECT count(*) FROM settings WHERE key = 'sending_paused'";
const INTEGRITY: &str = "PRAGMA integrity_check";

/// A reader and the path of the unsubscribe link in their mails.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) email: String,
    pub(crate) link: String,
}

/// How a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) id: DeliveryId,
    pub(crate) issue_id: IssueId,
    pub(crate) recipient: String,
    pub(crate) state: String,
    pub(crate) doubt: i64,
    pub(crate) reason: Option<String>,
    pub(crate) reply_text: Option<String>,
}

/// Readers, an article and a relay. Nobody has the data open but the program.
pub(crate) struct Rig {
    pub(crate) data: Stopped,
    pub(crate) relay: SmtpServer,
    pub(crate) readers: Vec<Reader>,
    /// The process that the relay's script may kill.
    pub(crate) victim: Arc<AtomicU32>,
    settings: Vec<(&'static str, String)>,
}

impl Rig {
    pub(crate) async fn new(readers: usize) -> Self {
        let app = TestApp::start(Engine::Sqlite).await;
        app.newsletter_with_news(readers).await;
        let found: Vec<(String, SubscriptionId)> =
            read_db!(&app.db, |conn| sqlx::query_as(READERS)
                .fetch_all(conn)
                .await)
            .unwrap();
        let readers = found
            .into_iter()
            .map(|(email, subscription)| Reader {
                email,
                link: format!("/unsubscribe/{}", app.unsubscribe_token(subscription)),
            })
            .collect();
        Self::on(app.stop().await, readers).await
    }

    /// The same beginning once more, before another relay.
    #[cfg(feature = "test-strace")]
    pub(crate) async fn copy(&self) -> Self {
        let mut copy = Self::on(self.data.copy(), self.readers.clone()).await;
        copy.settings.clone_from(&self.settings);
        copy
    }

    async fn on(data: Stopped, readers: Vec<Reader>) -> Self {
        Self {
            data,
            relay: SmtpServer::start().await,
            readers,
            victim: Arc::default(),
            settings: vec![
                ("PAPERROUND_SMTP__TLS", "none".to_owned()),
                ("PAPERROUND_SMTP__MAX_CONNECTIONS", CONNECTIONS.to_string()),
                ("PAPERROUND_DELIVERY__GRACE", "0s".to_owned()),
                ("PAPERROUND_LOG__LEVEL", "warn".to_owned()),
            ],
        }
    }

    /// With this environment variable, over what was set before.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(set, _)| *set != name);
        self.settings.push((name, value.to_owned()));
    }

    pub(crate) fn program(&self) -> Program {
        let port = self.relay.port();
        let program = Program::in_folder(self.data.folder())
            .with("PAPERROUND_SERVER__BASE_URL", "http://127.0.0.1:8080")
            .with("PAPERROUND_SMTP__URL", &format!("smtp://127.0.0.1:{port}"));
        self.settings
            .iter()
            .fold(program, |program, (name, value)| program.with(name, value))
    }

    pub(crate) async fn serve(&self) -> Service {
        Service::of(self.program(), self.data.folder()).await
    }

    /// An issue for everybody, queued by the command line.
    pub(crate) fn send(&self) {
        self.program()
            .run(&["send", "world", "--yes", "--no-wait"])
            .expect(0);
    }

    pub(crate) async fn rows(&self) -> BTreeMap<String, Row> {
        let mut database = self.database().await;
        let rows: Vec<Row> = sqlx::query_as(ROWS).fetch_all(&mut database).await.unwrap();
        database.close().await.unwrap();
        rows.into_iter()
            .map(|row| (row.recipient.clone(), row))
            .collect()
    }

    /// Who is subscribed.
    pub(crate) async fn active(&self) -> Vec<String> {
        let mut database = self.database().await;
        let active = sqlx::query_scalar(ACTIVE).fetch_all(&mut database).await;
        database.close().await.unwrap();
        active.unwrap()
    }

    /// Whether all sending is paused.
    pub(crate) async fn is_paused(&self) -> bool {
        let mut database = self.database().await;
        let paused: i64 = sqlx::query_scalar(PAUSED)
            .fetch_one(&mut database)
            .await
            .unwrap();
        database.close().await.unwrap();
        paused > 0
    }

    /// What SQLite finds wrong with the file, or why it cannot be read: `ok`.
    pub(crate) async fn integrity(&self) -> String {
        let mut database = self.database().await;
        let found = sqlx::query_scalar(INTEGRITY).fetch_one(&mut database).await;
        database.close().await.unwrap();
        found.unwrap_or_else(|error: sqlx::Error| error.to_string())
    }

    async fn database(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.data.folder().join("paperround.db"))
            .read_only(true)
            .busy_timeout(DEADLINE)
            .connect()
            .await
            .unwrap()
    }

    /// Waits until everybody has a row, but for those who left before, and every row has come to its end, which may be
    /// an operator's desk.
    pub(crate) async fn drained(&self) -> BTreeMap<String, Row> {
        let ended = |row: &Row| matches!(row.state.as_str(), "sent" | "held" | "skipped");
        let drained = async {
            loop {
                let active = self.active().await;
                let rows = self.rows().await;
                if active.iter().all(|reader| rows.contains_key(reader)) && rows.values().all(ended)
                {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if let Ok(rows) = tokio::time::timeout(DEADLINE, drained).await {
            return rows;
        }
        panic!("not everybody was served: {:?}", tally(&self.rows().await));
    }

    /// Waits until so many rows have come to their end, a refusal too.
    #[cfg(feature = "test-mtas")]
    pub(crate) async fn ended(&self, count: usize, deadline: Duration) {
        let mut database = self.database().await;
        let ended = async {
            loop {
                let ended: i64 = sqlx::query_scalar(ENDED)
                    .fetch_one(&mut database)
                    .await
                    .unwrap();
                if usize::try_from(ended).unwrap() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let ended = tokio::time::timeout(deadline, ended).await;
        let rows = self.rows().await;
        assert!(
            ended.is_ok(),
            "not everybody was served: {:?}",
            tally(&rows)
        );
    }

    /// From the first to the last mail that was settled as sent.
    #[cfg(feature = "test-mtas")]
    pub(crate) async fn mails_per_second(&self) -> f64 {
        let mut database = self.database().await;
        let pace = sqlx::query_scalar(PACE).fetch_one(&mut database).await;
        database.close().await.unwrap();
        pace.unwrap()
    }

    /// What the relay has accepted.
    pub(crate) fn copies(&self) -> Copies {
        Copies::at(&self.relay)
    }

    /// Waits until a service that was told to stop has begun to.
    pub(crate) async fn stopping(&self, service: &Service) {
        let begun = async {
            while service.answers().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, begun)
            .await
            .expect("it stops listening");
    }

    /// Waits until the relay has accepted `count` messages.
    pub(crate) async fn accepted(&self, count: usize) {
        self.relay.has_accepted(count, DEADLINE).await;
    }

    /// Fails unless everybody in `rows` who was to get the mail has it, a second copy stands beside a doubt, and all
    /// copies are alike. Gives the number of second copies.
    #[track_caller]
    pub(crate) fn nobody_is_lost_and_copies_are_doubts(
        &self,
        rows: &BTreeMap<String, Row>,
    ) -> usize {
        let copies = self.copies();
        let lost = |row: &&Row| row.state == "sent" && !copies.has(&row.recipient);
        assert_eq!(rows.values().find(lost), None, "this reader is lost");
        copies.assert_within_doubts(|reader| rows[reader].doubt);
        copies.extra()
    }
}

/// How many rows stand in each state.
pub(crate) fn tally(rows: &BTreeMap<String, Row>) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for row in rows.values() {
        *tally.entry(row.state.as_str()).or_default() += 1;
    }
    tally
}
