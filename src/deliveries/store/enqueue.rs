//! New rows.

use sqlx::QueryBuilder;
use sqlx::types::Json;

use crate::db::Tx;
use crate::deliveries::enqueue::{DigestBatch, NewDigest, NewNotice};
use crate::id::SubscriptionId;
use crate::write_db;

const NOTICE: &str = "INSERT INTO deliveries (id, kind, newsletter_id, signup_id, subscription_id, recipient, domain_key,
         payload, state, is_open, attempt, tries, doubt, crashes, not_before, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', TRUE, 0, 0, 0, 0, $9, $9, $10)";

const DIGESTS: &str = "INSERT INTO deliveries (id, issue_id, newsletter_id, subscription_id, variant_id, kind, recipient,
         domain_key, given_from, state, is_open, attempt, tries, doubt, crashes, not_before, created_at, expires_at) ";
const UNLESS_THERE: &str =
    " ON CONFLICT (issue_id, subscription_id) DO NOTHING RETURNING subscription_id";

/// Rows of one statement: 11 binds each, of the 32,766 that SQLite takes.
pub(in crate::deliveries) const MOST_ROWS: usize = 1000;

pub(in crate::deliveries) async fn notice(
    tx: &mut Tx<'_>,
    notice: &NewNotice,
    payload: Option<Json<&serde_json::Value>>,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(NOTICE)
        .bind(notice.id)
        .bind(notice.kind)
        .bind(notice.newsletter_id)
        .bind(notice.signup_id)
        .bind(notice.subscription_id)
        .bind(&notice.recipient)
        .bind(&notice.domain)
        .bind(payload)
        .bind(notice.now)
        .bind(notice.expires_at)
        .execute(conn)
        .await
        .map(drop))
}

/// Inserts at most [`MOST_ROWS`] digests; gives the subscriptions of those that were not there yet.
pub(in crate::deliveries) async fn digests(
    tx: &mut Tx<'_>,
    batch: DigestBatch,
    digests: &[NewDigest],
) -> sqlx::Result<Vec<SubscriptionId>> {
    write_db!(tx, |conn| {
        let mut insert = QueryBuilder::new(DIGESTS);
        insert.push_values(digests, |mut row, digest| {
            row.push_bind(digest.id)
                .push_bind(batch.issue_id)
                .push_bind(batch.newsletter_id)
                .push_bind(digest.subscription_id)
                .push_bind(digest.variant_id)
                .push("'digest'")
                .push_bind(&digest.recipient)
                .push_bind(&digest.domain)
                .push_bind(Json(&digest.given_from))
                .push("'pending', TRUE, 0, 0, 0, 0")
                .push_bind(batch.now)
                .push_bind(batch.now)
                .push_bind(batch.expires_at);
        });
        insert.push(UNLESS_THERE);
        insert.build_query_scalar().fetch_all(conn).await
    })
}
