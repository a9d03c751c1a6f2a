//! Sign-ups.

use sqlx::types::Json;

use super::super::confirm::Signup;
use super::super::email_address::EmailAddress;
use super::super::evidence::Evidence;
use super::super::selection::Selection;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{NewsletterId, SignupId};
use crate::{read_db, write_db};

/// A sign-up to store.
pub(in crate::subscribers) struct NewSignup<'a> {
    pub(in crate::subscribers) id: SignupId,
    pub(in crate::subscribers) newsletter_id: NewsletterId,
    pub(in crate::subscribers) email: &'a EmailAddress,
    pub(in crate::subscribers) locale: &'a str,
    pub(in crate::subscribers) selection: &'a Selection,
    pub(in crate::subscribers) token_salt: [u8; 16],
    pub(in crate::subscribers) token_hash: [u8; 32],
    pub(in crate::subscribers) requested_at: Timestamp,
    pub(in crate::subscribers) expires_at: Timestamp,
    pub(in crate::subscribers) evidence: &'a Evidence,
}

const INSERT: &str = "
    INSERT INTO signups (id, newsletter_id, email, email_key, locale, selection, token_salt, token_hash,
        requested_at, expires_at, evidence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

pub(in crate::subscribers) async fn insert_signup(
    tx: &mut Tx<'_>,
    new: &NewSignup<'_>,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(new.id)
        .bind(new.newsletter_id)
        .bind(new.email.as_str())
        .bind(new.email.key().as_str())
        .bind(new.locale)
        .bind(Json(new.selection))
        .bind(&new.token_salt[..])
        .bind(&new.token_hash[..])
        .bind(new.requested_at)
        .bind(new.expires_at)
        .bind(Json(new.evidence))
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
