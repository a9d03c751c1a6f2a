//! A newsletter with readers and an issue that waits for its release: made once, copied for each run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use paperround::app::{App, World};
use paperround::config::{Config, Sources};
use paperround::db::Db;
use paperround::deliveries::operate;
use paperround::id::{IssueId, SystemEntropy};
use paperround::instance;
use paperround::issues::release;
use paperround::newsletters::Newsletter;
use paperround::subscribers::email_address::AddressRules;
use paperround::subscribers::import::{self, BATCH};
use paperround::subscribers::import_file;
use paperround::token::KeyRing;
use paperround::worker;
use tempfile::TempDir;

use super::database::Database;
use super::newsletter;

/// The base URL of all links.
const BASE_URL: &str = "http://127.0.0.1:8080";

/// A service's data in a folder of its own, on the disk of the build; on PostgreSQL in a database of its own.
pub(crate) struct Stage {
    folder: TempDir,
    database: Option<Database>,
}

/// An issue that nothing was sent of.
pub(crate) struct Issue {
    pub(crate) stage: Stage,
    pub(crate) id: IssueId,
    pub(crate) readers: u64,
}

/// Where the data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// How far an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upto {
    /// Made: the worker prepares it, and waits for an operator then.
    Made,
    /// Made: the worker prepares and sends it.
    Allowed,
    /// Prepared: the worker sends it.
    Prepared,
}

impl Stage {
    pub(crate) async fn new(engine: Engine) -> anyhow::Result<Self> {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::create("template0").await?),
        };
        let stage = Self {
            folder: folder()?,
            database,
        };
        if engine == Engine::Postgres {
            // there the operator provides the keys
            KeyRing::load_or_create(&stage.path().join("secrets.toml"), &SystemEntropy)?;
        }
        Ok(stage)
    }

    /// The same data once more, as the one instance that may send. Nobody may be at work on them.
    pub(crate) async fn copy(&self) -> anyhow::Result<Self> {
        let database = match &self.database {
            None => None,
            Some(database) => Some(Database::create(database.name()).await?),
        };
        let copy = Self {
            folder: folder()?,
            database,
        };
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
            }
        }
        copy.take_over().await?;
        Ok(copy)
    }

    /// What an operator does who moved the data: the guard against copies is told that this one may send.
    async fn take_over(&self) -> anyhow::Result<()> {
        let app = self.app().await?;
        instance::begin(&app).await?;
        let expires_at = app.clock.now() + app.config.delivery.give_up_after;
        operate::resume_sending(&app.db, expires_at).await?;
        app.db.close().await;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A service on these data in this process.
    pub(crate) async fn app(&self) -> anyhow::Result<Arc<App>> {
        self.app_with(&[]).await
    }

    /// The same with these settings besides.
    pub(crate) async fn app_with(
        &self,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<Arc<App>> {
        let config = self.config(settings)?;
        Ok(Arc::new(App::open(config, World::system()).await?))
    }

    /// The data alone, to look at.
    pub(crate) async fn db(&self) -> anyhow::Result<Db> {
        Ok(Db::open(&self.config(&[])?.database_target(), 1).await?)
    }

    /// Where the data are, as settings.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let secrets = self.path().join("secrets.toml");
        let mut settings = vec![
            ("data_dir", self.path().display().to_string()),
            ("secrets.file", secrets.display().to_string()),
            ("server.base_url", BASE_URL.to_owned()),
        ];
        if let Some(database) = &self.database {
            settings.push(("database.url", database.url().to_owned()));
        }
        settings
    }

    fn config(&self, more: &[(&'static str, String)]) -> anyhow::Result<Config> {
        let none = Sources::default();
        let sources = self
            .settings()
            .into_iter()
            .chain(more.iter().cloned())
            .fold(none, |sources, (key, value)| sources.with(key, value));
        Ok(Config::load(&sources)?)
    }
}

impl Issue {
    /// A digest of about 20 KB for `readers`.
    pub(crate) async fn make(engine: Engine, readers: u64, upto: Upto) -> anyhow::Result<Self> {
        let stage = Stage::new(engine).await?;
        let app = stage.app().await?;
        let newsletter = newsletter::add(&app).await?;
        subscribe(&app, &newsletter, readers).await?;
        let id = newsletter::draft(&app, &newsletter).await?;
        if upto == Upto::Prepared {
            work(&app).await?;
            let counts = operate::counts(&app.db, id).await?;
            ensure!(
                u64::try_from(counts.pending)? == readers,
                "{counts:?} were prepared for {readers} readers"
            );
        }
        if upto != Upto::Made {
            ensure!(
                release::allow(&app, id).await?,
                "the issue cannot be released"
            );
        }
        app.db.close().await;
        Ok(Self { stage, id, readers })
    }

    /// The same issue once more.
    pub(crate) async fn copy(&self) -> anyhow::Result<Self> {
        Ok(Self {
            stage: self.stage.copy().await?,
            id: self.id,
            readers: self.readers,
        })
    }

    /// Fails unless each delivery of it was acknowledged once, and none twice.
    pub(crate) async fn check_sent(&self, db: &Db) -> anyhow::Result<()> {
        let counts = operate::counts(db, self.id).await?;
        ensure!(
            u64::try_from(counts.sent)? == self.readers && counts.total() == counts.sent,
            "not everything was sent: {counts:?}"
        );
        Ok(())
    }
}

fn folder() -> std::io::Result<TempDir> {
    TempDir::with_prefix_in("bench-", env!("CARGO_TARGET_TMPDIR"))
}

/// The message that one reader gets, as a file in `folder`.
pub(crate) async fn sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let issue = Issue::make(Engine::Sqlite, 1, Upto::Prepared).await?;
    let app = issue.stage.app().await?;
    work(&app).await?;
    app.db.close().await;
    let outbox = issue.stage.path().join("outbox");
    let mail = fs::read_dir(outbox)?
        .next()
        .context("no mail was written")??;
    let sample = folder.join("sample.eml");
    fs::copy(mail.path(), &sample)?;
    Ok(sample)
}

/// Imports readers.
pub(crate) async fn subscribe(
    app: &Arc<App>,
    newsletter: &Newsletter,
    readers: u64,
) -> anyhow::Result<()> {
    let mut file = "email\n".to_owned();
    for n in 0..readers {
        writeln!(file, "reader{n}@example.org")?;
    }
    let file = import_file::read(file.as_bytes(), &[].into(), address_rules())?;
    for rows in file.rows.chunks(BATCH) {
        let done = import::import(app, newsletter.id, rows.to_vec(), "bench").await?;
        ensure!(
            done.added == rows.len(),
            "not every reader was added: {done:?}"
        );
    }
    Ok(())
}

/// Does what can be done now.
pub(crate) async fn work(app: &Arc<App>) -> anyhow::Result<()> {
    Ok(worker::prepare(app.clone()).await?.run_until_idle().await?)
}

/// As the service reads addresses.
pub(crate) fn address_rules() -> AddressRules {
    AddressRules {
        allow_special_use: false,
        smtputf8: false,
        allow_roles: false,
    }
}
