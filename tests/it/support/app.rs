//! One service for one test: own database, own folder, a clock that stands still, repeatable randomness.

use std::ops::Deref;
use std::sync::Arc;

use paperround::app::{App, World};
use paperround::clock::{TestClock, Timestamp};
use paperround::config::{Config, DatabaseTarget, Sources};
use paperround::id::SeededEntropy;
use paperround::write_db;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::database::{self, Engine};

/// When tests begin: a Tuesday, 2026-07-07 05:00 UTC.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_783_400_400_000_000);

/// A service under test. It is also the [`App`] that it runs.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) time: Arc<TestClock>,
    folder: TempDir,
    location: DatabaseTarget,
    settings: Vec<(String, String)>,
    starts: u64,
}

impl Deref for TestApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl TestApp {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// With these settings above the usual ones of a test.
    pub(crate) async fn start_with(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let location = database::fresh(engine, folder.path()).await;
        Self::start_in(folder, location, settings).await
    }

    /// A change that the service has no operation for.
    pub(crate) async fn execute(&self, sql: &'static str) {
        self.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(sql).execute(conn).await.map(drop))
                })
            })
            .await
            .expect("the statement is good");
    }

    /// On an empty database of the test's own making.
    #[cfg(feature = "test-postgres")]
    pub(crate) async fn start_on(location: DatabaseTarget) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        database::migrate(&location).await;
        Self::start_in(folder, location, &[]).await
    }

    async fn start_in(
        folder: TempDir,
        location: DatabaseTarget,
        settings: &[(&str, &str)],
    ) -> Self {
        let time = Arc::new(TestClock::at(START));
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let app = open(&folder, &location, &settings, time.clone(), 1).await;
        Self {
            app,
            time,
            folder,
            location,
            settings,
            starts: 1,
        }
    }

    /// What the test's clock shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The service's folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The same service after its process has died: a new one on the same data.
    pub(crate) async fn restart(&mut self) {
        self.starts += 1;
        self.app = open(
            &self.folder,
            &self.location,
            &self.settings,
            self.time.clone(),
            self.starts,
        )
        .await;
    }

    /// Ends the service in order and keeps its data, so that a test may exchange them.
    pub(crate) async fn stop(self) -> Stopped {
        self.app.db.close().await;
        let Self {
            app,
            time,
            folder,
            location,
            settings,
            starts,
        } = self;
        assert_eq!(
            Arc::strong_count(&app),
            1,
            "somebody still uses the service"
        );
        drop(app);
        // SQLite's writer ends by itself, and takes its log with it
        let log = folder.path().join("paperround.db-wal");
        let ended = async {
            while log.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), ended)
            .await
            .expect("the database is closed");
        Stopped {
            time,
            folder,
            location,
            settings,
            starts,
        }
    }

    /// Ends the service in order.
    pub(crate) async fn finish(self) {
        self.db.close().await;
    }
}

/// The data of a service that does not run.
pub(crate) struct Stopped {
    pub(crate) time: Arc<TestClock>,
    folder: TempDir,
    location: DatabaseTarget,
    pub(crate) settings: Vec<(String, String)>,
    starts: u64,
}

impl Stopped {
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The same data in another folder.
    pub(crate) fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for entry in std::fs::read_dir(self.folder.path()).expect("it can be read") {
            let entry = entry.expect("it can be read");
            std::fs::copy(entry.path(), folder.path().join(entry.file_name()))
                .expect("it can be copied");
        }
        Self {
            time: self.time.clone(),
            location: DatabaseTarget::Sqlite(folder.path().join("paperround.db")),
            folder,
            settings: self.settings.clone(),
            starts: self.starts,
        }
    }

    /// A service on them, a second later.
    pub(crate) async fn start(self) -> TestApp {
        let Self {
            time,
            folder,
            location,
            settings,
            starts,
        } = self;
        let starts = starts + 1;
        time.advance(std::time::Duration::from_secs(1));
        let app = open(&folder, &location, &settings, time.clone(), starts).await;
        TestApp {
            app,
            time,
            folder,
            location,
            settings,
            starts,
        }
    }
}

async fn open(
    folder: &TempDir,
    location: &DatabaseTarget,
    settings: &[(String, String)],
    time: Arc<TestClock>,
    seed: u64,
) -> Arc<App> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut sources = Sources::default()
        .with("data_dir", path(""))
        .with("server.base_url", "http://127.0.0.1:8080")
        .with("secrets.file", path("secrets.toml"));
    if let DatabaseTarget::Postgres(url) = location {
        sources = sources.with("database.url", url.expose_secret());
    }
    for (key, value) in settings {
        sources = sources.with(key, value);
    }
    let config = Config::load(&sources).expect("the test's settings are right");
    let world = World {
        clock: time,
        // each start has a seed of its own: no two processes make the same ids
        entropy: Arc::new(SeededEntropy::new(seed)),
    };
    // on PostgreSQL the operator provides the keys
    paperround::token::KeyRing::load_or_create(&config.secrets_file(), &*world.entropy)
        .expect("keys can be made");
    Arc::new(App::open(config, world).await.expect("the service starts"))
}
