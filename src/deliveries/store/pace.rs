//! How much of its allowance each relay has used.

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::write_db;

const BEGIN: &str =
    "INSERT INTO relay_levels (relay, full_at) VALUES ($1, $2) ON CONFLICT (relay) DO NOTHING";
const LEVEL_SQLITE: &str = "SELECT full_at FROM relay_levels WHERE relay = $1";
const LEVEL_POSTGRES: &str = "SELECT full_at FROM relay_levels WHERE relay = $1 FOR UPDATE";
const SET_LEVEL: &str = "UPDATE relay_levels SET full_at = $2 WHERE relay = $1";

/// When the relay's bucket is full again; locked until the transaction ends. A bucket that nobody used is full.
pub(in crate::deliveries) async fn level(tx: &mut Tx<'_>, relay: &str) -> sqlx::Result<Timestamp> {
    if let Some(level) = found(tx, relay).await? {
        return Ok(level);
    }
    // two workers may come here together; the second waits for the first, and both then read one row
    write_db!(tx, |conn| sqlx::query(BEGIN)
        .bind(relay)
        .bind(Timestamp::UNIX_EPOCH)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(found(tx, relay).await?.unwrap_or(Timestamp::UNIX_EPOCH))
}

async fn found(tx: &mut Tx<'_>, relay: &str) -> sqlx::Result<Option<Timestamp>> {
    let sql = tx.pick(LEVEL_SQLITE, LEVEL_POSTGRES);
    write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(relay)
        .fetch_optional(conn)
        .await)
}

pub(in crate::deliveries) async fn set_level(
    tx: &mut Tx<'_>,
    relay: &str,
    full_at: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(SET_LEVEL)
        .bind(relay)
        .bind(full_at)
        .execute(conn)
        .await
        .map(drop))
}
