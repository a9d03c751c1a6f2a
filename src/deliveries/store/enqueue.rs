//! New rows.

use sqlx::types::Json;

use crate::db::Tx;
use crate::deliveries::Kind;
use crate::deliveries::enqueue::NewNotice;
use crate::id::{DeliveryId, NewsletterId, SignupId, SubscriptionId};
use crate::write_db;

const NOTICES_SQLITE: &str = "INSERT INTO deliveries (id, kind, newsletter_id, signup_id, subscription_id, recipient,
         domain_key, payload, state, is_open, attempt, tries, doubt, crashes, not_before, created_at, expires_at)
     SELECT unhex(value ->> 'id', '-'), value ->> 'kind', unhex(value ->> 'newsletter_id', '-'),
         unhex(value ->> 'signup_id', '-'), unhex(value ->> 'subscription_id', '-'), value ->> 'recipient',
         value ->> 'domain', value ->> 'payload', 'pending', TRUE, 0, 0, 0, 0, value ->> 'now', value ->> 'now',
         value ->> 'expires_at'
     FROM jsonb_each($1)";
const NOTICES_POSTGRES: &str = "INSERT INTO deliveries (id, kind, newsletter_id, signup_id, subscription_id, recipient,
         domain_key, payload, state, is_open, attempt, tries, doubt, crashes, not_before, created_at, expires_at)
     SELECT r.id, r.kind, r.newsletter_id, r.signup_id, r.subscription_id, r.recipient, r.domain, r.payload, 'pending',
         TRUE, 0, 0, 0, 0, TIMESTAMPTZ 'epoch' + r.now * INTERVAL '1 microsecond',
         TIMESTAMPTZ 'epoch' + r.now * INTERVAL '1 microsecond',
         TIMESTAMPTZ 'epoch' + r.expires_at * INTERVAL '1 microsecond'
     FROM jsonb_to_recordset($1) AS r (id UUID, kind TEXT, newsletter_id UUID, signup_id UUID, subscription_id UUID,
         recipient TEXT, domain TEXT, payload JSONB, now BIGINT, expires_at BIGINT)";

/// A notice as the statement reads it: times in microseconds since 1970.
#[derive(serde::Serialize)]
struct NoticeRow<'a> {
    id: DeliveryId,
    kind: Kind,
    newsletter_id: NewsletterId,
    signup_id: Option<SignupId>,
    subscription_id: Option<SubscriptionId>,
    recipient: &'a str,
    domain: &'a str,
    payload: Option<&'a serde_json::Value>,
    now: i64,
    expires_at: i64,
}

impl<'a> NoticeRow<'a> {
    fn of(notice: &'a NewNotice) -> Self {
        Self {
            id: notice.id,
            kind: notice.kind,
            newsletter_id: notice.newsletter_id,
            signup_id: notice.signup_id,
            subscription_id: notice.subscription_id,
            recipient: &notice.recipient,
            domain: &notice.domain,
            payload: notice.payload.as_ref(),
            now: notice.now.as_micros(),
            expires_at: notice.expires_at.as_micros(),
        }
    }
}

pub(in crate::deliveries) async fn notices(
    tx: &mut Tx<'_>,
    notices: &[NewNotice],
) -> sqlx::Result<()> {
    let rows: Vec<_> = notices.iter().map(NoticeRow::of).collect();
    let sql = tx.pick(NOTICES_SQLITE, NOTICES_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
        .execute(conn)
        .await
        .map(drop))
}
