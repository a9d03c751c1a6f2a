//! A request that is sent twice is done once (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

use super::store;
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Db;

/// How long an answer is kept to be given again.
const KEPT: Duration = Duration::from_hours(24);
/// A first request that has not answered for so long has died with its process.
const ABANDONED: Duration = Duration::from_mins(5);

/// Whose key, and what it was sent with.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who: a token's id.
    pub scope: String,
    /// The key, as the client chose it.
    pub key: String,
    /// SHA-256 of what was asked.
    pub request_hash: [u8; 32],
}

/// What a key says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: do it, then [`finish`] or [`forget`].
    New,
    /// It was done: this was the answer.
    Done {
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The first is still at work.
    Running,
    /// The key was used for something else.
    Mismatch,
}

/// Begins a request under its key.
pub async fn begin(app: &App, claim: Claim) -> sqlx::Result<Begun> {
    let now = app.clock.now();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::remove_keys(tx, now - KEPT, now - ABANDONED).await?;
                if store::insert_key(tx, &claim, now).await? {
                    return Ok(Begun::New);
                }
                let known = store::key(tx, &claim).await?;
                Ok(match known {
                    None => Begun::Running,
                    Some(known) if known.request_hash != claim.request_hash => Begun::Mismatch,
                    Some(known) => match (known.status, known.response) {
                        (Some(status), Some(body)) => Begun::Done {
                            status: u16::try_from(status).unwrap_or(500),
                            body,
                        },
                        _ => Begun::Running,
                    },
                })
            })
        })
        .await
}

/// Keeps the answer, to be given again.
pub async fn finish(app: &App, claim: Claim, status: u16, body: String) -> sqlx::Result<()> {
    app.db
        .write(move |tx| {
            Box::pin(async move { store::finish_key(tx, &claim, status, &body).await })
        })
        .await
}

/// Frees the key after a request that changed nothing: it may be sent again.
pub async fn forget(app: &App, claim: Claim) -> sqlx::Result<()> {
    app.db
        .write(move |tx| Box::pin(async move { store::forget_key(tx, &claim).await }))
        .await
}

/// Removes keys whose time is over. How many.
pub async fn remove_outdated(db: &Db, now: Timestamp) -> sqlx::Result<u64> {
    db.write(move |tx| {
        Box::pin(async move { store::remove_keys(tx, now - KEPT, now - ABANDONED).await })
    })
    .await
}
