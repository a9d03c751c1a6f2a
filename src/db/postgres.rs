//! PostgreSQL: a pool; each write is a transaction of its own.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Db, OpenError};

pub(super) async fn open(url: &str, connections: u32) -> Result<Db, OpenError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options(url)?)
        .await?;
    Ok(Db::Postgres(pool))
}

fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("paperround")
        // a session that its process left behind must not hold locks
        .options([
            ("idle_in_transaction_session_timeout", "60s"),
            ("statement_timeout", "120s"),
        ])
        .disable_statement_logging())
}
