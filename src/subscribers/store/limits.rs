//! Counters.

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::write_db;

/// What was counted since some instant.
#[derive(sqlx::FromRow)]
pub(in crate::subscribers) struct Window {
    pub(in crate::subscribers) hits: i64,
    /// The start of the oldest bucket in it.
    pub(in crate::subscribers) oldest: Option<Timestamp>,
}

const SINCE: &str = "
    SELECT CAST(COALESCE(SUM(hits), 0) AS BIGINT) AS hits, MIN(window_start) AS oldest
    FROM rate_limits WHERE key = $1 AND window_start > $2";

pub(in crate::subscribers) async fn hits_since(
    tx: &mut Tx<'_>,
    key: &[u8; 32],
    since: Timestamp,
) -> sqlx::Result<Window> {
    write_db!(tx, |conn| sqlx::query_as(SINCE)
        .bind(&key[..])
        .bind(since)
        .fetch_one(conn)
        .await)
}

const ADD: &str = "
    INSERT INTO rate_limits (key, window_start, hits) VALUES ($1, $2, 1)
    ON CONFLICT (key, window_start) DO UPDATE SET hits = rate_limits.hits + 1";

pub(in crate::subscribers) async fn add_hit(
    tx: &mut Tx<'_>,
    key: &[u8; 32],
    bucket: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(ADD)
        .bind(&key[..])
        .bind(bucket)
        .execute(conn)
        .await
        .map(drop))
}

const REMOVE_OLD: &str = "DELETE FROM rate_limits WHERE window_start < $1";

/// Removes counters of windows that began before `before`.
pub(in crate::subscribers) async fn remove_old_hits(
    tx: &mut Tx<'_>,
    before: Timestamp,
) -> sqlx::Result<u64> {
    write_db!(tx, |conn| sqlx::query(REMOVE_OLD)
        .bind(before)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}
