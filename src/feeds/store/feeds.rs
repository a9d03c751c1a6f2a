//! The table `feeds`.

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::feeds::Feed;
use crate::id::{FeedId, NewsletterId};
use crate::{read_db, write_db};

const BY_ID: &str = "SELECT * FROM feeds WHERE id = $1";
const OF_NEWSLETTER: &str = "SELECT * FROM feeds WHERE newsletter_id = $1 ORDER BY created_at, id";
const TO_POLL: &str = "SELECT id FROM feeds WHERE NOT paused AND next_poll_at <= $1 ORDER BY next_poll_at, id LIMIT $2";
const CLAIM: &str = "UPDATE feeds SET next_poll_at = $2, reading_until = $2
     WHERE id = $1 AND NOT paused AND next_poll_at <= $3 AND (reading_until IS NULL OR reading_until <= $4)
       AND (last_polled_at IS NULL OR last_polled_at <= $5)
     RETURNING *";
const IS_BEING_READ: &str =
    "SELECT EXISTS (SELECT 1 FROM feeds WHERE id = $1 AND NOT paused AND reading_until > $2)";
const LEAVE: &str = "UPDATE feeds SET reading_until = NULL WHERE id = $1";
const INSERT: &str = "INSERT INTO feeds (id, newsletter_id, url, next_poll_at, poll_interval, cool_off, failures, paused,
         moved_seen, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0, $4) ON CONFLICT (newsletter_id, url) DO NOTHING";
const TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM feeds WHERE newsletter_id = $1 AND url = $2)";
// the address that was asked stands in WHERE: an operator may have changed it meanwhile
const RECORD: &str = "UPDATE feeds SET url = $2, title = $3, etag = $4, last_modified = $5, body_hash = $6, moved_to = $7,
         moved_seen = $8, next_poll_at = $9, last_status = $10, last_polled_at = $11, activated_at = $12, failures = 0,
         last_error = NULL, reading_until = NULL
     WHERE id = $1 AND url = $13";
const FAIL: &str = "UPDATE feeds SET failures = failures + 1, last_error = $2, last_status = $3, last_polled_at = $4,
         next_poll_at = $5, reading_until = NULL
     WHERE id = $1 AND url = $6";
const PAUSE: &str = "UPDATE feeds SET paused = $2, paused_reason = $3 WHERE id = $1 AND NOT paused";
const RESUME: &str =
    "UPDATE feeds SET paused = $2, paused_reason = NULL, failures = 0, next_poll_at = $3
     WHERE id = $1 AND paused";

/// The feed with this id.
pub async fn feed(db: &Db, id: FeedId) -> sqlx::Result<Option<Feed>> {
    read_db!(db, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// The feeds of a newsletter in the order in which they were added.
pub async fn feeds_of(db: &Db, newsletter_id: NewsletterId) -> sqlx::Result<Vec<Feed>> {
    read_db!(db, |conn| sqlx::query_as(OF_NEWSLETTER)
        .bind(newsletter_id)
        .fetch_all(conn)
        .await)
}

/// At most `limit` feeds that are due, the longest due first.
pub(crate) async fn feeds_to_poll(
    db: &Db,
    now: Timestamp,
    limit: i64,
) -> sqlx::Result<Vec<FeedId>> {
    read_db!(db, |conn| sqlx::query_scalar(TO_POLL)
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Which feed is taken, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// Which.
    pub(crate) id: FeedId,
    /// The time.
    pub(crate) now: Timestamp,
    /// Others leave it alone until then.
    pub(crate) until: Timestamp,
    /// It must be due by then.
    pub(crate) due_by: Timestamp,
    /// It must not have been read after that.
    pub(crate) unread_since: Timestamp,
}

/// Takes a feed. `None` when it is not due, paused, or somebody else is reading it.
pub(crate) async fn claim(tx: &mut Tx<'_>, claim: Claim) -> sqlx::Result<Option<Feed>> {
    write_db!(tx, |conn| sqlx::query_as(CLAIM)
        .bind(claim.id)
        .bind(claim.until)
        .bind(claim.due_by)
        .bind(claim.now)
        .bind(claim.unread_since)
        .fetch_optional(conn)
        .await)
}

/// Whether somebody is reading it.
pub(crate) async fn is_being_read(db: &Db, id: FeedId, now: Timestamp) -> sqlx::Result<bool> {
    read_db!(db, |conn| sqlx::query_scalar(IS_BEING_READ)
        .bind(id)
        .bind(now)
        .fetch_one(conn)
        .await)
}

/// Gives back a feed that was taken and of which nothing is recorded.
pub(crate) async fn leave(tx: &mut Tx<'_>, id: FeedId) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(LEAVE)
        .bind(id)
        .execute(conn)
        .await
        .map(drop))
}

/// The feed with this id, as the transaction sees it.
pub(crate) async fn feed_in(tx: &mut Tx<'_>, id: FeedId) -> sqlx::Result<Option<Feed>> {
    write_db!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// Adds a feed; `false` when the newsletter has one with this address.
pub(crate) async fn insert_feed(tx: &mut Tx<'_>, feed: &Feed) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(feed.id)
        .bind(feed.newsletter_id)
        .bind(&feed.url)
        .bind(feed.next_poll_at)
        .bind(feed.poll_interval)
        .bind(feed.cool_off)
        .bind(feed.paused)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Whether the newsletter has a feed with this address.
pub(crate) async fn url_is_taken(
    tx: &mut Tx<'_>,
    newsletter_id: NewsletterId,
    url: &str,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query_scalar(TAKEN)
        .bind(newsletter_id)
        .bind(url)
        .fetch_one(conn)
        .await)
}

/// Records a success: `feed` as it is from now on. `asked_url` is the address that was asked.
pub(crate) async fn record(tx: &mut Tx<'_>, feed: &Feed, asked_url: &str) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(RECORD)
        .bind(feed.id)
        .bind(&feed.url)
        .bind(&feed.title)
        .bind(&feed.etag)
        .bind(&feed.last_modified)
        .bind(&feed.body_hash)
        .bind(&feed.moved_to)
        .bind(feed.moved_seen)
        .bind(feed.next_poll_at)
        .bind(feed.last_status)
        .bind(feed.last_polled_at)
        .bind(feed.activated_at)
        .bind(asked_url)
        .execute(conn)
        .await
        .map(drop))
}

/// Records a failure at `now`.
pub(crate) async fn fail(
    tx: &mut Tx<'_>,
    feed: &Feed,
    error: &str,
    status: Option<i64>,
    now: Timestamp,
    next_poll_at: Timestamp,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(FAIL)
        .bind(feed.id)
        .bind(error)
        .bind(status)
        .bind(now)
        .bind(next_poll_at)
        .bind(&feed.url)
        .execute(conn)
        .await
        .map(drop))
}

/// Leaves a feed alone until it is resumed; `false` when it is paused already.
pub async fn pause(tx: &mut Tx<'_>, id: FeedId, reason: &str) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(PAUSE)
        .bind(id)
        .bind(true)
        .bind(reason)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}

/// Polls a paused feed again, at once; `false` when it is not paused.
pub async fn resume(tx: &mut Tx<'_>, id: FeedId, now: Timestamp) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(RESUME)
        .bind(id)
        .bind(false)
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(rows == 1)
}
