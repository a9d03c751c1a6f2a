//! A database for each test: a file, or a clone of a template in the cluster that `TEST_DATABASE_URL` names.

use std::path::Path;

use paperround::config::DatabaseTarget;
use paperround::db::Db;

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file in a folder of the test's own.
    Sqlite,
    /// A database of the test's own.
    #[cfg(feature = "test-postgres")]
    Postgres,
}

/// Where a fresh, migrated database for one test is. `folder` is the test's own.
pub(crate) async fn fresh(engine: Engine, folder: &Path) -> DatabaseTarget {
    match engine {
        Engine::Sqlite => {
            let location = DatabaseTarget::Sqlite(folder.join("paperround.db"));
            migrate(&location).await;
            location
        }
        #[cfg(feature = "test-postgres")]
        Engine::Postgres => postgres::clone().await,
    }
}

/// Makes the schema in an empty database.
pub(crate) async fn migrate(location: &DatabaseTarget) {
    let db = Db::open(location, 2).await.expect("it can be opened");
    db.migrate().await.expect("the schema applies");
    // a template with open sessions cannot be cloned
    db.close().await;
}

#[cfg(feature = "test-postgres")]
mod postgres {
    use std::sync::atomic::{AtomicU32, Ordering};

    use paperround::config::DatabaseTarget;
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
    use tokio::sync::OnceCell;

    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    static NEXT: AtomicU32 = AtomicU32::new(0);

    pub(super) async fn clone() -> DatabaseTarget {
        let template = TEMPLATE.get_or_init(make_template).await;
        let name = format!("{template}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        create(&name, Some(template)).await;
        DatabaseTarget::Postgres(url_of(&name).into())
    }

    async fn make_template() -> String {
        let name = format!("test_{}", std::process::id());
        create(&name, None).await;
        super::migrate(&DatabaseTarget::Postgres(url_of(&name).into())).await;
        name
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the harness is told of its cluster by the environment"
    )]
    fn cluster() -> String {
        std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL is not set: run the tests by scripts/test, or under scripts/with-postgres",
        )
    }

    fn url_of(name: &str) -> String {
        let mut url: url::Url = cluster().parse().expect("TEST_DATABASE_URL is a URL");
        url.set_path(name);
        url.into()
    }

    // CREATE DATABASE takes no binds; the names are ours
    async fn create(name: &str, template: Option<&str>) {
        let options: sqlx::postgres::PgConnectOptions =
            cluster().parse().expect("TEST_DATABASE_URL is a URL");
        let mut connection: PgConnection =
            options.connect().await.expect("the test cluster answers");
        let template = template.unwrap_or("template0");
        connection
            .execute(sqlx::AssertSqlSafe(format!(
                "CREATE DATABASE {name} TEMPLATE {template}"
            )))
            .await
            .expect("a database can be made");
        connection.close().await.expect("the session ends");
    }
}
