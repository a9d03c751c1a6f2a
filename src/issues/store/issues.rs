//! The issue's own row.

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::config::InDoubt;
use crate::db::{Db, Tx};
use crate::id::{IssueId, NewsletterId};
use crate::issues::compose::NewIssue;
use crate::issues::{Issue, IssueState};
use crate::newsletters::{Cadence, Cadences};
use crate::{read_db, write_db};

// the number is given under the writer's lock, or under the newsletter's row on PostgreSQL
const LOCK_NEWSLETTER_POSTGRES: &str = "SELECT id FROM newsletters WHERE id = $1 FOR UPDATE";
const INSERT: &str = "INSERT INTO issues (id, newsletter_id, number, kind, cadences, due_at, state,
         release_when_prepared, max_cards, subject, intro, created_at, candidates, queued, excluded,
         in_doubt_policy)
     SELECT $1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM issues WHERE newsletter_id = $2), $3, $4, $5,
         'scheduled', $6, $7, $8, $9, $10, 0, 0, 0, $11";
const BY_ID: &str = "SELECT id, newsletter_id, number, kind, cadences, due_at, state, state_reason, paused_at,
         pause_reason, release_when_prepared, max_cards, cutoff_seq, subject, intro, created_at, frozen_at,
         prepared_to, candidates, queued, excluded, prepared_at, released_at, finished_at
     FROM issues WHERE id = $1";
const OF_NEWSLETTER: &str =
    "SELECT id, newsletter_id, number, kind, cadences, due_at, state, state_reason, paused_at,
         pause_reason, release_when_prepared, max_cards, cutoff_seq, subject, intro, created_at, frozen_at,
         prepared_to, candidates, queued, excluded, prepared_at, released_at, finished_at
     FROM issues WHERE newsletter_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3";
// the index on unfinished issues is used only where its states are named
const TO_ADVANCE: &str =
    "SELECT id, newsletter_id, number, kind, cadences, due_at, state, state_reason, paused_at,
         pause_reason, release_when_prepared, max_cards, cutoff_seq, subject, intro, created_at, frozen_at,
         prepared_to, candidates, queued, excluded, prepared_at, released_at, finished_at
     FROM issues
     WHERE state IN ('draft', 'scheduled', 'preparing', 'sending') AND state IN ('scheduled', 'preparing')
     ORDER BY due_at, id";
const IS_PREPARING: &str =
    "SELECT EXISTS (SELECT 1 FROM issues WHERE newsletter_id = $1 AND state = 'preparing')";
const LOWEST_GIVEN: &str = "SELECT MIN(interests.given_seq)
     FROM interests JOIN subscriptions ON subscriptions.id = interests.subscription_id
     WHERE subscriptions.newsletter_id = $1 AND subscriptions.state = 'active'
       AND (subscriptions.paused_until IS NULL OR subscriptions.paused_until <= $2)
       AND interests.cadence IN ($3, $4, $5, $6)";
// what an unsent mail moved is put back when it is superseded, cancelled or given up
const LOWEST_UNSENT_SQLITE: &str =
    "SELECT MIN(CAST(json_extract(moved.value, '$.given_from') AS INTEGER))
     FROM issues JOIN deliveries ON deliveries.issue_id = issues.id
     JOIN json_each(deliveries.given_from) AS moved
     WHERE issues.newsletter_id = $1 AND deliveries.doubt = 0
       AND deliveries.is_open";
const LOWEST_UNSENT_POSTGRES: &str = "SELECT MIN(CAST(moved.value ->> 'given_from' AS BIGINT))
     FROM issues JOIN deliveries ON deliveries.issue_id = issues.id
     CROSS JOIN jsonb_array_elements(deliveries.given_from) AS moved (value)
     WHERE issues.newsletter_id = $1 AND deliveries.doubt = 0
       AND deliveries.is_open";
const FREEZE: &str = "UPDATE issues SET state = 'preparing', cutoff_seq = $2, frozen_at = $3
     WHERE id = $1 AND state = 'scheduled'";
const RELEASE: &str = "UPDATE issues SET state = 'sending', released_at = $2
     WHERE id = $1 AND state = 'preparing' AND prepared_at IS NOT NULL AND paused_at IS NULL
       AND candidates = queued + excluded
       AND queued = (SELECT COUNT(*) FROM deliveries WHERE issue_id = $1)";
const ALLOW_RELEASE: &str = "UPDATE issues SET release_when_prepared = TRUE
     WHERE id = $1 AND state IN ('scheduled', 'preparing')";
const END: &str = "UPDATE issues SET state = $2, state_reason = $3, finished_at = $4
     WHERE id = $1 AND state = $5";

/// Inserts a scheduled issue with the newsletter's next number.
pub(in crate::issues) async fn insert(
    tx: &mut Tx<'_>,
    id: IssueId,
    new: &NewIssue,
    now: Timestamp,
) -> sqlx::Result<()> {
    if let Tx::Postgres(tx) = &mut *tx {
        sqlx::query(LOCK_NEWSLETTER_POSTGRES)
            .bind(new.newsletter_id)
            .execute(&mut **tx)
            .await?;
    }
    let policy = match new.in_doubt {
        InDoubt::Resend => "resend",
        InDoubt::Hold => "hold",
    };
    write_db!(tx, |conn| sqlx::query(INSERT)
        .bind(id)
        .bind(new.newsletter_id)
        .bind(new.kind)
        .bind(Json(new.cadences))
        .bind(new.due_at)
        .bind(new.release_when_prepared)
        .bind(i64::from(new.max_cards))
        .bind(&new.subject)
        .bind(&new.intro)
        .bind(now)
        .bind(policy)
        .execute(conn)
        .await
        .map(drop))
}

/// The issue.
pub async fn by_id(db: &Db, id: IssueId) -> sqlx::Result<Option<Issue>> {
    read_db!(db, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// The issue, as the transaction sees it.
pub async fn by_id_in(tx: &mut Tx<'_>, id: IssueId) -> sqlx::Result<Option<Issue>> {
    write_db!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)
}

/// A newsletter's issues with numbers below `before`, newest first, at most `limit`.
pub async fn of_newsletter(
    db: &Db,
    newsletter: NewsletterId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Issue>> {
    read_db!(db, |conn| sqlx::query_as(OF_NEWSLETTER)
        .bind(newsletter)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(conn)
        .await)
}

/// Issues that wait to be frozen or are being prepared, by due time.
pub async fn to_advance(db: &Db) -> sqlx::Result<Vec<Issue>> {
    read_db!(db, |conn| sqlx::query_as(TO_ADVANCE).fetch_all(conn).await)
}

/// Whether an issue of the newsletter is being prepared.
pub(in crate::issues) async fn is_preparing(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
) -> sqlx::Result<bool> {
    write_db!(tx, |conn| sqlx::query_scalar(IS_PREPARING)
        .bind(newsletter)
        .fetch_one(conn)
        .await)
}

/// The lowest number up to which some active, unpaused reader of these cadences was given; `None` without readers.
pub(in crate::issues) async fn lowest_given(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    cadences: Cadences,
    now: Timestamp,
) -> sqlx::Result<Option<i64>> {
    // a cadence that is not served is asked for as none
    let mut asked = cadences.iter().map(Cadence::as_str);
    let mut next = || asked.next().unwrap_or("");
    write_db!(tx, |conn| sqlx::query_scalar(LOWEST_GIVEN)
        .bind(newsletter)
        .bind(now)
        .bind(next())
        .bind(next())
        .bind(next())
        .bind(next())
        .fetch_one(conn)
        .await)
}

/// The lowest number to which putting back what older issues have not sent may lead; `None` where all is sent.
pub(in crate::issues) async fn lowest_unsent(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
) -> sqlx::Result<Option<i64>> {
    let sql = tx.pick(LOWEST_UNSENT_SQLITE, LOWEST_UNSENT_POSTGRES);
    write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(newsletter)
        .fetch_one(conn)
        .await)
}

/// `scheduled` to `preparing`; `false` when it is not scheduled.
pub(in crate::issues) async fn freeze(
    tx: &mut Tx<'_>,
    id: IssueId,
    cutoff: i64,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(FREEZE)
        .bind(id)
        .bind(cutoff)
        .bind(now)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// `preparing` to `sending`, once everybody was looked at and every delivery is there; `false` otherwise.
pub(in crate::issues) async fn release(
    tx: &mut Tx<'_>,
    id: IssueId,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(RELEASE)
        .bind(id)
        .bind(now)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Lets an issue that waits for an operator be released; `false` when it is past that.
pub(in crate::issues) async fn allow_release(tx: &mut Tx<'_>, id: IssueId) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(ALLOW_RELEASE)
        .bind(id)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Ends an issue that stands at `from`; `false` when it does not stand there.
pub(in crate::issues) async fn end(
    tx: &mut Tx<'_>,
    id: IssueId,
    from: IssueState,
    to: IssueState,
    reason: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(END)
        .bind(id)
        .bind(to)
        .bind(reason)
        .bind(now)
        .bind(from)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}
