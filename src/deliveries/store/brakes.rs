//! The counts that brakes look at, and pauses that are over.

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries::brakes::Pause;
use crate::deliveries::brakes::tally::Tally;
use crate::id::{IssueId, WorkerId};
use crate::{read_db, write_db};

const TALLY_SQLITE: &str = "SELECT tally FROM brake_tallies WHERE issue_id = $1 AND worker_id = $2";
const TALLY_POSTGRES: &str =
    "SELECT tally FROM brake_tallies WHERE issue_id = $1 AND worker_id = $2 FOR UPDATE";
const SAVE: &str = "INSERT INTO brake_tallies (issue_id, worker_id, tally) VALUES ($1, $2, $3)
     ON CONFLICT (issue_id, worker_id) DO UPDATE SET tally = excluded.tally";
const TALLIES: &str = "SELECT tally FROM brake_tallies WHERE issue_id = $1";
const CLEAR: &str = "DELETE FROM brake_tallies WHERE issue_id = $1";

const MOVING_ISSUES: &str =
    "SELECT i.id FROM issues AS i WHERE i.state = 'sending' AND i.paused_at IS NULL
     AND EXISTS (SELECT 1 FROM brake_tallies AS t WHERE t.issue_id = i.id)";

const PAUSE_ISSUE: &str = "UPDATE issues SET paused_at = $2, pause_reason = $3
     WHERE id = $1 AND paused_at IS NULL AND state IN ('scheduled', 'preparing', 'sending')";

const REMEMBER_PAUSE: &str =
    "INSERT INTO issue_pauses (issue_id, paused_at, pause_reason, resumed_at, resume_reason)
     SELECT id, paused_at, pause_reason, $2, $3 FROM issues
     WHERE id = $1 AND paused_at IS NOT NULL AND state IN ('draft', 'scheduled', 'preparing', 'sending')
     ON CONFLICT (issue_id, paused_at) DO NOTHING";
const PAUSES: &str = "SELECT paused_at, pause_reason, resumed_at, resume_reason FROM issue_pauses
     WHERE issue_id = $1 ORDER BY paused_at";

/// What this worker has counted; locked until the transaction ends.
pub(in crate::deliveries) async fn tally(
    tx: &mut Tx<'_>,
    issue: IssueId,
    worker: WorkerId,
) -> sqlx::Result<Tally> {
    let sql = tx.pick(TALLY_SQLITE, TALLY_POSTGRES);
    let found: Option<Json<Tally>> = write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(issue)
        .bind(worker)
        .fetch_optional(conn)
        .await)?;
    Ok(found.map(|Json(tally)| tally).unwrap_or_default())
}

pub(in crate::deliveries) async fn save(
    tx: &mut Tx<'_>,
    issue: IssueId,
    worker: WorkerId,
    tally: &Tally,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(SAVE)
        .bind(issue)
        .bind(worker)
        .bind(Json(tally))
        .execute(conn)
        .await
        .map(drop))
}

/// What each worker has counted.
pub(in crate::deliveries) async fn tallies(db: &Db, issue: IssueId) -> sqlx::Result<Vec<Tally>> {
    let found: Vec<Json<Tally>> = read_db!(db, |conn| sqlx::query_scalar(TALLIES)
        .bind(issue)
        .fetch_all(conn)
        .await)?;
    Ok(found.into_iter().map(|Json(tally)| tally).collect())
}

/// Forgets all counts of an issue.
pub(in crate::deliveries) async fn clear(tx: &mut Tx<'_>, issue: IssueId) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(CLEAR)
        .bind(issue)
        .execute(conn)
        .await
        .map(drop))
}

/// Issues that are sending, with something counted.
pub(in crate::deliveries) async fn moving_issues(db: &Db) -> sqlx::Result<Vec<IssueId>> {
    read_db!(db, |conn| sqlx::query_scalar(MOVING_ISSUES)
        .fetch_all(conn)
        .await)
}

/// Pauses an issue; `false` when it is paused already, or over.
pub(in crate::deliveries) async fn pause_issue(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(PAUSE_ISSUE)
        .bind(issue)
        .bind(now)
        .bind(reason)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Writes down the pause of an issue that is about to end, and why it ends.
pub(in crate::deliveries) async fn remember_pause(
    tx: &mut Tx<'_>,
    issue: IssueId,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(REMEMBER_PAUSE)
        .bind(issue)
        .bind(now)
        .bind(reason)
        .execute(conn)
        .await
        .map(drop))
}

pub(in crate::deliveries) async fn pauses(db: &Db, issue: IssueId) -> sqlx::Result<Vec<Pause>> {
    read_db!(db, |conn| sqlx::query_as(PAUSES)
        .bind(issue)
        .fetch_all(conn)
        .await)
}
