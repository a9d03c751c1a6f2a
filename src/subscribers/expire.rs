//! Removing what nobody will ask for again.

use super::{limits, store};
use crate::app::App;

/// Removes sign-ups that were not confirmed in time and counters of windows long past. How many rows.
///
/// A pending person is no subscriber: what they typed goes when their link does.
pub async fn remove_outdated(app: &App) -> sqlx::Result<u64> {
    let now = app.clock.now();
    let oldest = now - limits::longest(&app.config.signup);
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let signups = store::remove_expired_signups(tx, now).await?;
                let limits = store::remove_old_hits(tx, oldest).await?;
                Ok(signups + limits)
            })
        })
        .await
}
