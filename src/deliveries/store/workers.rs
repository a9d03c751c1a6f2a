//! Signs of life.

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::WorkerId;
use crate::write_db;

const REGISTER: &str =
    "INSERT INTO workers (id, started_at, heartbeat_at, host, version) VALUES ($1, $2, $2, $3, $4)";
// It never revives a worker that was taken for dead.
const BEAT: &str = "UPDATE workers SET heartbeat_at = $2 WHERE id = $1 AND heartbeat_at > $3";
const BURY_OTHERS: &str = "UPDATE workers SET heartbeat_at = $2 WHERE id <> $1";
const END_OTHERS_LEASES: &str = "UPDATE deliveries SET lease_until = $2
     WHERE state IN ('claimed', 'transmitting') AND state = 'transmitting' AND owner <> $1";
const FORGET: &str =
    "DELETE FROM workers WHERE heartbeat_at < $1 AND NOT EXISTS (SELECT 1 FROM deliveries AS d
     WHERE d.owner = workers.id AND d.state IN ('claimed', 'transmitting'))";

/// A new worker, alive from `now` on.
pub(in crate::deliveries) async fn register(
    tx: &mut Tx<'_>,
    id: WorkerId,
    host: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(REGISTER)
        .bind(id)
        .bind(now)
        .bind(host)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(conn)
        .await
        .map(drop))
}

/// A sign of life; `false` when the last one is not after `alive_after`: the worker is taken for dead.
pub(in crate::deliveries) async fn beat(
    tx: &mut Tx<'_>,
    id: WorkerId,
    now: Timestamp,
    alive_after: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(BEAT)
        .bind(id)
        .bind(now)
        .bind(alive_after)
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

/// Forgets workers without a sign of life since `before` who own nothing.
pub(in crate::deliveries) async fn forget(tx: &mut Tx<'_>, before: Timestamp) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(FORGET)
        .bind(before)
        .execute(conn)
        .await
        .map(drop))
}
