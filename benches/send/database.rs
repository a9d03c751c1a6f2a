//! A PostgreSQL database for a stage, in the throw-away cluster that `TEST_DATABASE_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Its cluster forgets it.
pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    /// A copy of `template`.
    pub(crate) async fn create(template: &str) -> anyhow::Result<Self> {
        let name = format!(
            "bench_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let cluster = cluster().context("TEST_DATABASE_URL is not set")?;
        let options: sqlx::postgres::PgConnectOptions = cluster.parse()?;
        let mut connection: PgConnection = options.connect().await?;
        let fsync: String = sqlx::query_scalar("SHOW fsync")
            .fetch_one(&mut connection)
            .await?;
        ensure!(
            fsync == "on",
            "this PostgreSQL keeps nothing: run under `scripts/with-postgres --durable`"
        );
        // CREATE DATABASE takes no binds; the names are ours
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"));
        connection.execute(create).await?;
        connection.close().await?;
        let mut url: url::Url = cluster.parse()?;
        url.set_path(&name);
        Ok(Self {
            name,
            url: url.into(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// The cluster, if there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench is told of its cluster by the environment"
)]
pub(crate) fn cluster() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok()
}
