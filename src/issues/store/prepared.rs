//! What preparing writes: variants, deliveries, the interests they move, and how far the walk has come.

use std::collections::HashSet;

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::{Db, Tx};
use crate::deliveries::State;
use crate::id::{DeliveryId, IssueId, NewsletterId, SubscriptionId, VariantId};
use crate::issues::IssueState;
use crate::issues::due::Move;
use crate::issues::render::Variant;
use crate::issues::unsent::Unsent;
use crate::newsletters::Cadence;
use crate::{read_db, write_db};

const UNSENT_ISSUES: &str = "SELECT id, state FROM issues
     WHERE newsletter_id = $1 AND id <> $2 AND state IN ('sending', 'cancelled', 'failed')
       AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.issue_id = issues.id
           AND deliveries.is_open)";
const UNSENT: &str = "SELECT id, subscription_id, state, doubt, given_from FROM deliveries
     WHERE issue_id = $1 AND subscription_id >= $2 AND subscription_id <= $3
       AND is_open";
const UNSENT_READERS: &str = "SELECT subscription_id FROM deliveries
     WHERE issue_id = $1 AND subscription_id > $2 AND subscription_id <= $3 AND is_open";
const SUPERSEDE_SQLITE: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = 'superseded', settled_at = $2, owner = NULL
     WHERE id IN (SELECT unhex(value, '-') FROM json_each($1)) AND doubt = 0
       AND (state = 'pending' OR (state = 'claimed' AND $3))
     RETURNING subscription_id, given_from";
const SUPERSEDE_POSTGRES: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = 'superseded', settled_at = $2, owner = NULL
     FROM (SELECT value::uuid AS id FROM jsonb_array_elements_text($1)) AS r
     WHERE deliveries.id = r.id AND doubt = 0 AND (state = 'pending' OR (state = 'claimed' AND $3))
     RETURNING subscription_id, given_from";
const VARIANT_ID: &str = "SELECT id FROM variants WHERE issue_id = $1 AND key = $2";
const INSERT_VARIANT: &str =
    "INSERT INTO variants (id, issue_id, key, locale, article_ids, subject, message, bytes, recipients)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)
     ON CONFLICT (issue_id, key) DO NOTHING";
const COUNT_RECIPIENTS: &str = "UPDATE variants SET recipients = recipients + $2 WHERE id = $1";
// One bind however many rows, and the rows drive: with a list of VALUES, SQLite may read all interests instead. With
// `json_each` each row would be written as text, to be read again for its fields.
const INSERT_DELIVERIES_SQLITE: &str =
    "INSERT INTO deliveries (id, issue_id, subscription_id, variant_id, newsletter_id, kind,
         recipient, domain_key, given_from, state, is_open, attempt, tries, doubt, crashes, not_before, expires_at,
         created_at)
     SELECT unhex(value ->> 'id', '-'), $2, unhex(value ->> 'subscription', '-'), unhex(value ->> 'variant', '-'), $3,
         'digest', value ->> 'recipient', value ->> 'domain_key', value ->> 'given_from', 'pending', TRUE,
         0, 0, 0, 0, $4, $5, $4
     FROM jsonb_each($1) WHERE true
     ON CONFLICT (issue_id, subscription_id) DO NOTHING";
const INSERT_DELIVERIES_POSTGRES: &str =
    "INSERT INTO deliveries (id, issue_id, subscription_id, variant_id, newsletter_id, kind,
         recipient, domain_key, given_from, state, is_open, attempt, tries, doubt, crashes, not_before, expires_at,
         created_at)
     SELECT r.id, $2, r.subscription, r.variant, $3, 'digest', r.recipient, r.domain_key, r.given_from, 'pending',
         TRUE, 0, 0, 0, 0, $4, $5, $4
     FROM jsonb_to_recordset($1) AS r (id UUID, subscription UUID, variant UUID, recipient TEXT, domain_key TEXT,
         given_from JSONB)
     ON CONFLICT (issue_id, subscription_id) DO NOTHING";
const MOVE_SQLITE: &str = "UPDATE interests SET given_seq = r.given_to
     FROM (SELECT unhex(value ->> 'subscription', '-') AS subscription, unhex(value ->> 'topic_id', '-') AS topic,
             value ->> 'start_seq' AS began, value ->> 'cadence' AS rhythm, value ->> 'given_from' AS given_from,
             value ->> 'given_to' AS given_to
         FROM jsonb_each($1)) AS r
     WHERE subscription_id = r.subscription AND topic_id = r.topic AND start_seq = r.began AND cadence = r.rhythm
       AND given_seq = r.given_from";
const MOVE_POSTGRES: &str = "UPDATE interests SET given_seq = r.given_to
     FROM jsonb_to_recordset($1) AS r (subscription UUID, topic_id UUID, start_seq BIGINT, cadence TEXT,
         given_from BIGINT, given_to BIGINT)
     WHERE interests.subscription_id = r.subscription AND interests.topic_id = r.topic_id
       AND interests.start_seq = r.start_seq AND interests.cadence = r.cadence AND interests.given_seq = r.given_from";
const PUT_BACK_SQLITE: &str = "UPDATE interests SET given_seq = r.given_from
     FROM (SELECT unhex(value ->> 'subscription', '-') AS subscription, unhex(value ->> 'topic_id', '-') AS topic,
             value ->> 'start_seq' AS began, value ->> 'given_from' AS given_from, value ->> 'given_to' AS given_to
         FROM jsonb_each($1)) AS r
     WHERE subscription_id = r.subscription AND topic_id = r.topic AND start_seq = r.began AND given_seq = r.given_to";
const PUT_BACK_POSTGRES: &str = "UPDATE interests SET given_seq = r.given_from
     FROM jsonb_to_recordset($1) AS r (subscription UUID, topic_id UUID, start_seq BIGINT, given_from BIGINT,
         given_to BIGINT)
     WHERE interests.subscription_id = r.subscription AND interests.topic_id = r.topic_id
       AND interests.start_seq = r.start_seq AND interests.given_seq = r.given_to";
const ADVANCE: &str = "UPDATE issues SET prepared_to = $3, candidates = candidates + $4, queued = queued + $5,
         excluded = excluded + $6
     WHERE id = $1 AND state = 'preparing' AND prepared_at IS NULL AND prepared_to IS NOT DISTINCT FROM $2";
const STANDS_AT_SQLITE: &str = "SELECT id FROM issues
     WHERE id = $1 AND state = 'preparing' AND prepared_at IS NULL AND prepared_to IS NOT DISTINCT FROM $2";
// SHARE: the next chunk waits until this is committed
const STANDS_AT_POSTGRES: &str = "SELECT id FROM issues
     WHERE id = $1 AND state = 'preparing' AND prepared_at IS NULL AND prepared_to IS NOT DISTINCT FROM $2
     FOR SHARE";
// the subject that most readers got stands for the issue
const FINISH: &str = "UPDATE issues SET prepared_at = $3, subject = COALESCE(subject,
         (SELECT variants.subject FROM variants WHERE variants.issue_id = issues.id
          ORDER BY variants.recipients DESC, variants.id LIMIT 1))
     WHERE id = $1 AND state = 'preparing' AND prepared_at IS NULL AND prepared_to IS NOT DISTINCT FROM $2";
const VARIANTS: &str =
    "SELECT id, locale, subject, bytes, recipients FROM variants WHERE issue_id = $1
     ORDER BY recipients DESC, id";

/// Rows of one statement.
const ROWS: usize = 2000;

/// A delivery of an issue that is to be inserted, as the statement reads it.
#[derive(Clone, Debug, serde::Serialize)]
pub(in crate::issues) struct NewDelivery {
    pub(in crate::issues) id: DeliveryId,
    pub(in crate::issues) subscription: SubscriptionId,
    pub(in crate::issues) variant: VariantId,
    pub(in crate::issues) recipient: String,
    pub(in crate::issues) domain_key: String,
    pub(in crate::issues) given_from: Vec<Move>,
}

/// An interest that moves, if it still stands where it was read.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(in crate::issues) struct InterestMove<'a> {
    pub(in crate::issues) subscription: SubscriptionId,
    pub(in crate::issues) cadence: Cadence,
    #[serde(flatten)]
    pub(in crate::issues) moved: &'a Move,
}

/// An interest that returns, if nothing has moved it since.
#[derive(serde::Serialize)]
struct InterestReturn<'a> {
    subscription: SubscriptionId,
    #[serde(flatten)]
    moved: &'a Move,
}

/// A mail of an issue, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct VariantRow {
    /// Its id.
    pub id: VariantId,
    /// Its language.
    pub locale: String,
    /// Its subject.
    pub subject: String,
    /// Octets of one copy.
    pub bytes: i64,
    /// How many readers get it.
    pub recipients: i64,
}

/// Other issues of the newsletter with mails that have not come to their end, and how they stand: those that are
/// being sent, and those that were cancelled or failed and of which not everything is put back yet.
pub(in crate::issues) async fn unsent_issues(
    db: &Db,
    newsletter: NewsletterId,
    besides: IssueId,
) -> sqlx::Result<Vec<(IssueId, IssueState)>> {
    read_db!(db, |conn| sqlx::query_as(UNSENT_ISSUES)
        .bind(newsletter)
        .bind(besides)
        .fetch_all(conn)
        .await)
}

/// The mails of `issue` to readers from `first` to `last` that have not come to their end.
pub(in crate::issues) async fn unsent(
    db: &Db,
    issue: IssueId,
    (first, last): (SubscriptionId, SubscriptionId),
) -> sqlx::Result<Vec<Unsent>> {
    type Row = (
        DeliveryId,
        SubscriptionId,
        State,
        i64,
        Option<Json<Vec<Move>>>,
    );
    let rows: Vec<Row> = read_db!(db, |conn| sqlx::query_as(UNSENT)
        .bind(issue)
        .bind(first)
        .bind(last)
        .fetch_all(conn)
        .await)?;
    let unsent = |(id, subscription, state, doubt, given_from): Row| Unsent {
        id,
        subscription,
        state,
        doubt,
        given_from: given_from.map_or_else(Vec::new, |moves| moves.0),
    };
    Ok(rows.into_iter().map(unsent).collect())
}

/// The readers after `after` and up to `last` to whom an issue besides this one is on its way, as `tx` sees it.
pub(in crate::issues) async fn unsent_readers(
    tx: &mut Tx<'_>,
    newsletter: NewsletterId,
    besides: IssueId,
    (after, last): (SubscriptionId, SubscriptionId),
) -> sqlx::Result<HashSet<SubscriptionId>> {
    let issues: Vec<(IssueId, IssueState)> = write_db!(tx, |conn| sqlx::query_as(UNSENT_ISSUES)
        .bind(newsletter)
        .bind(besides)
        .fetch_all(conn)
        .await)?;
    let mut readers = HashSet::new();
    for (issue, _) in issues {
        let found: Vec<SubscriptionId> = write_db!(tx, |conn| sqlx::query_scalar(UNSENT_READERS)
            .bind(issue)
            .bind(after)
            .bind(last)
            .fetch_all(conn)
            .await)?;
        readers.extend(found);
    }
    Ok(readers)
}

/// Skips these deliveries of an issue that stands at `state`, where they are still unsent, and puts their interests
/// back. Whose they were.
pub(in crate::issues) async fn supersede(
    tx: &mut Tx<'_>,
    state: IssueState,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> sqlx::Result<Vec<SubscriptionId>> {
    let sql = tx.pick(SUPERSEDE_SQLITE, SUPERSEDE_POSTGRES);
    // of an issue that is over, nothing is marked any more: what a worker has claimed is skipped too
    let and_claimed = !state.is_open();
    let mut skipped = Vec::new();
    let mut moves: Vec<(SubscriptionId, Move)> = Vec::new();
    for ids in deliveries.chunks(ROWS) {
        let rows: Vec<(SubscriptionId, Option<Json<Vec<Move>>>)> =
            write_db!(tx, |conn| sqlx::query_as(sql)
                .bind(Json(ids))
                .bind(now)
                .bind(and_claimed)
                .fetch_all(conn)
                .await)?;
        skipped.extend(rows.iter().map(|(subscription, _)| *subscription));
        for (subscription, given_from) in rows {
            let given_from = given_from.map_or_else(Vec::new, |given_from| given_from.0);
            moves.extend(given_from.into_iter().map(|moved| (subscription, moved)));
        }
    }
    put_back(tx, &moves).await?;
    Ok(skipped)
}

/// Puts interests back to where they stood before a delivery that was never sent, where nothing has moved them since.
pub async fn put_back(tx: &mut Tx<'_>, moves: &[(SubscriptionId, Move)]) -> sqlx::Result<()> {
    let sql = tx.pick(PUT_BACK_SQLITE, PUT_BACK_POSTGRES);
    for moves in moves.chunks(ROWS) {
        let rows: Vec<_> = moves
            .iter()
            .map(|(subscription, moved)| InterestReturn {
                subscription: *subscription,
                moved,
            })
            .collect();
        write_db!(tx, |conn| sqlx::query(sql)
            .bind(Json(rows))
            .execute(conn)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// The variant of an issue with this key.
pub(in crate::issues) async fn variant_id(
    db: &Db,
    issue: IssueId,
    key: &[u8; 32],
) -> sqlx::Result<Option<VariantId>> {
    read_db!(db, |conn| sqlx::query_scalar(VARIANT_ID)
        .bind(issue)
        .bind(&key[..])
        .fetch_optional(conn)
        .await)
}

/// Inserts a variant; `false` when the issue has one of this key.
pub(in crate::issues) async fn insert_variant(
    tx: &mut Tx<'_>,
    issue: IssueId,
    id: VariantId,
    variant: &Variant,
) -> sqlx::Result<bool> {
    let bytes = i64::try_from(variant.encoded.wire_bytes()).unwrap_or(i64::MAX);
    let rows = write_db!(tx, |conn| sqlx::query(INSERT_VARIANT)
        .bind(id)
        .bind(issue)
        .bind(&variant.key[..])
        .bind(&variant.language)
        .bind(Json(&variant.articles))
        .bind(&variant.rendered.subject)
        .bind(variant.encoded.to_bytes())
        .bind(bytes)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Adds to the number of readers of a variant.
pub(in crate::issues) async fn count_recipients(
    tx: &mut Tx<'_>,
    variant: VariantId,
    more: i64,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(COUNT_RECIPIENTS)
        .bind(variant)
        .bind(more)
        .execute(conn)
        .await
        .map(drop))
}

/// Inserts pending deliveries. How many: a reader has at most one of an issue.
pub(in crate::issues) async fn insert_deliveries(
    tx: &mut Tx<'_>,
    issue: IssueId,
    newsletter: NewsletterId,
    deliveries: &[NewDelivery],
    now: Timestamp,
    expires_at: Timestamp,
) -> sqlx::Result<u64> {
    let sql = tx.pick(INSERT_DELIVERIES_SQLITE, INSERT_DELIVERIES_POSTGRES);
    let mut inserted = 0;
    for rows in deliveries.chunks(ROWS) {
        inserted += write_db!(tx, |conn| sqlx::query(sql)
            .bind(Json(rows))
            .bind(issue)
            .bind(newsletter)
            .bind(now)
            .bind(expires_at)
            .execute(conn)
            .await?
            .rows_affected());
    }
    Ok(inserted)
}

/// Moves interests that still stand where they were read. How many did.
pub(in crate::issues) async fn move_interests(
    tx: &mut Tx<'_>,
    moves: &[InterestMove<'_>],
) -> sqlx::Result<u64> {
    let sql = tx.pick(MOVE_SQLITE, MOVE_POSTGRES);
    let mut done = 0;
    for rows in moves.chunks(ROWS) {
        done += write_db!(tx, |conn| sqlx::query(sql)
            .bind(Json(rows))
            .execute(conn)
            .await?
            .rows_affected());
    }
    Ok(done)
}

/// What one chunk adds to an issue's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCounts {
    /// Active readers looked at.
    pub candidates: i64,
    /// Deliveries made.
    pub queued: i64,
    /// Readers it had nothing for, who are paused, or who wait for the end of an older mail.
    pub excluded: i64,
}

/// Records a chunk; `false` when another process was faster or the issue is not preparing any more.
pub(in crate::issues) async fn advance(
    tx: &mut Tx<'_>,
    issue: IssueId,
    from: Option<SubscriptionId>,
    to: SubscriptionId,
    counts: ChunkCounts,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(ADVANCE)
        .bind(issue)
        .bind(from)
        .bind(to)
        .bind(counts.candidates)
        .bind(counts.queued)
        .bind(counts.excluded)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// Whether nobody has taken the issue further than `prepared_to`; it stays there until the transaction ends.
pub(in crate::issues) async fn stands_at(
    tx: &mut Tx<'_>,
    issue: IssueId,
    prepared_to: Option<SubscriptionId>,
) -> sqlx::Result<bool> {
    let sql = tx.pick(STANDS_AT_SQLITE, STANDS_AT_POSTGRES);
    let found: Option<IssueId> = write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(issue)
        .bind(prepared_to)
        .fetch_optional(conn)
        .await)?;
    Ok(found.is_some())
}

/// Records that everybody was looked at; `false` as [`advance`].
pub(in crate::issues) async fn finish(
    tx: &mut Tx<'_>,
    issue: IssueId,
    from: Option<SubscriptionId>,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let rows = write_db!(tx, |conn| sqlx::query(FINISH)
        .bind(issue)
        .bind(from)
        .bind(now)
        .execute(conn)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

/// The variants of an issue, the one most readers get first.
pub async fn variants(db: &Db, issue: IssueId) -> sqlx::Result<Vec<VariantRow>> {
    read_db!(db, |conn| sqlx::query_as(VARIANTS)
        .bind(issue)
        .fetch_all(conn)
        .await)
}

const MESSAGE: &str = "SELECT variants.message, issues.released_at, newsletters.from_address
     FROM variants JOIN issues ON issues.id = variants.issue_id
     JOIN newsletters ON newsletters.id = issues.newsletter_id WHERE variants.id = $1";

/// A variant's stored message (see `mail::Encoded::from_bytes`), when its issue was released, and the newsletter's
/// address.
pub(in crate::issues) async fn message(
    db: &Db,
    id: VariantId,
) -> sqlx::Result<Option<(Vec<u8>, Option<Timestamp>, String)>> {
    read_db!(db, |conn| sqlx::query_as(MESSAGE)
        .bind(id)
        .fetch_optional(conn)
        .await)
}
