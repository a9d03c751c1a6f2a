//! The table `article_keys`.

use crate::db::Tx;
use crate::feeds::identity::{Key, KeyKind, Match};
use crate::id::{ArticleId, FeedId, NewsletterId};
use crate::write_db;

const MATCHES: &str = "SELECT article_keys.kind, articles.id, articles.url, articles.title, articles.feed_id, articles.content_hash
     FROM article_keys JOIN articles ON articles.id = article_keys.article_id
     WHERE (article_keys.newsletter_id, article_keys.kind, article_keys.value) IN
         (VALUES ($1, 'external', $2), ($1, 'guid', $3), ($1, 'url', $4), ($1, 'wp_id', $5), ($1, 'fingerprint', $6))";
const ADD: &str =
    "INSERT INTO article_keys (newsletter_id, kind, value, article_id) VALUES ($1, $2, $3, $4)
     ON CONFLICT (newsletter_id, kind, value) DO NOTHING";
const MOVE: &str =
    "INSERT INTO article_keys (newsletter_id, kind, value, article_id) VALUES ($1, $2, $3, $4)
     ON CONFLICT (newsletter_id, kind, value) DO UPDATE SET article_id = excluded.article_id";

/// An article that has one of the keys that were looked for.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What identity is decided by.
    pub(crate) shared: Match,
    /// The feed that brought it.
    pub(crate) feed_id: Option<FeedId>,
    /// Hash of its texts.
    pub(crate) content_hash: Vec<u8>,
}

type Row = (KeyKind, ArticleId, String, String, Option<FeedId>, Vec<u8>);

/// The articles of the newsletter that have any of `keys`, once for each key.
pub(crate) async fn matches(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    keys: &[Key],
) -> sqlx::Result<Vec<Found>> {
    let value = |kind| {
        keys.iter()
            .find(|key| key.kind == kind)
            .map(|key| key.value.as_str())
    };
    let rows: Vec<Row> = write_db!(tx, |conn| sqlx::query_as(MATCHES)
        .bind(newsletter_id)
        .bind(value(KeyKind::External))
        .bind(value(KeyKind::Guid))
        .bind(value(KeyKind::Url))
        .bind(value(KeyKind::WpId))
        .bind(value(KeyKind::Fingerprint))
        .fetch_all(conn)
        .await)?;
    let found = |(kind, article_id, url, title, feed_id, content_hash): Row| Found {
        shared: Match {
            article_id,
            kind,
            url: Some(url),
            title,
        },
        feed_id,
        content_hash,
    };
    Ok(rows.into_iter().map(found).collect())
}

/// Gives `key` to an article, unless another has it.
pub(crate) async fn add_key(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    key: &Key,
    article_id: ArticleId,
) -> sqlx::Result<()> {
    put(tx, ADD, newsletter_id, key, article_id).await
}

/// Gives `key` to an article, whoever had it.
pub(crate) async fn move_key(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    key: &Key,
    article_id: ArticleId,
) -> sqlx::Result<()> {
    put(tx, MOVE, newsletter_id, key, article_id).await
}

async fn put(
    tx: &mut Tx<'_>,
    sql: &'static str,
    newsletter_id: NewsletterId,
    key: &Key,
    article_id: ArticleId,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(newsletter_id)
        .bind(key.kind)
        .bind(&key.value)
        .bind(article_id)
        .execute(conn)
        .await
        .map(drop))
}
