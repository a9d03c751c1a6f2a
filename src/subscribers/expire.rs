//! Removing what nobody will ask for again.

use std::time::Duration;

use super::store;
use crate::clock::Timestamp;
use crate::db::Db;

/// The longest window of a limit, and a day.
const LIMITS_KEPT: Duration = Duration::from_hours(31 * 24);

/// Removes sign-ups that were not confirmed in time and counters of windows long past. How many rows.
///
/// A pending person is no subscriber: what they typed goes when their link does.
pub async fn remove_outdated(db: &Db, now: Timestamp) -> sqlx::Result<u64> {
    db.write(move |tx| {
        Box::pin(async move {
            let signups = store::remove_expired_signups(tx, now).await?;
            let limits = store::remove_old_hits(tx, now - LIMITS_KEPT).await?;
            Ok(signups + limits)
        })
    })
    .await
}
