//! Sign-ups.

use sqlx::types::Json;

use super::super::confirm::Signup;
use super::super::evidence::Evidence;
use super::super::selection::Selection;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{NewsletterId, SignupId};
use crate::{read_db, write_db};

/// A sign-up to store, as the statement reads it: times in microseconds since 1970.
#[derive(serde::Serialize)]
pub(in crate::subscribers) struct NewSignup<'a> {
    pub(in crate::subscribers) id: SignupId,
    pub(in crate::subscribers) newsletter_id: NewsletterId,
    pub(in crate::subscribers) email: &'a str,
    pub(in crate::subscribers) email_key: &'a str,
    pub(in crate::subscribers) locale: &'a str,
    pub(in crate::subscribers) selection: &'a Selection,
    /// As hexadecimal digits.
    pub(in crate::subscribers) token_salt: String,
    /// As hexadecimal digits.
    pub(in crate::subscribers) token_hash: String,
    pub(in crate::subscribers) requested_at: i64,
    pub(in crate::subscribers) expires_at: i64,
    pub(in crate::subscribers) evidence: &'a Evidence,
}

const INSERT_SQLITE: &str = "
    INSERT INTO signups (id, newsletter_id, email, email_key, locale, selection, token_salt, token_hash,
        requested_at, expires_at, evidence)
    SELECT unhex(value ->> 'id', '-'), unhex(value ->> 'newsletter_id', '-'), value ->> 'email',
        value ->> 'email_key', value ->> 'locale', value ->> 'selection', unhex(value ->> 'token_salt'),
        unhex(value ->> 'token_hash'), value ->> 'requested_at', value ->> 'expires_at', value ->> 'evidence'
    FROM jsonb_each($1)";
const INSERT_POSTGRES: &str = "
    INSERT INTO signups (id, newsletter_id, email, email_key, locale, selection, token_salt, token_hash,
        requested_at, expires_at, evidence)
    SELECT r.id, r.newsletter_id, r.email, r.email_key, r.locale, r.selection, decode(r.token_salt, 'hex'),
        decode(r.token_hash, 'hex'), TIMESTAMPTZ 'epoch' + r.requested_at * INTERVAL '1 microsecond',
        TIMESTAMPTZ 'epoch' + r.expires_at * INTERVAL '1 microsecond', r.evidence
    FROM jsonb_to_recordset($1) AS r (id UUID, newsletter_id UUID, email TEXT, email_key TEXT, locale TEXT,
        selection JSONB, token_salt TEXT, token_hash TEXT, requested_at BIGINT, expires_at BIGINT, evidence JSONB)";

pub(in crate::subscribers) async fn insert_signups(
    tx: &mut Tx<'_>,
    new: &[NewSignup<'_>],
) -> sqlx::Result<()> {
    let sql = tx.pick(INSERT_SQLITE, INSERT_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(new))
        .execute(conn)
        .await
        .map(drop))
}

const BY_TOKEN: &str = "
    SELECT id, newsletter_id, email, locale, selection, token_salt, token_hash, requested_at, expires_at,
        confirmed_at, evidence
    FROM signups WHERE token_hash = $1";

/// The sign-up that this token's hash finds, expired or not.
pub(in crate::subscribers) async fn signup_by_token(
    db: &Db,
    hash: &[u8; 32],
) -> sqlx::Result<Option<Signup>> {
    read_db!(db, |conn| sqlx::query_as(BY_TOKEN)
        .bind(&hash[..])
        .fetch_optional(conn)
        .await)
}

/// The same inside the transaction that decides on it.
pub(in crate::subscribers) async fn signup_to_confirm(
    tx: &mut Tx<'_>,
    hash: &[u8; 32],
) -> sqlx::Result<Option<Signup>> {
    write_db!(tx, |conn| sqlx::query_as(BY_TOKEN)
        .bind(&hash[..])
        .fetch_optional(conn)
        .await)
}

const BY_ID: &str = "
    SELECT id, newsletter_id, email, locale, selection, token_salt, token_hash, requested_at, expires_at,
        confirmed_at, evidence
    FROM signups WHERE id = $1";

pub(in crate::subscribers) async fn signup(db: &Db, id: SignupId) -> sqlx::Result<Option<Signup>> {
    read_db!(db, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// The same inside the transaction that decides on it.
pub(in crate::subscribers) async fn signup_by_id(
    tx: &mut Tx<'_>,
    id: SignupId,
) -> sqlx::Result<Option<Signup>> {
    write_db!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

const CONFIRM: &str = "UPDATE signups SET confirmed_at = $2 WHERE id = $1 AND confirmed_at IS NULL AND expires_at > $2";

/// `false` when another request was first, or the time is over.
pub(in crate::subscribers) async fn mark_confirmed(
    tx: &mut Tx<'_>,
    id: SignupId,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(CONFIRM)
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

// a notice that is on its way still needs its sign-up
const REMOVE_EXPIRED: &str = "DELETE FROM signups WHERE confirmed_at IS NULL AND expires_at < $1
     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.signup_id = signups.id
         AND deliveries.is_open)";

/// Removes sign-ups that were not confirmed in time.
pub(in crate::subscribers) async fn remove_expired_signups(
    tx: &mut Tx<'_>,
    now: Timestamp,
) -> sqlx::Result<u64> {
    write_db!(tx, |conn| sqlx::query(REMOVE_EXPIRED)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}
