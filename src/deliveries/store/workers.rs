//! Signs of life. Where the time is not bound, it is the server's.

use std::time::Duration;

use super::micros;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::WorkerId;
use crate::write_db;

const REGISTER_SQLITE: &str =
    "INSERT INTO workers (id, started_at, heartbeat_at, host, version) VALUES ($1, $2, $2, $3, $4)";
const REGISTER_POSTGRES: &str = "INSERT INTO workers (id, started_at, heartbeat_at, host, version)
     VALUES ($1, COALESCE($2, now()), COALESCE($2, now()), $3, $4)";
// It never revives a worker that was taken for dead.
const BEAT_SQLITE: &str =
    "UPDATE workers SET heartbeat_at = $2 WHERE id = $1 AND heartbeat_at > $2 - $3";
const BEAT_POSTGRES: &str = "UPDATE workers SET heartbeat_at = COALESCE($2, now())
     WHERE id = $1 AND heartbeat_at > COALESCE($2, now()) - $3 * INTERVAL '1 microsecond'";
const BURY_OTHERS: &str = "UPDATE workers SET heartbeat_at = $2 WHERE id <> $1";
const END_OTHERS_LEASES: &str = "UPDATE deliveries SET lease_until = $2
     WHERE state = 'transmitting' AND owner <> $1";
const FORGET_SQLITE: &str =
    "DELETE FROM workers WHERE heartbeat_at < $1 - $2 AND NOT EXISTS (SELECT 1 FROM deliveries AS d
     WHERE d.owner = workers.id)";
const FORGET_POSTGRES: &str = "DELETE FROM workers
     WHERE heartbeat_at < COALESCE($1, now()) - $2 * INTERVAL '1 microsecond'
       AND NOT EXISTS (SELECT 1 FROM deliveries AS d
           WHERE d.owner = workers.id)";

/// A new worker, alive from `now` on.
pub(in crate::deliveries) async fn register(
    tx: &mut Tx<'_>,
    id: WorkerId,
    host: &str,
    now: Option<Timestamp>,
) -> sqlx::Result<()> {
    let sql = tx.pick(REGISTER_SQLITE, REGISTER_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(id)
        .bind(now)
        .bind(host)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(conn)
        .await
        .map(drop))
}

/// A sign of life; `false` when the last one is `lease` ago: the worker is taken for dead.
pub(in crate::deliveries) async fn beat(
    tx: &mut Tx<'_>,
    id: WorkerId,
    now: Option<Timestamp>,
    lease: Duration,
) -> sqlx::Result<bool> {
    let sql = tx.pick(BEAT_SQLITE, BEAT_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(id)
        .bind(now)
        .bind(micros(lease))
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Ends all leases but those of `id`: for the holder of the worker lock, whose predecessors are dead by any clock.
pub(in crate::deliveries) async fn bury_others(tx: &mut Tx<'_>, id: WorkerId) -> sqlx::Result<()> {
    for sql in [BURY_OTHERS, END_OTHERS_LEASES] {
        write_db!(tx, |conn| sqlx::query(sql)
            .bind(id)
            .bind(Timestamp::UNIX_EPOCH)
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Forgets workers without a sign of life for `silence` who own nothing.
pub(in crate::deliveries) async fn forget(
    tx: &mut Tx<'_>,
    now: Option<Timestamp>,
    silence: Duration,
) -> sqlx::Result<()> {
    let sql = tx.pick(FORGET_SQLITE, FORGET_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(now)
        .bind(micros(silence))
        .execute(conn)
        .await
        .map(drop))
}
