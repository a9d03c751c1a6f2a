//! What people ask about deliveries.

use uuid::Uuid;

use crate::db::Db;
use crate::deliveries::State;
use crate::deliveries::list::{Filter, Summary};
use crate::deliveries::operate::Counts;
use crate::id::{DeliveryId, IssueId};
use crate::read_db;

const COUNTS: &str =
    "SELECT state, CAST(COUNT(*) AS BIGINT), CAST(COUNT(*) FILTER (WHERE doubt > 0) AS BIGINT)
     FROM deliveries WHERE issue_id = $1 GROUP BY state";
const OF_ISSUE: &str =
    "SELECT id, issue_id, kind, state, recipient, attempt, tries, doubt, crashes, not_before,
         marked_at, settled_at, reply_code, enhanced_code, reply_text, relay_id, reason
     FROM deliveries
     WHERE issue_id = $1 AND id > $2 AND (state = $3 OR $3 = '') AND (doubt > 0 OR NOT $4)
     ORDER BY id LIMIT $5";
const COUNT_OF_ISSUE: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM deliveries
     WHERE issue_id = $1 AND id > $2 AND (state = $3 OR $3 = '') AND (doubt > 0 OR NOT $4)";
const SENDING_PAUSED: &str = "SELECT EXISTS (SELECT 1 FROM settings WHERE key = 'sending_paused')";

pub(in crate::deliveries) async fn counts(db: &Db, issue: IssueId) -> sqlx::Result<Counts> {
    let rows: Vec<(State, i64, i64)> = read_db!(db, |conn| sqlx::query_as(COUNTS)
        .bind(issue)
        .fetch_all(conn)
        .await)?;
    let mut counts = Counts::default();
    for (state, count, doubted) in rows {
        *counts.of(state) = count;
        counts.doubted += doubted;
    }
    Ok(counts)
}

pub(in crate::deliveries) async fn of_issue(
    db: &Db,
    issue: IssueId,
    filter: Filter,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    read_db!(db, |conn| sqlx::query_as(OF_ISSUE)
        .bind(issue)
        .bind(filter.after.unwrap_or(DeliveryId(Uuid::nil())))
        .bind(filter.state.map_or("", State::as_str))
        .bind(filter.doubted)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// How many deliveries of the issue match.
pub(in crate::deliveries) async fn count_of_issue(
    db: &Db,
    issue: IssueId,
    filter: Filter,
) -> sqlx::Result<i64> {
    read_db!(db, |conn| sqlx::query_scalar(COUNT_OF_ISSUE)
        .bind(issue)
        .bind(filter.after.unwrap_or(DeliveryId(Uuid::nil())))
        .bind(filter.state.map_or("", State::as_str))
        .bind(filter.doubted)
        .fetch_one(conn)
        .await)
}

pub(in crate::deliveries) async fn sending_is_paused(db: &Db) -> sqlx::Result<bool> {
    read_db!(db, |conn| sqlx::query_scalar(SENDING_PAUSED)
        .fetch_one(conn)
        .await)
}
