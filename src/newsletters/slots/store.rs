//! All SQL about slots.

use sqlx::types::Json;

use super::{DueSlot, Outcome, SettledSlot, Waiting, last_cutoff, slot_of};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{IssueId, NewsletterId};
use crate::newsletters::{Cadences, Schedule};
use crate::{read_db, write_db};

// The limit bounds the work: a cadence whose last issue lies further back has articles waiting anyway.
const CUTOFFS: &str = "SELECT cadences, cutoff_seq FROM issues
     WHERE newsletter_id = $1 AND cutoff_seq IS NOT NULL AND state NOT IN ('cancelled', 'failed')
     ORDER BY number DESC LIMIT 200";
const READY_ABOVE: &str =
    "SELECT COUNT(*) FROM articles WHERE newsletter_id = $1 AND seq > $2 AND state = 'ready'";
const NEWEST_SEQ: &str =
    "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM articles WHERE newsletter_id = $1";
const LAST_AT: &str =
    "SELECT due_at FROM slots WHERE schedule_id = $1 ORDER BY due_at DESC LIMIT 1";
const IS_SETTLED: &str = "SELECT EXISTS (SELECT 1 FROM slots WHERE schedule_id = $1 AND slot = $2)";
const SETTLE: &str = "INSERT INTO slots (schedule_id, slot, due_at, issue_id, outcome, at)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (schedule_id, slot) DO NOTHING";
const HANDLED: &str = "UPDATE schedules SET handled_to = $2 WHERE id = $1 AND handled_to < $2";
const RECENT: &str = "SELECT s.schedule_id, c.cadence, s.slot, s.due_at, s.issue_id, s.outcome
     FROM slots s JOIN schedules c ON c.id = s.schedule_id
     WHERE c.newsletter_id = $1 ORDER BY s.due_at DESC, s.slot DESC LIMIT $2";

/// The cadences and cutoffs of the newest frozen issues.
pub(super) async fn recent_cutoffs(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
) -> sqlx::Result<Vec<(Cadences, i64)>> {
    let rows: Vec<(Json<Cadences>, i64)> = write_db!(tx, |conn| sqlx::query_as(CUTOFFS)
        .bind(newsletter)
        .fetch_all(conn)
        .await)?;
    Ok(rows
        .into_iter()
        .map(|(Json(cadences), cutoff)| (cadences, cutoff))
        .collect())
}

/// How many released articles have a number above `seq`.
pub(super) async fn ready_above(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    seq: i64,
) -> sqlx::Result<i64> {
    write_db!(tx, |conn| sqlx::query_scalar(READY_ABOVE)
        .bind(newsletter)
        .bind(seq)
        .fetch_one(conn)
        .await)
}

/// What an immediate schedule looks at.
pub(super) async fn waiting(db: &Db, schedule: &Schedule) -> sqlx::Result<Waiting> {
    let newsletter = schedule.newsletter_id;
    let rows: Vec<(Json<Cadences>, i64)> = read_db!(db, |conn| sqlx::query_as(CUTOFFS)
        .bind(newsletter)
        .fetch_all(conn)
        .await)?;
    let cutoffs: Vec<_> = rows
        .into_iter()
        .map(|(Json(cadences), cutoff)| (cadences, cutoff))
        .collect();
    let cutoff = last_cutoff(&cutoffs, schedule.cadence);
    let articles = read_db!(db, |conn| sqlx::query_scalar(READY_ABOVE)
        .bind(newsletter)
        .bind(cutoff)
        .fetch_one(conn)
        .await)?;
    let newest_seq = read_db!(db, |conn| sqlx::query_scalar(NEWEST_SEQ)
        .bind(newsletter)
        .fetch_one(conn)
        .await)?;
    let is_settled = read_db!(db, |conn| sqlx::query_scalar(IS_SETTLED)
        .bind(schedule.id)
        .bind(slot_of(newest_seq))
        .fetch_one(conn)
        .await)?;
    let last_at = read_db!(db, |conn| sqlx::query_scalar(LAST_AT)
        .bind(schedule.id)
        .fetch_optional(conn)
        .await)?;
    Ok(Waiting {
        newest_seq,
        articles,
        is_settled,
        last_at,
    })
}

/// Records a slot and moves its schedule on; `false` when the slot was settled before.
pub(super) async fn settle(
    tx: &mut Tx<'_>,
    slot: &DueSlot,
    outcome: Outcome,
    issue: Option<IssueId>,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let inserted = write_db!(tx, |conn| sqlx::query(SETTLE)
        .bind(slot.schedule.id)
        .bind(&slot.name)
        .bind(slot.at)
        .bind(issue)
        .bind(outcome)
        .bind(now)
        .execute(conn)
        .await?
        .rows_affected());
    write_db!(tx, |conn| sqlx::query(HANDLED)
        .bind(slot.schedule.id)
        .bind(slot.at)
        .execute(conn)
        .await
        .map(drop))?;
    Ok(inserted == 1)
}

/// The newest settled slots of a newsletter, newest first.
pub(super) async fn recent(
    db: &Db,
    newsletter: NewsletterId,
    limit: u32,
) -> sqlx::Result<Vec<SettledSlot>> {
    let limit = i64::from(limit);
    read_db!(db, |conn| sqlx::query_as(RECENT)
        .bind(newsletter)
        .bind(limit)
        .fetch_all(conn)
        .await)
}
