//! The suppression journal at a start: what a restored database forgot is ended again, what the journal lacks is added.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::evidence::{Channel, Evidence};
use super::store;
use super::unsubscribe::{self, Goodbye};
use crate::app::App;
use crate::clock::Timestamp;
use crate::id::SubscriptionId;
use crate::instance;
use crate::suppressions::journal::{Entry, Journal, Kind};

/// Subscriptions that are looked at, or ended, together.
const CHUNK: usize = 500;

/// Why the journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read or written.
    #[error(
        "cannot use the suppression journal {path}: check that its folder is there and belongs to this user"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database did not answer.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Ends what the journal says and the database has forgotten, then adds to the journal what only the tables know. How
/// many subscriptions were ended. Again is harmless.
///
/// In a database that was never put back there is nothing to end, because the journal is written after the commit. So
/// one that has something to end is a restored one, and all sending is paused.
pub async fn at_start(app: &Arc<App>) -> Result<usize, ReplayError> {
    let Some(journal) = &app.journal else {
        return Ok(0);
    };
    let failed = |source| ReplayError::File {
        path: journal.path().to_owned(),
        source,
    };
    let loaded = journal.load().await.map_err(failed)?;
    if let Some(first) = loaded.damaged.first() {
        tracing::error!(
            "The suppression journal {} has {} damaged lines, the first is line {first}: what they said cannot be \
             replayed into a restored database",
            journal.path().display(),
            loaded.damaged.len()
        );
    }
    let ended = replay(app, &loaded.latest).await?;
    let added = complete(app, journal, &loaded.latest)
        .await
        .map_err(|error| match error {
            CompleteError::Db(error) => ReplayError::Db(error),
            CompleteError::File(source) => failed(source),
        })?;
    if ended > 0 {
        tracing::warn!(
            "{ended} subscriptions that the database had forgotten to be ended were ended from the journal"
        );
    }
    if added > 0 {
        tracing::warn!("{added} unsubscribes were missing in the journal and were added to it");
    }
    Ok(ended)
}

async fn replay(
    app: &Arc<App>,
    latest: &HashMap<SubscriptionId, Timestamp>,
) -> sqlx::Result<usize> {
    let ids: Vec<SubscriptionId> = latest.keys().copied().collect();
    let mut ended = 0;
    for chunk in ids.chunks(CHUNK) {
        // who came back after they had left stays
        let forgotten: Vec<Goodbye> = store::active_among(&app.db, chunk)
            .await?
            .into_iter()
            .map(|(subscription, started_at)| (subscription, started_at, latest[&subscription]))
            .filter(|(_, started_at, left_at)| started_at <= left_at)
            .map(|(subscription, _, at)| Goodbye {
                subscription,
                issue: None,
                at,
            })
            .collect();
        if !forgotten.is_empty() {
            ended += end(app, forgotten).await?;
        }
    }
    Ok(ended)
}

/// Ends these in one transaction, which pauses all sending too.
async fn end(app: &Arc<App>, forgotten: Vec<Goodbye>) -> sqlx::Result<usize> {
    let work = app.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let evidence = Evidence::of(Channel::Journal);
                let mut ended = 0;
                for goodbye in forgotten {
                    let left = unsubscribe::leave(tx, &work, goodbye, &evidence).await?;
                    ended += i64::from(left.is_now());
                }
                let reason = "the database had forgotten unsubscribes that the suppression journal knows: it was \
                              restored from a copy";
                instance::pause_restored(tx, reason, ended, work.clock.now()).await?;
                Ok::<_, sqlx::Error>(usize::try_from(ended).unwrap_or_default())
            })
        })
        .await
}

enum CompleteError {
    Db(sqlx::Error),
    File(io::Error),
}

/// Adds the unsubscribes that the tables know and the journal does not: its writing failed, or the process died between
/// the commit and the writing, or the file is new. How many.
async fn complete(
    app: &App,
    journal: &Journal,
    latest: &HashMap<SubscriptionId, Timestamp>,
) -> Result<usize, CompleteError> {
    let mut after = SubscriptionId(uuid::Uuid::nil());
    let mut added = 0;
    loop {
        let page = store::ended_after(&app.db, after, CHUNK)
            .await
            .map_err(CompleteError::Db)?;
        let Some(last) = page.last() else {
            return Ok(added);
        };
        after = last.id;
        let missing: Vec<Entry> = page
            .into_iter()
            .filter(|ended| {
                latest
                    .get(&ended.id)
                    .is_none_or(|known| *known < ended.ended_at)
            })
            .map(|ended| Entry {
                kind: Kind::Unsubscribe,
                at: ended.ended_at,
                subscription: ended.id,
                address: Some(app.keys.suppression_key(&ended.email_key)),
            })
            .collect();
        if !missing.is_empty() {
            added += missing.len();
            journal
                .append(&missing)
                .await
                .map_err(CompleteError::File)?;
        }
    }
}
