//! Removing what is outdated: sign-ups that were never confirmed, counters of past windows, old idempotency keys.

use crate::accounts::idempotency;
use crate::app::App;
use crate::subscribers;

/// Removes it. May run at any time, and twice.
pub async fn run(app: &App) -> sqlx::Result<()> {
    let mut removed = subscribers::expire::remove_outdated(app).await?;
    removed += idempotency::remove_outdated(&app.db, app.clock.now()).await?;
    if removed > 0 {
        tracing::info!(removed, "Removed {removed} outdated rows");
    }
    Ok(())
}
