//! What every edge and every test shares: built once from the settings.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, DatabaseTarget};
use crate::db::{Db, MigrateError, OpenError};
use crate::feeds::fetch::{FetchLimits, Fetcher};
use crate::feeds::guard::{FetchPolicy, SystemLookup};
use crate::id::{Entropy, Ids, SystemEntropy};
use crate::mail::Templates;
use crate::mail::template::TemplatesError;
use crate::subscribers::intake::Intake;
use crate::suppressions::journal::Journal;
use crate::texts::{Texts, TextsError};
use crate::token::{KeyRing, SecretsError};

/// A service: its settings, its data, and what it needs from the world.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The data.
    pub db: Db,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Makes ids.
    pub ids: Ids,
    /// Signs links.
    pub keys: KeyRing,
    /// What a restored database must not forget; none on PostgreSQL.
    pub journal: Option<Journal>,
    /// What people see, in their language.
    pub texts: Arc<Texts>,
    /// The mails' templates.
    pub templates: Arc<Templates>,
    /// Reads feeds, behind its guard.
    pub fetcher: Fetcher,
    /// Takes sign-ups.
    pub intake: Intake,
    /// Wakes the sender: something was queued by this process. Polling finds what other processes queue.
    pub queued: Arc<Notify>,
}

/// Time and randomness: the system's, or a test's.
pub struct World {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Why the service cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for data cannot be made.
    #[error("cannot make the folder {path} (data_dir)")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system's certificates cannot be used.
    #[error("cannot make the client that reads feeds: are the system's CA certificates installed?")]
    Fetcher(#[source] reqwest::Error),
    /// The key ring cannot be read or made.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The schema cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The texts are broken.
    #[error(transparent)]
    Texts(#[from] TextsError),
    /// The mail templates are broken.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
}

impl World {
    /// The real one.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl App {
    /// Opens what the settings name: the folder, the key ring and the SQLite file are made at first start, and the
    /// schema is brought up to date.
    pub async fn open(config: Config, world: World) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::Folder {
            path: config.data_dir.clone(),
            source,
        })?;
        let texts = Arc::new(Texts::load()?);
        let templates = Templates::load(config.mail.templates_dir.as_deref(), texts.clone())?;
        let fetcher = fetcher(&config).map_err(StartError::Fetcher)?;
        let target = config.database_target();
        let keys = match target {
            DatabaseTarget::Sqlite(_) => {
                KeyRing::load_or_create(&config.secrets_file(), &*world.entropy)?
            }
            // every process of the instance needs the same keys: none may make its own
            DatabaseTarget::Postgres(_) => KeyRing::load(&config.secrets_file())?,
        };
        let db = Db::open(&target, config.database.max_connections).await?;
        db.migrate().await?;
        Ok(Self {
            ids: Ids::new(world.clock.clone(), world.entropy.clone()),
            journal: Journal::of(&config),
            config,
            db,
            clock: world.clock,
            entropy: world.entropy,
            keys,
            texts,
            templates: Arc::new(templates),
            fetcher,
            intake: Intake::default(),
            queued: Arc::new(Notify::new()),
        })
    }
}

fn fetcher(config: &Config) -> reqwest::Result<Fetcher> {
    Fetcher::new(
        FetchPolicy::new(&config.fetch.allow),
        FetchLimits::default(),
        Arc::new(SystemLookup),
        config.server.base_url.as_str(),
    )
}
