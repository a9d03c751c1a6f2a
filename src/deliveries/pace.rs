//! How fast relays are used: a token for each message, before its envelope is written.
//!
//! A relay's level stands in the database and is written with each token, so that all workers together keep the
//! allowance, and a restart does not fill the bucket.

use super::store;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::smtp::allowance::Allowance;

/// Takes a token for one message over `relay`; `Err` says when to ask again.
pub async fn take(
    db: &Db,
    relay: &str,
    allowance: Allowance,
    now: Timestamp,
) -> sqlx::Result<Result<(), Timestamp>> {
    let relay = relay.to_owned();
    db.write(move |tx| {
        Box::pin(async move {
            let full_at = store::pace::level(tx, &relay).await?;
            match allowance.take(full_at, now) {
                Ok(full_at) => {
                    store::pace::set_level(tx, &relay, full_at).await?;
                    Ok(Ok(()))
                }
                Err(next) => Ok(Err(next)),
            }
        })
    })
    .await
}
