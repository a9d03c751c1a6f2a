//! What people ask about deliveries.

use crate::db::Db;
use crate::deliveries::State;
use crate::deliveries::operate::{Counts, Summary};
use crate::id::{IssueId, SubscriptionId};
use crate::read_db;

const COUNTS: &str =
    "SELECT state, CAST(COUNT(*) AS BIGINT) FROM deliveries WHERE issue_id = $1 GROUP BY state";
const HELD: &str = "SELECT id, issue_id, kind, state, recipient, attempt, tries, doubt, crashes, not_before, marked_at,
         settled_at, reply_code, enhanced_code, reply_text, relay_id, reason
     FROM deliveries WHERE issue_id = $1 AND state = 'held' ORDER BY id LIMIT $2";
const OF_SUBSCRIPTION: &str =
    "SELECT id, issue_id, kind, state, recipient, attempt, tries, doubt, crashes, not_before,
         marked_at, settled_at, reply_code, enhanced_code, reply_text, relay_id, reason
     FROM deliveries WHERE subscription_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2";
const SENDING_PAUSED: &str = "SELECT EXISTS (SELECT 1 FROM settings WHERE key = 'sending_paused')";

pub(in crate::deliveries) async fn counts(db: &Db, issue: IssueId) -> sqlx::Result<Counts> {
    let rows: Vec<(State, i64)> = read_db!(db, |conn| sqlx::query_as(COUNTS)
        .bind(issue)
        .fetch_all(conn)
        .await)?;
    let mut counts = Counts::default();
    for (state, count) in rows {
        *counts.of(state) = count;
    }
    Ok(counts)
}

pub(in crate::deliveries) async fn held(
    db: &Db,
    issue: IssueId,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    read_db!(db, |conn| sqlx::query_as(HELD)
        .bind(issue)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

pub(in crate::deliveries) async fn of_subscription(
    db: &Db,
    subscription: SubscriptionId,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    read_db!(db, |conn| sqlx::query_as(OF_SUBSCRIPTION)
        .bind(subscription)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

pub(in crate::deliveries) async fn sending_is_paused(db: &Db) -> sqlx::Result<bool> {
    read_db!(db, |conn| sqlx::query_scalar(SENDING_PAUSED)
        .fetch_one(conn)
        .await)
}
