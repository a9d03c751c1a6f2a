//! What goes back: rows that wait again, and interests that return to where a delivery had moved them from.

use sqlx::types::Json;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::deliveries::Claimed;
use crate::id::{DeliveryId, SubscriptionId, TopicId, WorkerId};
use crate::write_db;

const GIVE_BACK_SQLITE: &str =
    "UPDATE deliveries SET state = 'pending', owner = NULL, lease_until = NULL, not_before = r.not_before
     FROM (SELECT unhex(value ->> 'id', '-') AS delivery, value ->> 'attempt' AS attempt_made,
             unhex(value ->> 'owner', '-') AS worker, value ->> 'not_before' AS not_before
         FROM json_each($1)) AS r
     WHERE id = r.delivery AND attempt = r.attempt_made AND owner = r.worker
       AND state IN ('claimed', 'transmitting')";
const GIVE_BACK_POSTGRES: &str =
    "UPDATE deliveries SET state = 'pending', owner = NULL, lease_until = NULL,
         not_before = TIMESTAMPTZ 'epoch' + r.not_before * INTERVAL '1 microsecond'
     FROM jsonb_to_recordset($1) AS r (id UUID, attempt BIGINT, owner UUID, not_before BIGINT)
     WHERE deliveries.id = r.id AND deliveries.attempt = r.attempt AND deliveries.owner = r.owner
       AND deliveries.state IN ('claimed', 'transmitting')";

const MOVED: &str = "SELECT d.subscription_id, d.given_from, i.cutoff_seq
     FROM deliveries AS d JOIN issues AS i ON i.id = d.issue_id
     WHERE d.id = $1 AND d.doubt = 0 AND d.given_from IS NOT NULL AND i.cutoff_seq IS NOT NULL";
const INTERESTS_SQLITE: &str =
    "SELECT topic_id, start_seq, given_seq FROM interests WHERE subscription_id = $1";
// an issue that is prepared for this reader meanwhile is waited for
const INTERESTS_POSTGRES: &str =
    "SELECT topic_id, start_seq, given_seq FROM interests WHERE subscription_id = $1
     ORDER BY topic_id, start_seq FOR UPDATE";
// By whatever issue and interest: one of its articles stands in another mail that was not taken back.
const GIVEN_SQLITE: &str = "SELECT EXISTS (SELECT 1 FROM deliveries AS d
         JOIN variants AS v ON v.id = d.variant_id JOIN json_each(v.article_ids) AS lacked
         JOIN deliveries AS other ON other.subscription_id = d.subscription_id AND other.id <> d.id
         JOIN variants AS w ON w.id = other.variant_id JOIN json_each(w.article_ids) AS shown
     WHERE d.id = $1 AND shown.value = lacked.value AND other.state <> 'skipped'
       AND (other.state <> 'failed' OR other.reason IS DISTINCT FROM 'expired'))";
const GIVEN_POSTGRES: &str = "SELECT EXISTS (SELECT 1 FROM deliveries AS d
         JOIN variants AS v ON v.id = d.variant_id
         CROSS JOIN jsonb_array_elements(v.article_ids) AS lacked (id)
         JOIN deliveries AS other ON other.subscription_id = d.subscription_id AND other.id <> d.id
         JOIN variants AS w ON w.id = other.variant_id
         CROSS JOIN jsonb_array_elements(w.article_ids) AS shown (id)
     WHERE d.id = $1 AND shown.id = lacked.id AND other.state <> 'skipped'
       AND (other.state <> 'failed' OR other.reason IS DISTINCT FROM 'expired'))";
const MOVE: &str = "UPDATE interests SET given_seq = $5
     WHERE subscription_id = $1 AND topic_id = $2 AND start_seq = $3 AND given_seq = $4";

/// A claimed delivery that waits again: certainly nothing of it was transmitted in this attempt, marked or not.
#[derive(Clone, Debug, serde::Serialize)]
pub(in crate::deliveries) struct GivenBack {
    pub(in crate::deliveries) id: DeliveryId,
    attempt: i64,
    owner: WorkerId,
    not_before: i64,
}

impl GivenBack {
    pub(in crate::deliveries) fn of(claimed: &Claimed, not_before: Timestamp) -> Self {
        Self {
            id: claimed.id,
            attempt: claimed.attempt,
            owner: claimed.owner,
            not_before: not_before.as_micros(),
        }
    }
}

/// Puts back rows of which certainly nothing was transmitted in this attempt, marked or not.
pub(in crate::deliveries) async fn give_back(
    tx: &mut Tx<'_>,
    rows: &[GivenBack],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.pick(GIVE_BACK_SQLITE, GIVE_BACK_POSTGRES);
    write_db!(tx, |conn| sqlx::query(sql)
        .bind(Json(rows))
        .execute(conn)
        .await
        .map(drop))
}

/// An interest that a digest moves, and where it stood before.
///
/// As JSON it is what `issues::due::Move` writes beside a delivery: that one says where to as well, which the issue's
/// cutoff says here.
#[derive(PartialEq, Eq, serde::Deserialize, sqlx::FromRow)]
struct GivenFrom {
    topic_id: TopicId,
    start_seq: i64,
    /// Its `given_seq` before the issue.
    #[serde(rename = "given_from")]
    given_seq: i64,
}

#[derive(sqlx::FromRow)]
struct Moved {
    subscription_id: SubscriptionId,
    given_from: Json<Vec<GivenFrom>>,
    cutoff_seq: i64,
}

/// The interests that a delivery moved, and where from and to. `None` where doubt remains: it may have arrived.
async fn moved(tx: &mut Tx<'_>, delivery: DeliveryId) -> sqlx::Result<Option<Moved>> {
    write_db!(tx, |conn| sqlx::query_as(MOVED)
        .bind(delivery)
        .fetch_optional(conn)
        .await)
}

/// Gives back the articles of a delivery that was not sent through our doing: its interests return to where they were,
/// unless a later issue has moved them.
pub(in crate::deliveries) async fn put_back(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
) -> sqlx::Result<()> {
    let Some(moved) = moved(tx, delivery).await? else {
        return Ok(());
    };
    for from in &moved.given_from.0 {
        move_interest(
            tx,
            moved.subscription_id,
            from,
            moved.cutoff_seq,
            from.given_seq,
        )
        .await?;
    }
    Ok(())
}

/// The opposite of [`put_back`]. `false`, and nothing moved, when a later issue gave the articles.
pub(in crate::deliveries) async fn move_again(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
) -> sqlx::Result<bool> {
    let Some(moved) = moved(tx, delivery).await? else {
        return Ok(true);
    };
    let sql = tx.pick(INTERESTS_SQLITE, INTERESTS_POSTGRES);
    let stand: Vec<GivenFrom> = write_db!(tx, |conn| sqlx::query_as(sql)
        .bind(moved.subscription_id)
        .fetch_all(conn)
        .await)?;
    let sql = tx.pick(GIVEN_SQLITE, GIVEN_POSTGRES);
    let given: bool = write_db!(tx, |conn| sqlx::query_scalar(sql)
        .bind(delivery)
        .fetch_one(conn)
        .await)?;
    if given || moved.given_from.0.iter().any(|from| !stand.contains(from)) {
        return Ok(false);
    }
    for from in &moved.given_from.0 {
        let (subscription, cutoff) = (moved.subscription_id, moved.cutoff_seq);
        move_interest(tx, subscription, from, from.given_seq, cutoff).await?;
    }
    Ok(true)
}

async fn move_interest(
    tx: &mut Tx<'_>,
    subscription: SubscriptionId,
    interest: &GivenFrom,
    expected: i64,
    new: i64,
) -> sqlx::Result<()> {
    write_db!(tx, |conn| sqlx::query(MOVE)
        .bind(subscription)
        .bind(interest.topic_id)
        .bind(interest.start_seq)
        .bind(expected)
        .bind(new)
        .execute(conn)
        .await
        .map(drop))
}
