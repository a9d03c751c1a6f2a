//! Counters.

use std::collections::{BTreeMap, HashMap};

use data_encoding::HEXLOWER;
use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::config::Limit;
use crate::db::Tx;
use crate::write_db;

/// A keyed hash of what is limited.
pub(in crate::subscribers) type LimitKey = [u8; 32];

/// The window of one limit.
#[derive(Debug)]
pub(in crate::subscribers) struct Window<'a> {
    /// What the limit is for.
    pub(in crate::subscribers) name: &'static str,
    pub(in crate::subscribers) limit: &'a Limit,
    pub(in crate::subscribers) key: LimitKey,
    /// What was counted later than this counts.
    pub(in crate::subscribers) since: Timestamp,
    /// The start of the bucket in which a hit is counted now.
    pub(in crate::subscribers) bucket: Timestamp,
}

/// What was counted in a window.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::subscribers) struct Hits {
    stored: i64,
    /// What is to be stored beside it.
    pub(in crate::subscribers) added: i64,
    /// The start of the oldest bucket in it.
    pub(in crate::subscribers) oldest: Option<Timestamp>,
}

impl Hits {
    pub(in crate::subscribers) fn count(self) -> i64 {
        self.stored + self.added
    }
}

// Times in microseconds since 1970.
#[derive(serde::Serialize)]
struct WindowRow {
    key: String,
    since: i64,
}

#[derive(serde::Serialize)]
struct AddedRow {
    key: String,
    bucket: i64,
    hits: i64,
}

// CROSS: the windows drive
const HITS_SQLITE: &str =
    "SELECT key, CAST(SUM(hits) AS BIGINT) AS count, MIN(window_start) AS oldest
     FROM (SELECT unhex(value ->> 'key') AS wanted, value ->> 'since' AS since FROM json_each($1)) AS r
     CROSS JOIN rate_limits ON key = r.wanted AND window_start > r.since GROUP BY key";
const HITS_POSTGRES: &str =
    "SELECT l.key, CAST(SUM(l.hits) AS BIGINT) AS count, MIN(l.window_start) AS oldest
     FROM jsonb_to_recordset($1) AS r (key TEXT, since BIGINT) JOIN rate_limits AS l ON l.key = decode(r.key, 'hex')
         AND l.window_start > TIMESTAMPTZ 'epoch' + r.since * INTERVAL '1 microsecond' GROUP BY l.key";
// Ordered, so that two of them wait for each other in the same order.
const ADD_SQLITE: &str = "INSERT INTO rate_limits (key, window_start, hits)
     SELECT unhex(value ->> 'key'), value ->> 'bucket', value ->> 'hits' FROM json_each($1) WHERE true ORDER BY 1, 2
     ON CONFLICT (key, window_start) DO UPDATE SET hits = rate_limits.hits + excluded.hits";
const ADD_POSTGRES: &str = "INSERT INTO rate_limits (key, window_start, hits)
     SELECT decode(r.key, 'hex'), TIMESTAMPTZ 'epoch' + r.bucket * INTERVAL '1 microsecond', r.hits
     FROM jsonb_to_recordset($1) AS r (key TEXT, bucket BIGINT, hits BIGINT) ORDER BY 1, 2
     ON CONFLICT (key, window_start) DO UPDATE SET hits = rate_limits.hits + excluded.hits";

/// What was counted in these windows.
pub(in crate::subscribers) async fn hits<'a>(
    tx: &mut Tx<'_>,
    windows: impl Iterator<Item = &'a Window<'a>>,
) -> sqlx::Result<HashMap<LimitKey, Hits>> {
    let since: BTreeMap<LimitKey, Timestamp> = windows.map(|w| (w.key, w.since)).collect();
    if since.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = since.iter().map(|(key, since)| WindowRow {
        key: HEXLOWER.encode(key),
        since: since.as_micros(),
    });
    let rows: Vec<_> = rows.collect();
    let sql = tx.pick(HITS_SQLITE, HITS_POSTGRES);
    let found: Vec<(Vec<u8>, i64, Timestamp)> = write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(Json(rows))
        .fetch_all(conn)
        .await)?;
    let mut hits = HashMap::new();
    for (key, stored, oldest) in found {
        let key = LimitKey::try_from(key.as_slice())
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let found = Hits {
            stored,
            added: 0,
            oldest: Some(oldest),
        };
        hits.insert(key, found);
    }
    Ok(hits)
}

/// Stores what was added to `hits` in these windows.
pub(in crate::subscribers) async fn add_hits<'a>(
    tx: &mut Tx<'_>,
    windows: impl Iterator<Item = &'a Window<'a>>,
    hits: &HashMap<LimitKey, Hits>,
) -> sqlx::Result<()> {
    let buckets: BTreeMap<LimitKey, Timestamp> = windows.map(|w| (w.key, w.bucket)).collect();
    let mut rows = Vec::with_capacity(buckets.len());
    for (key, bucket) in buckets {
        let added = hits.get(&key).map_or(0, |hits| hits.added);
        if added > 0 {
            rows.push(AddedRow {
                key: HEXLOWER.encode(&key),
                bucket: bucket.as_micros(),
                hits: added,
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.pick(ADD_SQLITE, ADD_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
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
