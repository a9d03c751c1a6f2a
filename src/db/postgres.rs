//! PostgreSQL: a pool; each write is a transaction of its own. An answer that does not come is an error: a server that
//! was cut off in the middle of a statement never closes its connection.

use std::future::Future;
use std::io;
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::{Db, Done, OpenError, Tx, carry_out};

/// How long a read or a whole transaction may take. The server gives a statement up before.
const DEADLINE: Duration = Duration::from_mins(3);
const STATEMENT_TIMEOUT: &str = "120s";

/// A PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) pool: PgPool,
    deadline: Duration,
}

/// A session of the pool. One that did not answer in time is closed, not used again.
#[derive(Debug)]
pub struct Session(PoolConnection<Postgres>);

impl Server {
    /// `deadline` is that of a read, or of a whole transaction.
    pub fn new(pool: PgPool, deadline: Duration) -> Self {
        Self { pool, deadline }
    }

    /// A session for a read.
    pub async fn session(&self) -> sqlx::Result<Session> {
        self.pool.acquire().await.map(Session)
    }

    /// The answer of `work`, or an error if it does not come in time.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<sqlx::Result<T>, TooLate> {
        timeout(self.deadline, work).await.map_err(|_| TooLate)
    }

    /// See [`Db::write`]: for a task that nobody cancels. Nothing is known of a transaction that did not end in time.
    pub(super) async fn write<T, E, F>(&self, work: F) -> Done<T, E>
    where
        E: From<sqlx::Error>,
        F: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>>,
    {
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(error) => return Done::Returned(Err(error.into())),
        };
        let ended = timeout(self.deadline, async {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that begins a transaction, in a task that nobody cancels"
            )]
            let tx = session.connection().begin().await.map(Tx::Postgres);
            let (done, _closed_with_its_session) = carry_out(tx, work).await;
            done
        })
        .await;
        match ended {
            Ok(done) => done,
            Err(_) => Done::Returned(session.end(Err(TooLate)).map_err(Into::into)),
        }
    }
}

/// The server did not answer in time.
#[derive(Clone, Copy, Debug)]
pub struct TooLate;

impl Session {
    /// Where statements go.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Gives it back, or closes it.
    pub fn end<T>(mut self, answer: Result<sqlx::Result<T>, TooLate>) -> sqlx::Result<T> {
        answer.unwrap_or_else(|TooLate| {
            self.0.close_on_drop();
            let kind = io::ErrorKind::TimedOut;
            Err(io::Error::new(kind, "the database does not answer").into())
        })
    }
}

pub(super) async fn open(url: &str, connections: u32) -> Result<Db, OpenError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options(url)?)
        .await?;
    Ok(Db::Postgres(Server::new(pool, DEADLINE)))
}

fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("paperround")
        // a session that its process left behind must not hold locks
        .options([
            ("idle_in_transaction_session_timeout", "60s"),
            ("statement_timeout", STATEMENT_TIMEOUT),
        ])
        .disable_statement_logging())
}
