//! Consent events and the words they refer to.

use std::collections::HashMap;

use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::super::consent::ConsentEvent;
use super::super::evidence::Wording;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::{SubscriberId, WordingId};
use crate::token::sha256;
use crate::write_db;

const LOCK: &str = "SELECT id FROM subscribers WHERE id IN (";
const IN_ORDER: &str = ") ORDER BY id FOR NO KEY UPDATE";

/// Until the transaction ends nobody else adds to these people's chains. SQLite has one writer.
pub(in crate::subscribers) async fn lock_subscribers(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = SubscriberId>,
) -> sqlx::Result<()> {
    let Tx::Postgres(tx) = tx else { return Ok(()) };
    let mut query = QueryBuilder::new(LOCK);
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    query.push(IN_ORDER);
    query.build().execute(&mut **tx).await.map(drop)
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

// The last by links and not by time: clocks step back. Each address's events are read once, however many they are.
const OF_ADDRESSES: &str = "
    WITH chains AS (
        SELECT id, at, email_hash, previous_hash, hash FROM consent_events WHERE email_hash IN (";
const LAST_HASHES: &str = "))
    SELECT email_hash, hash FROM chains
    WHERE hash NOT IN (SELECT previous_hash FROM chains WHERE previous_hash IS NOT NULL)
    ORDER BY at, id";

/// The hash at the end of each of these addresses' chains.
pub(in crate::subscribers) async fn last_consent_hashes(
    tx: &mut Tx<'_>,
    email_hashes: impl Iterator<Item = [u8; 32]>,
) -> sqlx::Result<HashMap<Vec<u8>, Vec<u8>>> {
    let found: Vec<_> = write_db!(tx, |conn| {
        let mut query = QueryBuilder::new(OF_ADDRESSES);
        let mut list = query.separated(", ");
        for hash in email_hashes {
            list.push_bind(hash.to_vec());
        }
        query.push(LAST_HASHES);
        query.build_query_as().fetch_all(conn).await
    })?;
    Ok(found.into_iter().collect())
}

const INSERT: &str = "
    INSERT INTO consent_events (id, subscriber_id, email_hash, newsletter_id, kind, at, channel, wording_id,
        page_url, ip, user_agent, detail, salt, commitment, previous_hash, hash) ";

pub(in crate::subscribers) async fn insert_consent_events(
    tx: &mut Tx<'_>,
    events: &[(SubscriberId, ConsentEvent)],
) -> sqlx::Result<()> {
    write_db!(tx, |conn| {
        let mut insert = QueryBuilder::new(INSERT);
        insert.push_values(events, |mut row, (subscriber, event)| {
            row.push_bind(event.id)
                .push_bind(*subscriber)
                .push_bind(&event.email_hash)
                .push_bind(event.newsletter_id)
                .push_bind(event.kind)
                .push_bind(event.at)
                .push_bind(event.channel)
                .push_bind(event.wording_id)
                .push_bind(&event.page_url)
                .push_bind(&event.ip)
                .push_bind(&event.user_agent)
                .push_bind(Json(&event.detail))
                .push_bind(&event.salt)
                .push_bind(&event.commitment)
                .push_bind(&event.previous_hash)
                .push_bind(&event.hash);
        });
        insert.build().execute(conn).await.map(drop)
    })
}
