//! Readers, an issue for all of them, a relay that keeps a ledger; and the verdict, which compares it with the database.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use paperround::clock::{Clock as _, SystemClock};
use paperround::config::DatabaseTarget;
use paperround::deliveries::decide::{self, HeldDecision};
use paperround::id::{DeliveryId, IssueId};
use paperround::issues::compose::{Created, create_manual};
use paperround::issues::manual::ManualIssue;
use paperround::read_db;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use super::crew::Crew;
use crate::support::cluster::{Cluster, Stop};
use crate::support::copies::Copies;
use crate::support::proxy::Proxy;
use crate::support::service::Service;
use crate::support::smtp_server::SmtpServer;
use crate::support::{Program, TestApp};

const CONNECTIONS: usize = 4;
/// How long a wait may take. The long run has ten times the work.
pub(super) const DEADLINE: Duration = Duration::from_mins(15);

const ROWS: &str = "SELECT recipient, state, doubt FROM deliveries WHERE kind = 'digest'";
const HELD: &str = "SELECT id, issue_id, recipient FROM deliveries WHERE state = 'held'";
const OPEN: &str = "SELECT COUNT(*) FROM deliveries WHERE state NOT IN ('sent', 'held')";
const ISSUES: &str = "SELECT state FROM issues";
const PAUSED: &str = "SELECT pause_reason FROM issues";
const SESSIONS: &str = "SELECT pid FROM pg_stat_activity
     WHERE application_name = 'paperround' AND pid <> pg_backend_pid() ORDER BY pid";
const TERMINATE: &str = "SELECT pg_terminate_backend($1)";
const IN_TRANSACTION: &str = "SELECT COUNT(*) FROM pg_stat_activity
     WHERE state LIKE 'idle in transaction%' AND now() - state_change > INTERVAL '1 second'";
const ALL_SESSIONS: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'paperround'";

/// Recipient to state and doubts.
type Rows = BTreeMap<String, (String, i64)>;

/// What the workers work on.
pub(super) struct Scene {
    app: TestApp,
    pub(super) cluster: Arc<Cluster>,
    pub(super) relay: SmtpServer,
    settings: Vec<(&'static str, String)>,
    readers: usize,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Verdict {
    readers: usize,
    pub(super) extra: usize,
    pub(super) doubts: i64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            readers,
            extra,
            doubts,
        } = self;
        write!(
            f,
            "{readers} readers served, {extra} second copies, {doubts} doubts"
        )
    }
}

impl Scene {
    pub(super) async fn new(readers: usize, settings: &[(&'static str, &str)]) -> Self {
        let cluster = Cluster::start();
        let target = cluster.target();
        Self::on(cluster, target, readers, settings).await
    }

    /// On a cluster that is reached in another way.
    pub(super) async fn on(
        cluster: Cluster,
        target: DatabaseTarget,
        readers: usize,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let app = TestApp::start_on(target).await;
        let newsletter = app.newsletter_with_news(readers).await;
        let issue = ManualIssue::default().issue(&app, &newsletter, true);
        let created = create_manual(&app, issue).await.unwrap();
        assert!(matches!(created, Created::Issue(_)));
        let relay = SmtpServer::start().await;
        let mut all = vec![
            (
                "PAPERROUND_SMTP__URL",
                format!("smtp://127.0.0.1:{}", relay.port()),
            ),
            ("PAPERROUND_SMTP__TLS", "none".to_owned()),
            ("PAPERROUND_SMTP__MAX_CONNECTIONS", CONNECTIONS.to_string()),
            ("PAPERROUND_LOG__LEVEL", "warn".to_owned()),
        ];
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        all.extend(settings);
        Self {
            app,
            cluster: Arc::new(cluster),
            relay,
            settings: all,
            readers,
        }
    }

    /// Starts one process.
    pub(super) async fn begin(&self) -> Service {
        self.begin_with(&[]).await
    }

    /// Starts one process with these settings over those of all.
    pub(super) async fn begin_with(&self, settings: &[(&str, &str)]) -> Service {
        let all = self.settings.iter().map(|(name, value)| (*name, &**value));
        let program = all
            .chain(settings.iter().copied())
            .fold(Program::of(&self.app), |program, (name, value)| {
                program.with(name, value)
            });
        Service::begin(program, self.app.folder()).await
    }

    /// A wire to the database.
    pub(super) async fn wire(&self) -> Proxy {
        Proxy::to(self.cluster.port()).await
    }

    /// What the processes logged.
    pub(super) fn words(&self) -> String {
        std::fs::read_to_string(self.app.folder().join("serve.log")).unwrap()
    }

    pub(super) async fn restart(&self, stop: Stop) {
        let cluster = self.cluster.clone();
        tokio::task::spawn_blocking(move || cluster.restart(stop))
            .await
            .unwrap();
    }

    /// Ends a session of the service, chosen at random.
    pub(super) async fn terminate_a_session(&self, random: &mut StdRng) {
        let mut session = self.session().await;
        let sessions: Vec<i32> = sqlx::query_scalar(SESSIONS)
            .fetch_all(&mut session)
            .await
            .unwrap();
        if let Some(session_id) = sessions.choose(random) {
            sqlx::query(TERMINATE)
                .bind(session_id)
                .execute(&mut session)
                .await
                .unwrap();
        }
        session.close().await.unwrap();
    }

    /// A session that is not the service's.
    async fn session(&self) -> PgConnection {
        let DatabaseTarget::Postgres(url) = self.app.config.database_target() else {
            unreachable!("a cluster is a server");
        };
        PgConnection::connect(url.expose_secret()).await.unwrap()
    }

    pub(super) async fn rows(&self) -> Rows {
        let rows: Vec<(String, String, i64)> = read_db!(&self.app.db, |conn| sqlx::query_as(ROWS)
            .fetch_all(conn)
            .await)
        .unwrap();
        rows.into_iter()
            .map(|(recipient, state, doubt)| (recipient, (state, doubt)))
            .collect()
    }

    /// Waits until every row has come to its end, which may be an operator's desk.
    pub(super) async fn drained(&self, crew: &mut Crew) {
        let drained = async {
            loop {
                crew.wait(self, Duration::from_millis(200)).await;
                if self.count(OPEN).await == 0 && self.rows().await.len() == self.readers {
                    return;
                }
            }
        };
        if tokio::time::timeout(DEADLINE, drained).await.is_err() {
            let mut tally = BTreeMap::<String, usize>::new();
            for (state, _) in self.rows().await.into_values() {
                *tally.entry(state).or_default() += 1;
            }
            let paused: Vec<Option<String>> =
                read_db!(&self.app.db, |conn| sqlx::query_scalar(PAUSED)
                    .fetch_all(conn)
                    .await)
                .unwrap();
            panic!("not everybody was served: {tally:?}; {paused:?}");
        }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        read_db!(&self.app.db, |conn| sqlx::query_scalar(sql)
            .fetch_one(conn)
            .await)
        .unwrap()
    }

    /// Waits until the relay has accepted a message.
    pub(super) async fn begun(&self, crew: &mut Crew) {
        let begun = async {
            while self.relay.ledger().count() == 0 {
                crew.wait(self, Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, begun)
            .await
            .expect("mails arrive");
    }

    /// Waits until the relay has accepted `count` messages.
    pub(super) async fn accepted(&self, count: usize) {
        self.relay.has_accepted(count, DEADLINE).await;
    }

    /// The operator asks the relay about each mail that is held, and decides. How many there were.
    pub(super) async fn decide(&self) -> usize {
        let held: Vec<(DeliveryId, IssueId, String)> =
            read_db!(&self.app.db, |conn| sqlx::query_as(HELD)
                .fetch_all(conn)
                .await)
            .unwrap();
        let copies = Copies::at(&self.relay);
        let count = held.len();
        for (id, issue, recipient) in held {
            let decision = if copies.has(&recipient) {
                HeldDecision::Sent
            } else {
                HeldDecision::SendAgain
            };
            let now = SystemClock.now();
            let later = now + Duration::from_hours(48);
            let decided = self.app.db.write(move |tx| {
                Box::pin(async move { decide::decide(tx, issue, id, decision, now, later).await })
            });
            decided.await.unwrap();
        }
        count
    }

    /// Nothing is called sent that the relay does not know, nothing is given up, and who is held is held for a reason.
    pub(super) fn assert_that_what_is_sent_was_accepted(&self, rows: &Rows) {
        let copies = Copies::at(&self.relay);
        for (reader, (state, doubt)) in rows {
            match state.as_str() {
                "sent" => assert!(copies.has(reader), "{reader} is lost"),
                "held" => {}
                other => panic!("{reader} is {other} with {doubt} doubts"),
            }
        }
    }

    /// Everybody has a copy, equal to any other, and not more than one without a doubt about it in `rows`.
    pub(super) async fn verdict(&self, rows: &Rows) -> Verdict {
        let after = self.rows().await;
        assert!(after.values().all(|(state, _)| state == "sent"));
        let issues: Vec<String> = read_db!(&self.app.db, |conn| sqlx::query_scalar(ISSUES)
            .fetch_all(conn)
            .await)
        .unwrap();
        assert!(
            issues == ["finished"] || issues == ["sending"],
            "{issues:?}"
        );
        let copies = Copies::at(&self.relay);
        assert!(
            copies.readers().eq(after.keys()),
            "ledger and database differ"
        );
        copies.assert_within_doubts(|reader| rows[reader].1);
        Verdict {
            readers: copies.readers().count(),
            extra: copies.extra(),
            doubts: rows.values().map(|(_, doubt)| doubt).sum(),
        }
    }

    pub(super) async fn assert_no_session_is_left_in_a_transaction(&self) {
        assert_eq!(self.count(IN_TRANSACTION).await, 0);
    }

    /// Closes what is its own; then no session is left of any process.
    pub(super) async fn finish(self) {
        let mut session = self.session().await;
        self.app.finish().await;
        let ended = async {
            while sqlx::query_scalar::<_, i64>(ALL_SESSIONS)
                .fetch_one(&mut session)
                .await
                .unwrap()
                > 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .expect("sessions end with their processes");
    }
}
