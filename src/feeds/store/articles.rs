//! The tables `articles` and `article_topics`.

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::feeds::draft::Draft;
use crate::feeds::{Article, ArticleState};
use crate::id::{ArticleId, NewsletterId, TopicId};
use crate::{read_db, write_db};

const BY_ID: &str = "SELECT * FROM articles WHERE id = $1";
const NEWEST: &str = "SELECT * FROM articles WHERE newsletter_id = $1 AND (state = $2 OR $2 = '')
     ORDER BY first_seen_at DESC, id DESC LIMIT $3";
const READY_AFTER: &str = "SELECT * FROM articles
     WHERE newsletter_id = $1 AND seq > $2 AND seq <= $3 AND state = 'ready' ORDER BY seq";
const NEWEST_SEQ: &str = "SELECT last_seq FROM newsletters WHERE id = $1";
const TOPICS_OF: &str =
    "SELECT topic_id FROM article_topics WHERE article_id = $1 ORDER BY topic_id";
const INSERT: &str = "INSERT INTO articles (id, newsletter_id, feed_id, state, held_reason, url, title, summary, content_html,
         author, image_url, image_width, image_height, image_alt, published_at, first_seen_at, release_at, updated_at,
         content_hash)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $16, $18)";
// number, state and dates stay: an edit is no news
const EDIT: &str = "UPDATE articles SET url = $2, title = $3, summary = $4, content_html = $5, author = $6, image_url = $7,
         image_width = $8, image_height = $9, image_alt = $10, content_hash = $11, updated_at = $12
     WHERE id = $1";
const ADD_TOPIC: &str = "INSERT INTO article_topics (article_id, topic_id) VALUES ($1, $2)
     ON CONFLICT (article_id, topic_id) DO NOTHING";
const TO_RELEASE: &str =
    "SELECT DISTINCT newsletter_id FROM articles WHERE state = 'waiting' AND release_at <= $1";
const DUE: &str =
    "SELECT id FROM articles WHERE newsletter_id = $1 AND state = 'waiting' AND release_at <= $2
     ORDER BY release_at, first_seen_at, id LIMIT $3";
// on PostgreSQL the row stays locked until the commit: a lower number never becomes visible after a higher one
const TAKE_SEQS: &str =
    "UPDATE newsletters SET last_seq = last_seq + $2 WHERE id = $1 RETURNING last_seq";
const RELEASE: &str = "UPDATE articles SET state = 'ready', seq = $2, released_at = $3, release_at = NULL, held_reason = NULL
     WHERE id = $1 AND seq IS NULL AND state IN ('waiting', 'held', 'known')";
// readers of a frozen issue may have been given it: then it cannot be taken back
const HOLD: &str = "UPDATE articles SET state = 'held', held_reason = $2, seq = NULL, release_at = NULL, released_at = NULL
     WHERE id = $1 AND state IN ('waiting', 'ready') AND NOT EXISTS
         (SELECT 1 FROM issue_articles JOIN issues ON issues.id = issue_articles.issue_id
          WHERE issue_articles.article_id = $1 AND issue_articles.decision IN ('card', 'headline')
              AND issues.frozen_at IS NOT NULL AND issues.state NOT IN ('skipped', 'failed'))";
const DISMISS: &str = "UPDATE articles SET state = 'known', held_reason = NULL, release_at = NULL
     WHERE id = $1 AND state IN ('waiting', 'held')";
const LOCK_SQLITE: &str = "SELECT id FROM newsletters WHERE id = $1";
// saves and releases of one newsletter come one after the other; other rows may still refer to it
const LOCK_POSTGRES: &str = "SELECT id FROM newsletters WHERE id = $1 FOR NO KEY UPDATE";

/// What a new article is stored with beside its texts.
#[derive(Debug, Clone)]
pub(crate) struct NewArticle {
    pub(crate) id: ArticleId,
    pub(crate) newsletter_id: NewsletterId,
    pub(crate) feed_id: Option<crate::id::FeedId>,
    pub(crate) state: ArticleState,
    pub(crate) held_reason: Option<&'static str>,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) release_at: Option<Timestamp>,
}

/// The article with this id.
pub async fn article(db: &Db, id: ArticleId) -> sqlx::Result<Option<Article>> {
    read_db!(db, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// At most `limit` articles of a newsletter, the newest seen first; where a state is named, only those that stand so.
pub async fn articles(
    db: &Db,
    newsletter_id: NewsletterId,
    state: Option<ArticleState>,
    limit: i64,
) -> sqlx::Result<Vec<Article>> {
    read_db!(db, |conn| sqlx::query_as(NEWEST)
        .bind(newsletter_id)
        .bind(state.map_or("", ArticleState::as_str))
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// The released articles of a newsletter with numbers above `after`, up to `cutoff`, in order.
pub async fn ready_after(
    db: &Db,
    newsletter_id: NewsletterId,
    after: i64,
    cutoff: i64,
) -> sqlx::Result<Vec<Article>> {
    read_db!(db, |conn| sqlx::query_as(READY_AFTER)
        .bind(newsletter_id)
        .bind(after)
        .bind(cutoff)
        .fetch_all(conn)
        .await)
}

/// The highest number that was given to an article of a newsletter; 0 before the first.
pub async fn newest_seq(db: &Db, newsletter_id: NewsletterId) -> sqlx::Result<i64> {
    read_db!(db, |conn| sqlx::query_scalar(NEWEST_SEQ)
        .bind(newsletter_id)
        .fetch_one(conn)
        .await)
}

/// The topics of an article.
pub async fn topics_of(db: &Db, id: ArticleId) -> sqlx::Result<Vec<TopicId>> {
    read_db!(db, |conn| sqlx::query_scalar(TOPICS_OF)
        .bind(id)
        .fetch_all(conn)
        .await)
}

/// Stores a new article, without number.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    new: &NewArticle,
    draft: &Draft,
    url: &str,
) -> sqlx::Result<()> {
    let image = draft.image.as_ref();
    write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(new.id)
        .bind(new.newsletter_id)
        .bind(new.feed_id)
        .bind(new.state)
        .bind(new.held_reason)
        .bind(url)
        .bind(&draft.title)
        .bind(&draft.summary)
        .bind(&draft.content_html)
        .bind(none_if_empty(&draft.author))
        .bind(image.map(|image| image.url.as_str()))
        .bind(image.and_then(|image| image.width).map(i64::from))
        .bind(image.and_then(|image| image.height).map(i64::from))
        .bind(image.and_then(|image| none_if_empty(&image.alt)))
        .bind(draft.published_at)
        .bind(new.first_seen_at)
        .bind(new.release_at)
        .bind(&draft.content_hash)
        .execute(conn)
        .await
        .map(drop))
}

/// Gives an article new texts.
pub(crate) async fn edit(
    tx: &mut Tx<'_>,
    id: ArticleId,
    draft: &Draft,
    url: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    let image = draft.image.as_ref();
    write_db!(tx, |conn| sqlx::query(EDIT)
        .bind(id)
        .bind(url)
        .bind(&draft.title)
        .bind(&draft.summary)
        .bind(&draft.content_html)
        .bind(none_if_empty(&draft.author))
        .bind(image.map(|image| image.url.as_str()))
        .bind(image.and_then(|image| image.width).map(i64::from))
        .bind(image.and_then(|image| image.height).map(i64::from))
        .bind(image.and_then(|image| none_if_empty(&image.alt)))
        .bind(&draft.content_hash)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
}

/// Puts an article into `topics`, beside those that it has.
pub(crate) async fn add_topics(
    tx: &mut Tx<'_>,
    id: ArticleId,
    topics: &[TopicId],
) -> sqlx::Result<()> {
    for topic in topics {
        write_db!(tx, |conn| sqlx::query(ADD_TOPIC)
            .bind(id)
            .bind(topic)
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// The newsletters that have articles to release.
pub(crate) async fn newsletters_to_release(
    db: &Db,
    now: Timestamp,
) -> sqlx::Result<Vec<NewsletterId>> {
    read_db!(db, |conn| sqlx::query_scalar(TO_RELEASE)
        .bind(now)
        .fetch_all(conn)
        .await)
}

/// At most `limit` articles whose time has come, in the order in which they are numbered.
pub(crate) async fn due_to_release(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    now: Timestamp,
    limit: i64,
) -> sqlx::Result<Vec<ArticleId>> {
    write_db!(tx, |conn| sqlx::query_scalar(DUE)
        .bind(newsletter_id)
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Takes `count` numbers; the highest of them is returned.
pub(crate) async fn take_seqs(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    count: i64,
) -> sqlx::Result<i64> {
    write_db!(tx, |conn| sqlx::query_scalar(TAKE_SEQS)
        .bind(newsletter_id)
        .bind(count)
        .fetch_one(conn)
        .await)
}

/// Releases an article with this number; `false` when it is released or withdrawn already.
pub(crate) async fn release_one(
    tx: &mut Tx<'_>,
    id: ArticleId,
    seq: i64,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(RELEASE)
        .bind(id)
        .bind(seq)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Holds an article until an operator releases it, and takes its number away. `false` when it is neither waiting nor
/// released, or when readers were given it.
pub async fn hold(tx: &mut Tx<'_>, id: ArticleId, reason: &str) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(HOLD)
        .bind(id)
        .bind(reason)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Makes an article that was not released no news; `false` when it is not waiting or held.
pub async fn dismiss(tx: &mut Tx<'_>, id: ArticleId) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(DISMISS)
        .bind(id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Makes other saves and releases of the newsletter wait for this transaction; `false` when there is no such newsletter.
pub(crate) async fn lock_newsletter(tx: &mut Tx<'_>, id: NewsletterId) -> sqlx::Result<bool> {
    let sql = tx.pick(LOCK_SQLITE, LOCK_POSTGRES);
    let found: Option<NewsletterId> = write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    Ok(found.is_some())
}

fn none_if_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
