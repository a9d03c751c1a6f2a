//! All SQL about the instance: two settings, and what a restored database would do.

use sqlx::types::Json;

use super::Mark;
use super::resume::Pause;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::{read_db, write_db};

const MARK: &str = "SELECT value FROM settings WHERE key = 'instance'";
const SAVE: &str = "INSERT INTO settings (key, value) VALUES ('instance', $1)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

const PAUSE: &str = "SELECT value FROM settings WHERE key = 'sending_paused'";
const SAVE_PAUSE: &str = "INSERT INTO settings (key, value) VALUES ('sending_paused', $1)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

const IS_USED: &str = "SELECT EXISTS (SELECT 1 FROM subscriptions)
         OR EXISTS (SELECT 1 FROM issues WHERE released_at IS NOT NULL)";
const MAY_REPEAT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM deliveries
     JOIN issues ON issues.id = deliveries.issue_id
     WHERE deliveries.is_open AND issues.state = 'sending'";
const SLOTS_SINCE: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM slots
     WHERE at >= $1 AND outcome IN ('missed', 'issue')";

/// What the database knows about its instance; `None` before the first start of a worker.
pub async fn mark(db: &Db) -> sqlx::Result<Option<Mark>> {
    let found: Option<Json<Mark>> = read_db!(db, |conn| sqlx::query_scalar(MARK)
        .fetch_optional(conn)
        .await)?;
    Ok(found.map(|Json(mark)| mark))
}

pub(super) async fn mark_in(tx: &mut Tx<'_>) -> sqlx::Result<Option<Mark>> {
    let found: Option<Json<Mark>> = write_db!(tx, |conn| sqlx::query_scalar(MARK)
        .fetch_optional(conn)
        .await)?;
    Ok(found.map(|Json(mark)| mark))
}

pub(super) async fn save(tx: &mut Tx<'_>, mark: &Mark) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(SAVE)
        .bind(Json(mark))
        .execute(conn)
        .await
        .map(drop))
}

pub(super) async fn pause(db: &Db) -> sqlx::Result<Option<Pause>> {
    let found: Option<Json<Pause>> = read_db!(db, |conn| sqlx::query_scalar(PAUSE)
        .fetch_optional(conn)
        .await)?;
    Ok(found.map(|Json(pause)| pause))
}

pub(super) async fn pause_in(tx: &mut Tx<'_>) -> sqlx::Result<Option<Pause>> {
    let found: Option<Json<Pause>> = write_db!(tx, |conn| sqlx::query_scalar(PAUSE)
        .fetch_optional(conn)
        .await)?;
    Ok(found.map(|Json(pause)| pause))
}

pub(super) async fn save_pause(tx: &mut Tx<'_>, pause: &Pause) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(SAVE_PAUSE)
        .bind(Json(pause))
        .execute(conn)
        .await
        .map(drop))
}

/// Whether anybody has ever been mailed, or could be.
pub(super) async fn is_used(tx: &mut Tx<'_>) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query_scalar(IS_USED).fetch_one(conn).await)
}

/// Deliveries of released issues that have not come to their end.
pub(super) async fn may_repeat(db: &Db) -> sqlx::Result<i64> {
    read_db!(db, |conn| sqlx::query_scalar(MAY_REPEAT)
        .fetch_one(conn)
        .await)
}

/// Slots that were missed, or made an issue, from `at` on.
pub(super) async fn slots_since(db: &Db, at: Timestamp) -> sqlx::Result<i64> {
    read_db!(db, |conn| sqlx::query_scalar(SLOTS_SINCE)
        .bind(at)
        .fetch_one(conn)
        .await)
}
