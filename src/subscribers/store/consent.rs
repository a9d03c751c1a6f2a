//! Consent events and the words they refer to.

use sqlx::types::Json;

use super::super::consent::ConsentEvent;
use super::super::evidence::Wording;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{SubscriberId, WordingId};
use crate::token::sha256;
use crate::write_db;

const LOCK_SQLITE: &str = "SELECT id FROM subscribers WHERE id = $1";
const LOCK_POSTGRES: &str = "SELECT id FROM subscribers WHERE id = $1 FOR NO KEY UPDATE";

/// Until the transaction ends nobody else adds to this person's chain.
pub(in crate::subscribers) async fn lock_subscriber(
    tx: &mut Tx<'_>,
    id: SubscriberId,
) -> sqlx::Result<()> {
    let sql = tx.pick(LOCK_SQLITE, LOCK_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(id)
        .fetch_one(conn)
        .await
        .map(drop))
}

const INSERT_WORDING: &str = "
    INSERT INTO wordings (id, text, locale, hash, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (hash) DO NOTHING";
const WORDING_BY_HASH: &str = "SELECT id FROM wordings WHERE hash = $1";

/// The id of these words; `id` becomes it where they are new.
pub(in crate::subscribers) async fn wording_id(
    tx: &mut Tx<'_>,
    id: WordingId,
    wording: &Wording,
    now: Timestamp,
) -> sqlx::Result<WordingId> {
    let hash = sha256(format!("{}\n{}", wording.locale, wording.text).as_bytes());
    write_db!(&mut *tx, |conn| sqlx::query(INSERT_WORDING)
        .bind(id)
        .bind(&wording.text)
        .bind(&wording.locale)
        .bind(&hash[..])
        .bind(now)
        .execute(conn)
        .await
        .map(drop))?;
    write_db!(tx, |conn| sqlx::query_scalar(WORDING_BY_HASH)
        .bind(&hash[..])
        .fetch_one(conn)
        .await)
}

const LAST_HASH: &str = "
    SELECT last.hash FROM consent_events AS last
    WHERE last.email_hash = $1
        -- by links and not by time: clocks step back
        AND NOT EXISTS (
            SELECT 1 FROM consent_events AS later
            WHERE later.email_hash = last.email_hash AND later.previous_hash = last.hash)
    ORDER BY last.at DESC, last.id DESC LIMIT 1";

pub(in crate::subscribers) async fn last_consent_hash(
    tx: &mut Tx<'_>,
    email_hash: &[u8; 32],
) -> sqlx::Result<Option<Vec<u8>>> {
    write_db!(tx, |conn| sqlx::query_scalar(LAST_HASH)
        .bind(&email_hash[..])
        .fetch_optional(conn)
        .await)
}

const INSERT: &str = "
    INSERT INTO consent_events (id, subscriber_id, email_hash, newsletter_id, kind, at, channel, wording_id,
        page_url, ip, user_agent, detail, salt, commitment, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

pub(in crate::subscribers) async fn insert_consent_event(
    tx: &mut Tx<'_>,
    subscriber: SubscriberId,
    event: &ConsentEvent,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(event.id)
        .bind(subscriber)
        .bind(&event.email_hash)
        .bind(event.newsletter_id)
        .bind(event.kind)
        .bind(event.at)
        .bind(event.channel)
        .bind(event.wording_id)
        .bind(&event.page_url)
        .bind(&event.ip)
        .bind(&event.user_agent)
        .bind(Json(&event.detail))
        .bind(&event.salt)
        .bind(&event.commitment)
        .bind(&event.previous_hash)
        .bind(&event.hash)
        .execute(conn)
        .await
        .map(drop))
}
