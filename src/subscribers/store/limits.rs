//! Counters.

use data_encoding::HEXLOWER;
use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::write_db;

/// The window of one limit.
#[derive(Debug)]
pub(in crate::subscribers) struct Window {
    /// A keyed hash of what is limited.
    pub(in crate::subscribers) key: [u8; 32],
    /// What was counted later than this counts.
    pub(in crate::subscribers) since: Timestamp,
    /// The start of the bucket in which a hit is counted now.
    pub(in crate::subscribers) bucket: Timestamp,
    /// Hits that it allows.
    pub(in crate::subscribers) most: u32,
}

/// A window as the statement reads it: times in microseconds since 1970.
#[derive(serde::Serialize)]
struct WindowRow {
    key: String,
    since: i64,
    bucket: i64,
    most: u32,
}

impl WindowRow {
    fn of(window: &Window) -> Self {
        Self {
            key: HEXLOWER.encode(&window.key),
            since: window.since.as_micros(),
            bucket: window.bucket.as_micros(),
            most: window.most,
        }
    }
}

/// What was counted in a window.
#[derive(sqlx::FromRow)]
pub(in crate::subscribers) struct Hits {
    pub(in crate::subscribers) count: i64,
    /// The start of the oldest bucket in it.
    pub(in crate::subscribers) oldest: Option<Timestamp>,
}

// Ordered, so that two of them wait for each other in the same order.
const ADD_SQLITE: &str = "
    INSERT INTO rate_limits (key, window_start, hits)
    SELECT DISTINCT unhex(value ->> 'key') AS key, value ->> 'bucket' AS bucket, 1 FROM json_each($1)
    WHERE NOT EXISTS (SELECT 1 FROM json_each($1) AS l
        WHERE l.value ->> 'most' <= (SELECT COALESCE(SUM(hits), 0) FROM rate_limits
            WHERE key = unhex(l.value ->> 'key') AND window_start > l.value ->> 'since'))
    ORDER BY 1, 2
    ON CONFLICT (key, window_start) DO UPDATE SET hits = rate_limits.hits + 1";
const ADD_POSTGRES: &str = "
    INSERT INTO rate_limits (key, window_start, hits)
    SELECT DISTINCT decode(r.key, 'hex'), TIMESTAMPTZ 'epoch' + r.bucket * INTERVAL '1 microsecond', 1
    FROM jsonb_to_recordset($1) AS r (key TEXT, bucket BIGINT)
    WHERE NOT EXISTS (SELECT 1 FROM jsonb_to_recordset($1) AS l (key TEXT, since BIGINT, most BIGINT)
        WHERE l.most <= (SELECT COALESCE(SUM(hits), 0) FROM rate_limits
            WHERE key = decode(l.key, 'hex')
              AND window_start > TIMESTAMPTZ 'epoch' + l.since * INTERVAL '1 microsecond'))
    ORDER BY 1, 2
    ON CONFLICT (key, window_start) DO UPDATE SET hits = rate_limits.hits + 1";

/// Counts a hit in each window, unless one of them allows no more. Whether it was counted.
pub(in crate::subscribers) async fn add_hits(
    tx: &mut Tx<'_>,
    windows: &[&Window],
) -> sqlx::Result<bool> {
    let rows: Vec<_> = windows.iter().map(|window| WindowRow::of(window)).collect();
    let sql = tx.pick(ADD_SQLITE, ADD_POSTGRES);
    let added = write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(added > 0)
}

const SINCE: &str = "
    SELECT CAST(COALESCE(SUM(hits), 0) AS BIGINT) AS count, MIN(window_start) AS oldest
    FROM rate_limits WHERE key = $1 AND window_start > $2";

pub(in crate::subscribers) async fn hits(tx: &mut Tx<'_>, window: &Window) -> sqlx::Result<Hits> {
    write_db!(tx, |conn| sqlx::query_as(SINCE)
        .bind(&window.key[..])
        .bind(window.since)
        .fetch_one(conn)
        .await)
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
