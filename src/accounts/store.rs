//! All SQL about API tokens and idempotency keys.

use super::idempotency::Claim;
use super::tokens::StoredToken;
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::ApiTokenId;
use crate::{read_db, write_db};

const INSERT: &str = "INSERT INTO api_tokens (id, label, prefix, hash, scopes, newsletter_id, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const BY_HASH: &str =
    "SELECT id, label, prefix, scopes, newsletter_id, created_at, expires_at, last_used_at,
         revoked_at
     FROM api_tokens WHERE hash = $1";
const ALL: &str = "SELECT id, label, prefix, scopes, newsletter_id, created_at, expires_at, last_used_at, revoked_at
     FROM api_tokens ORDER BY id DESC";
const TOUCH: &str = "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1";
const REVOKE: &str =
    "UPDATE api_tokens SET revoked_at = $2 WHERE prefix = $1 AND revoked_at IS NULL";

const INSERT_KEY: &str = "INSERT INTO idempotency_keys (scope, key, request_hash, created_at)
     VALUES ($1, $2, $3, $4)
     ON CONFLICT (scope, key) DO NOTHING";
const KEY: &str =
    "SELECT request_hash, status, response FROM idempotency_keys WHERE scope = $1 AND key = $2";
const FINISH_KEY: &str =
    "UPDATE idempotency_keys SET status = $3, response = $4 WHERE scope = $1 AND key = $2";
const FORGET_KEY: &str =
    "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND status IS NULL";
const REMOVE_KEYS: &str = "DELETE FROM idempotency_keys
     WHERE created_at < $1 OR (status IS NULL AND created_at < $2)";

pub(super) async fn insert(
    tx: &mut Tx<'_>,
    token: &StoredToken,
    hash: &[u8; 32],
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(token.id)
        .bind(&token.label)
        .bind(&token.prefix)
        .bind(&hash[..])
        .bind(&token.scopes)
        .bind(token.newsletter_id)
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(conn)
        .await
        .map(drop))
}

pub(super) async fn by_hash(db: &Db, hash: &[u8; 32]) -> sqlx::Result<Option<StoredToken>> {
    read_db!(db, |conn| sqlx::query_as(BY_HASH)
        .bind(&hash[..])
        .fetch_optional(conn)
        .await)
}

pub(super) async fn all(db: &Db) -> sqlx::Result<Vec<StoredToken>> {
    read_db!(db, |conn| sqlx::query_as(ALL).fetch_all(conn).await)
}

pub(super) async fn touch(tx: &mut Tx<'_>, id: ApiTokenId, now: Timestamp) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(TOUCH)
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
}

pub(super) async fn revoke(tx: &mut Tx<'_>, prefix: &str, now: Timestamp) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(REVOKE)
        .bind(prefix)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() > 0))
}

/// What stands under a key.
#[derive(sqlx::FromRow)]
pub(super) struct KnownKey {
    pub(super) request_hash: Vec<u8>,
    pub(super) status: Option<i64>,
    pub(super) response: Option<String>,
}

/// `false` when the key is in use.
pub(super) async fn insert_key(
    tx: &mut Tx<'_>,
    claim: &Claim,
    now: Timestamp,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query(INSERT_KEY)
        .bind(&claim.scope)
        .bind(&claim.key)
        .bind(&claim.request_hash[..])
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn key(tx: &mut Tx<'_>, claim: &Claim) -> sqlx::Result<Option<KnownKey>> {
    write_db!(tx, |conn| sqlx::query_as(KEY)
        .bind(&claim.scope)
        .bind(&claim.key)
        .fetch_optional(conn)
        .await)
}

pub(super) async fn finish_key(
    tx: &mut Tx<'_>,
    claim: &Claim,
    status: u16,
    body: &str,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(FINISH_KEY)
        .bind(&claim.scope)
        .bind(&claim.key)
        .bind(i64::from(status))
        .bind(body)
        .execute(conn)
        .await
        .map(drop))
}

pub(super) async fn forget_key(tx: &mut Tx<'_>, claim: &Claim) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(FORGET_KEY)
        .bind(&claim.scope)
        .bind(&claim.key)
        .execute(conn)
        .await
        .map(drop))
}

pub(super) async fn remove_keys(
    tx: &mut Tx<'_>,
    done_before: Timestamp,
    begun_before: Timestamp,
) -> sqlx::Result<u64> {
    write_db!(tx, |conn| sqlx::query(REMOVE_KEYS)
        .bind(done_before)
        .bind(begun_before)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
}
