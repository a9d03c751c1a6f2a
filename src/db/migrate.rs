//! Bringing the schema up to date: forward only, the same steps by the same names on both engines.

use sqlx::ConnectOptions as _;
use sqlx::SqliteConnection;
use sqlx::migrate::Migrator;

use super::{Db, sqlite};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

/// Why the schema cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer release has been here.
    #[error(
        "the database has migration {0}, which this release does not know: it was used by a newer release. \
         Start that release, or restore a backup from before the upgrade"
    )]
    Newer(i64),
    /// A step failed; it was rolled back.
    #[error("the database could not be brought up to date; nothing of the failed step remains")]
    Step(#[source] sqlx::migrate::MigrateError),
    /// The engine answered an error.
    #[error("the database cannot be reached")]
    Engine(#[from] sqlx::Error),
}

/// One step and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// The number at the start of the file's name.
    pub version: i64,
    /// The rest of the file's name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl MigrateError {
    fn from_step(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version)
            | sqlx::migrate::MigrateError::VersionTooNew(version, _) => Self::Newer(version),
            error => Self::Step(error),
        }
    }
}

/// Brings a SQLite file that no service has open up to date.
pub(super) async fn run_on_file(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    SQLITE
        .run(connection)
        .await
        .map_err(MigrateError::from_step)
}

impl Db {
    /// Applies the steps that the database does not have yet. Repeating it is harmless.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let result = match self {
            Self::Sqlite { reader, .. } => {
                // the readers cannot write, and the writer's queue is for transactions
                let path = reader.connect_options().get_filename().to_owned();
                let mut connection = sqlite::options(&path).connect().await?;
                SQLITE.run(&mut connection).await
            }
            Self::Postgres(server) => POSTGRES.run(&server.pool).await,
        };
        result.map_err(MigrateError::from_step)
    }

    /// All steps that this release knows, oldest first, and which of them the database has.
    pub async fn migration_status(&self) -> Result<Vec<Step>, MigrateError> {
        let (migrator, applied) = match self {
            Self::Sqlite { reader, .. } => {
                (&SQLITE, sqlx::query_scalar(APPLIED).fetch_all(reader).await)
            }
            Self::Postgres(server) => (
                &POSTGRES,
                sqlx::query_scalar(APPLIED).fetch_all(&server.pool).await,
            ),
        };
        let applied: Vec<i64> = match applied {
            Ok(versions) => versions,
            // the table of steps is made by the first one
            Err(sqlx::Error::Database(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if let Some(unknown) = applied
            .iter()
            .find(|version| !migrator.version_exists(**version))
        {
            return Err(MigrateError::Newer(*unknown));
        }
        Ok(migrator
            .iter()
            .map(|step| Step {
                version: step.version,
                name: step.description.to_string(),
                applied: applied.contains(&step.version),
            })
            .collect())
    }
}
