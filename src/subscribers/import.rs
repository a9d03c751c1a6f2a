//! Bringing confirmed readers along from elsewhere. An import is the operator's recorded statement that they agreed;
//! it never brings back anyone who left, bounced or complained.

use std::sync::Arc;

use serde_json::json;

use super::SubscriptionState;
use super::confirm::start_interests;
use super::consent::{self, ConsentKind, NewEvent};
use super::evidence::{Channel, Evidence};
use super::import_file::ImportRow;
use super::store::{self, NewSubscription};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::id::NewsletterId;

/// Rows of one transaction.
pub const BATCH: usize = 500;

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// New subscriptions.
    pub added: usize,
    /// Readers who were subscribed already.
    pub already: usize,
    /// People who left this newsletter, or whose mail bounced, or who complained.
    pub ended: usize,
    /// Addresses that are not to be mailed.
    pub suppressed: usize,
}

/// Imports a batch in one transaction. Again is harmless: who is there already stays as they are.
pub async fn import(
    app: &Arc<App>,
    newsletter: NewsletterId,
    rows: Vec<ImportRow>,
    source: &str,
) -> sqlx::Result<Imported> {
    let (work, source) = (app.clone(), source.to_owned());
    app.db
        .write(move |tx| {
            Box::pin(async move { batch(tx, &work, newsletter, &rows, &source).await })
        })
        .await
}

/// What an import of `rows` would do now. Nothing is changed.
pub async fn dry_run(
    app: &Arc<App>,
    newsletter: NewsletterId,
    rows: Vec<ImportRow>,
) -> sqlx::Result<Imported> {
    let work = app.clone();
    let counted = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                // undone on purpose: the same path as the real one, and nothing of it stays
                Err::<(), _>(Counted::Imported(
                    batch(tx, &work, newsletter, &rows, "").await?,
                ))
            })
        })
        .await;
    match counted {
        Err(Counted::Imported(imported)) => Ok(imported),
        Err(Counted::Db(error)) => Err(error),
        Ok(()) => Ok(Imported::default()),
    }
}

enum Counted {
    Imported(Imported),
    Db(sqlx::Error),
}

impl From<sqlx::Error> for Counted {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error)
    }
}

enum Became {
    Added,
    Already,
    Ended,
    Suppressed,
}

async fn batch(
    tx: &mut Tx<'_>,
    app: &App,
    newsletter: NewsletterId,
    rows: &[ImportRow],
    source: &str,
) -> sqlx::Result<Imported> {
    let now = app.clock.now();
    let mut imported = Imported::default();
    for row in rows {
        let counter = match one(tx, app, newsletter, row, source, now).await? {
            Became::Added => &mut imported.added,
            Became::Already => &mut imported.already,
            Became::Ended => &mut imported.ended,
            Became::Suppressed => &mut imported.suppressed,
        };
        *counter += 1;
    }
    Ok(imported)
}

async fn one(
    tx: &mut Tx<'_>,
    app: &App,
    newsletter: NewsletterId,
    row: &ImportRow,
    source: &str,
    now: Timestamp,
) -> sqlx::Result<Became> {
    let key = row.email.key();
    // whatever the reason: only the owner's own sign-up may bring an address back
    for pepper in app.keys.suppression_keys(key.as_str()) {
        if !store::suppressions(tx, &pepper.hash, newsletter)
            .await?
            .is_empty()
        {
            return Ok(Became::Suppressed);
        }
    }
    if let Some((_, state, _)) = store::membership_state(tx, key, newsletter).await? {
        return Ok(match state {
            SubscriptionState::Active => Became::Already,
            SubscriptionState::Unsubscribed
            | SubscriptionState::Bounced
            | SubscriptionState::Complained => Became::Ended,
        });
    }
    store::insert_subscriber(tx, app.ids.next(), &row.email, None, now).await?;
    let subscriber = store::subscriber_by_key(tx, key).await?;
    let new = NewSubscription {
        id: app.ids.next(),
        subscriber_id: subscriber,
        newsletter_id: newsletter,
        started_at: now,
    };
    if !store::insert_subscription(tx, &new).await? {
        return Ok(Became::Already);
    }
    let cadence = start_interests(tx, newsletter, &row.selection, new.id).await?;
    let event = NewEvent {
        subscriber,
        email_key: key,
        newsletter,
        kind: ConsentKind::Imported,
        evidence: &Evidence::of(Channel::CommandLine),
        detail: json!({
            "source": source,
            "line": row.line,
            "topics": row.selection.topics,
            "cadence": cadence,
        }),
    };
    consent::record(tx, app, event, now).await?;
    Ok(Became::Added)
}
