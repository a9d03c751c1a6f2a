//! Bringing confirmed readers along from elsewhere. An import is the operator's recorded statement that they agreed;
//! it never brings back anyone who left, bounced or complained.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;

use super::SubscriptionState;
use super::beginning::Beginning;
use super::consent::{self, ConsentKind, NewEvent};
use super::evidence::{Channel, Evidence};
use super::import_file::ImportRow;
use super::store::{self, NewSubscription};
use crate::app::App;
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

async fn batch(
    tx: &mut Tx<'_>,
    app: &App,
    newsletter: NewsletterId,
    rows: &[ImportRow],
    source: &str,
) -> sqlx::Result<Imported> {
    let mut imported = Imported::default();
    if rows.is_empty() {
        return Ok(imported);
    }
    let welcome = welcome(tx, app, newsletter, rows, &mut imported).await?;
    if !welcome.is_empty() {
        subscribe(tx, app, newsletter, &welcome, source, &mut imported).await?;
    }
    Ok(imported)
}

/// Those who may be brought along and are not there yet; the others are counted.
async fn welcome<'r>(
    tx: &mut Tx<'_>,
    app: &App,
    newsletter: NewsletterId,
    rows: &'r [ImportRow],
    imported: &mut Imported,
) -> sqlx::Result<Vec<&'r ImportRow>> {
    // whatever the reason: only the owner's own sign-up may bring an address back
    let hashes_of = |row: &ImportRow| app.keys.suppression_keys(row.email.key().as_str());
    let hashes: Vec<_> = rows.iter().map(hashes_of).collect();
    let all: Vec<_> = hashes.iter().flatten().map(|hash| hash.hash).collect();
    let suppressed: HashSet<_> = store::suppressed(tx, &all, newsletter)
        .await?
        .into_iter()
        .collect();
    let keys: Vec<_> = rows.iter().map(|row| row.email.key()).collect();
    let members: HashMap<_, _> = store::members(tx, &keys, newsletter)
        .await?
        .into_iter()
        .collect();
    let mut welcome = Vec::with_capacity(rows.len());
    for (row, hashes) in rows.iter().zip(&hashes) {
        let is_suppressed = hashes
            .iter()
            .any(|hash| suppressed.contains(&hash.hash[..]));
        match members.get(row.email.key()) {
            _ if is_suppressed => imported.suppressed += 1,
            None => welcome.push(row),
            Some(SubscriptionState::Active) => imported.already += 1,
            Some(
                SubscriptionState::Unsubscribed
                | SubscriptionState::Bounced
                | SubscriptionState::Complained,
            ) => imported.ended += 1,
        }
    }
    Ok(welcome)
}

async fn subscribe(
    tx: &mut Tx<'_>,
    app: &App,
    newsletter: NewsletterId,
    rows: &[&ImportRow],
    source: &str,
    imported: &mut Imported,
) -> sqlx::Result<()> {
    let now = app.clock.now();
    let people: Vec<_> = rows
        .iter()
        .map(|row| (app.ids.next(), &row.email))
        .collect();
    let subscribers: HashMap<_, _> = store::subscribers(tx, &people, now)
        .await?
        .into_iter()
        .collect();
    let new = |row: &&ImportRow| {
        let subscriber_id = subscribers.get(row.email.key()).copied();
        Ok(NewSubscription {
            id: app.ids.next(),
            subscriber_id: subscriber_id.ok_or(sqlx::Error::RowNotFound)?,
            newsletter_id: newsletter,
            started_at: now,
        })
    };
    let subscriptions: Vec<_> = rows.iter().map(new).collect::<sqlx::Result<_>>()?;
    let added: HashSet<_> = store::insert_subscriptions(tx, &subscriptions)
        .await?
        .into_iter()
        .collect();
    // whom somebody else subscribed at this moment
    imported.already += rows.len() - added.len();
    imported.added += added.len();
    if added.is_empty() {
        return Ok(());
    }

    let beginning = Beginning::of(tx, newsletter).await?;
    let evidence = Evidence::of(Channel::CommandLine);
    let (mut interests, mut events) = (Vec::new(), Vec::new());
    for (row, subscription) in rows.iter().zip(&subscriptions) {
        if !added.contains(&subscription.id) {
            continue;
        }
        interests.extend(beginning.interests(&row.selection, subscription.id));
        events.push(NewEvent {
            subscriber: subscription.subscriber_id,
            email_key: row.email.key(),
            newsletter,
            kind: ConsentKind::Imported,
            evidence: &evidence,
            detail: json!({
                "source": source,
                "line": row.line,
                "topics": row.selection.topics,
                "cadence": beginning.cadence(&row.selection),
            }),
        });
    }
    store::start_interests(tx, &interests).await?;
    consent::record_all(tx, app, &events, now).await
}
