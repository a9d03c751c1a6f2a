//! Subscriptions that ended, beside the suppression journal.

use sqlx::{QueryBuilder, Sqlite};

use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::SubscriptionId;
use crate::read_db;

const ACTIVE_AMONG: &str =
    "SELECT id, started_at FROM subscriptions WHERE state = 'active' AND id IN (";

/// Those of `ids` that are active, and since when. The journal stands beside SQLite alone.
pub(in crate::subscribers) async fn active_among(
    db: &Db,
    ids: &[SubscriptionId],
) -> sqlx::Result<Vec<(SubscriptionId, Timestamp)>> {
    let Db::Sqlite { reader, .. } = db else {
        return Ok(Vec::new());
    };
    let mut query = QueryBuilder::<Sqlite>::new(ACTIVE_AMONG);
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
    query.build_query_as().fetch_all(reader).await
}

/// A subscription that its reader ended.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::subscribers) struct EndedSubscription {
    pub(in crate::subscribers) id: SubscriptionId,
    pub(in crate::subscribers) ended_at: Timestamp,
    pub(in crate::subscribers) email_key: String,
}

const ENDED_AFTER: &str = "
    SELECT subscriptions.id, subscriptions.ended_at, subscribers.email_key
    FROM subscriptions JOIN subscribers ON subscribers.id = subscriptions.subscriber_id
    WHERE subscriptions.state = 'unsubscribed' AND subscriptions.ended_at IS NOT NULL AND subscriptions.id > $1
    ORDER BY subscriptions.id LIMIT $2";

/// A page of them, behind `after`.
pub(in crate::subscribers) async fn ended_after(
    db: &Db,
    after: SubscriptionId,
    limit: usize,
) -> sqlx::Result<Vec<EndedSubscription>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    read_db!(db, |conn| sqlx::query_as(ENDED_AFTER)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DatabaseTarget;

    #[tokio::test]
    async fn what_a_start_asks_for_is_found_among_those_that_ended_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(folder.path().join("paperround.db"));
        let db = Db::open(&target, 1).await.unwrap();
        db.migrate().await.unwrap();
        let Db::Sqlite { reader, .. } = &db else {
            unreachable!("it was opened as a file")
        };
        let mut plan = QueryBuilder::<Sqlite>::new("EXPLAIN QUERY PLAN ");
        plan.push(ENDED_AFTER);
        let steps: Vec<(i64, i64, i64, String)> =
            plan.build_query_as().fetch_all(reader).await.unwrap();
        let first = &steps.first().expect("a plan has a step").3;
        assert!(
            first.contains("USING INDEX subscriptions_ended (id>?)"),
            "{first}"
        );
    }
}
