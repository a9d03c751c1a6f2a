//! All SQL about newsletters, topics and schedules.

use std::time::Duration;

use super::schedule::{LocalTime, Zone};
use super::{Cadence, Calendar, Days, Missed, Mode, Newsletter, Schedule, Topic};
use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::id::{NewsletterId, ScheduleId};
use crate::{read_db, write_db};

const INSERT: &str =
    "INSERT INTO newsletters (id, slug, name, description, from_name, from_address, reply_to,
         postal_address, locale, timezone, default_cadence, form_origins, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
     ON CONFLICT (slug) DO NOTHING";
const UPDATE: &str = "UPDATE newsletters SET name = $2, description = $3, from_name = $4, from_address = $5,
         reply_to = $6, postal_address = $7, locale = $8, timezone = $9, default_cadence = $10, form_origins = $11
     WHERE id = $1";
const ALL: &str =
    "SELECT id, slug, name, description, from_name, from_address, reply_to, postal_address, locale,
         timezone, default_cadence, form_origins, created_at
     FROM newsletters ORDER BY slug";
const BY_SLUG: &str =
    "SELECT id, slug, name, description, from_name, from_address, reply_to, postal_address, locale,
         timezone, default_cadence, form_origins, created_at
     FROM newsletters WHERE slug = $1";
const BY_ID: &str =
    "SELECT id, slug, name, description, from_name, from_address, reply_to, postal_address, locale,
         timezone, default_cadence, form_origins, created_at
     FROM newsletters WHERE id = $1";
const NEWEST_SEQ: &str =
    "SELECT CAST(COALESCE(MAX(seq), 0) AS BIGINT) FROM articles WHERE newsletter_id = $1";

const INSERT_TOPIC: &str =
    "INSERT INTO topics (id, newsletter_id, slug, name, position, default_on, max_cadence)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (newsletter_id, slug) DO NOTHING";
const TOPICS: &str = "SELECT id, newsletter_id, slug, name, position, default_on, max_cadence
     FROM topics WHERE newsletter_id = $1 ORDER BY position, slug";

const INSERT_SCHEDULE: &str = "INSERT INTO schedules (id, newsletter_id, cadence, local_time, days, timezone, mode,
         min_articles, max_cards, min_interval, missed, max_lateness, enabled, handled_to, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const SCHEDULES: &str =
    "SELECT id, newsletter_id, cadence, local_time, days, timezone, mode, min_articles, max_cards,
         min_interval, missed, max_lateness, enabled, handled_to
     FROM schedules WHERE newsletter_id = $1 ORDER BY created_at, id";
const ENABLED_SCHEDULES: &str =
    "SELECT id, newsletter_id, cadence, local_time, days, timezone, mode, min_articles,
         max_cards, min_interval, missed, max_lateness, enabled, handled_to
     FROM schedules WHERE enabled ORDER BY newsletter_id, created_at, id";

/// Inserts a newsletter; `false` when the slug is taken.
pub(super) async fn insert(tx: &mut Tx<'_>, newsletter: &Newsletter) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(newsletter.id)
        .bind(&newsletter.slug)
        .bind(&newsletter.name)
        .bind(&newsletter.description)
        .bind(&newsletter.from_name)
        .bind(&newsletter.from_address)
        .bind(&newsletter.reply_to)
        .bind(&newsletter.postal_address)
        .bind(&newsletter.locale)
        .bind(&newsletter.timezone)
        .bind(newsletter.default_cadence)
        .bind(&newsletter.form_origins)
        .bind(newsletter.created_at)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Writes everything but id, slug and creation time.
pub(super) async fn update(tx: &mut Tx<'_>, newsletter: &Newsletter) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(UPDATE)
        .bind(newsletter.id)
        .bind(&newsletter.name)
        .bind(&newsletter.description)
        .bind(&newsletter.from_name)
        .bind(&newsletter.from_address)
        .bind(&newsletter.reply_to)
        .bind(&newsletter.postal_address)
        .bind(&newsletter.locale)
        .bind(&newsletter.timezone)
        .bind(newsletter.default_cadence)
        .bind(&newsletter.form_origins)
        .execute(conn)
        .await
        .map(drop))
}

/// All newsletters, by slug.
pub async fn all(db: &Db) -> sqlx::Result<Vec<Newsletter>> {
    read_db!(db, |conn| sqlx::query_as(ALL).fetch_all(conn).await)
}

/// The newsletter with this slug.
pub async fn by_slug(db: &Db, slug: &str) -> sqlx::Result<Option<Newsletter>> {
    read_db!(db, |conn| sqlx::query_as(BY_SLUG)
        .bind(slug)
        .fetch_optional(conn)
        .await)
}

/// The newsletter with this id.
pub async fn by_id(db: &Db, id: NewsletterId) -> sqlx::Result<Option<Newsletter>> {
    read_db!(db, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// The newsletter with this id, as the transaction sees it.
pub async fn by_id_in(tx: &mut Tx<'_>, id: NewsletterId) -> sqlx::Result<Option<Newsletter>> {
    write_db!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// The number of the article released last; 0 when there is none. Interests begin here.
pub async fn newest_seq(tx: &mut Tx<'_>, id: NewsletterId) -> sqlx::Result<i64> {
    write_db!(tx, |conn| sqlx::query_scalar(NEWEST_SEQ)
        .bind(id)
        .fetch_one(conn)
        .await)
}

/// Inserts a topic; `false` when the newsletter has one of this slug.
pub(super) async fn insert_topic(tx: &mut Tx<'_>, topic: &Topic) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(INSERT_TOPIC)
        .bind(topic.id)
        .bind(topic.newsletter_id)
        .bind(&topic.slug)
        .bind(&topic.name)
        .bind(topic.position)
        .bind(topic.default_on)
        .bind(topic.max_cadence)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// A newsletter's topics in their order; `all` among them.
pub async fn topics(db: &Db, newsletter: NewsletterId) -> sqlx::Result<Vec<Topic>> {
    read_db!(db, |conn| sqlx::query_as(TOPICS)
        .bind(newsletter)
        .fetch_all(conn)
        .await)
}

/// A newsletter's topics, as the transaction sees them.
pub async fn topics_in(tx: &mut Tx<'_>, newsletter: NewsletterId) -> sqlx::Result<Vec<Topic>> {
    write_db!(tx, |conn| sqlx::query_as(TOPICS)
        .bind(newsletter)
        .fetch_all(conn)
        .await)
}

/// Inserts a schedule.
pub(super) async fn insert_schedule(
    tx: &mut Tx<'_>,
    schedule: &Schedule,
    now: Timestamp,
) -> sqlx::Result<()> {
    let calendar = &schedule.calendar;
    write_db!(tx, |conn| sqlx::query(INSERT_SCHEDULE)
        .bind(schedule.id)
        .bind(schedule.newsletter_id)
        .bind(schedule.cadence)
        .bind(calendar.local_time().to_string())
        .bind(calendar.days().to_string())
        .bind(calendar.zone().name())
        .bind(schedule.mode)
        .bind(i64::from(schedule.min_articles))
        .bind(i64::from(schedule.max_cards))
        .bind(seconds(schedule.min_interval))
        .bind(schedule.missed)
        .bind(seconds(schedule.max_lateness))
        .bind(schedule.enabled)
        .bind(schedule.handled_to)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
}

/// A newsletter's schedules, oldest first.
pub async fn schedules(db: &Db, newsletter: NewsletterId) -> sqlx::Result<Vec<Schedule>> {
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(SCHEDULES)
        .bind(newsletter)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(Row::schedule).collect()
}

/// All schedules in use, those of one newsletter together.
pub async fn enabled_schedules(db: &Db) -> sqlx::Result<Vec<Schedule>> {
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(ENABLED_SCHEDULES)
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(Row::schedule).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ScheduleId,
    newsletter_id: NewsletterId,
    cadence: Cadence,
    local_time: String,
    days: String,
    timezone: String,
    mode: Mode,
    min_articles: i64,
    max_cards: i64,
    min_interval: i64,
    missed: Missed,
    max_lateness: i64,
    enabled: bool,
    handled_to: Timestamp,
}

impl Row {
    fn schedule(self) -> sqlx::Result<Schedule> {
        let days: Days = self.days.parse().map_err(damaged)?;
        let local_time: LocalTime = self.local_time.parse().map_err(damaged)?;
        let zone: Zone = self.timezone.parse().map_err(damaged)?;
        Ok(Schedule {
            id: self.id,
            newsletter_id: self.newsletter_id,
            cadence: self.cadence,
            calendar: Calendar::new(days, local_time, zone),
            mode: self.mode,
            min_articles: u32::try_from(self.min_articles).unwrap_or(0),
            max_cards: u32::try_from(self.max_cards).unwrap_or(0),
            min_interval: duration(self.min_interval),
            missed: self.missed,
            max_lateness: duration(self.max_lateness),
            enabled: self.enabled,
            handled_to: self.handled_to,
        })
    }
}

fn damaged(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
