//! What an operator sees of a restored instance before they let it send.

use serde::{Deserialize, Serialize};

use super::store;
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::newsletters::slots;

/// The setting `sending_paused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pause {
    pub(super) at: Timestamp,
    pub(super) reason: String,
    /// The database was restored or copied.
    #[serde(default)]
    pub(super) restored: bool,
    /// Unsubscribes that it had forgotten.
    #[serde(default)]
    pub(super) replayed: i64,
}

/// Why a restored instance is paused, and what would follow if it sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Since when.
    pub at: Timestamp,
    /// How it was known.
    pub reason: String,
    /// Mails that wait, or were on the wire, in the copy: they may have been sent since.
    pub may_repeat: i64,
    /// Unsubscribes that the copy had forgotten and that were replayed.
    pub replayed: i64,
    /// Slots that were missed since it is paused, or are due now: their issues may have gone out before.
    pub slots: i64,
}

/// Pauses all sending because the database is not the one that was here last, and counts what was replayed. It takes
/// the place of an operator's pause; the first reason stays.
pub async fn pause_restored(
    tx: &mut Tx<'_>,
    reason: &str,
    replayed: i64,
    now: Timestamp,
) -> sqlx::Result<()> {
    let before = store::pause_in(tx).await?.filter(|pause| pause.restored);
    let mut pause = before.unwrap_or_else(|| Pause {
        at: now,
        reason: reason.to_owned(),
        restored: true,
        replayed: 0,
    });
    pause.replayed += replayed;
    store::save_pause(tx, &pause).await
}

/// The value of the setting that pauses a restored database, for a file that no service has open.
pub fn restored_pause(reason: &str, now: Timestamp) -> serde_json::Value {
    serde_json::json!({ "at": now, "reason": reason, "restored": true })
}

/// `None` unless sending is paused because the database was restored or copied.
pub async fn overview(app: &App) -> sqlx::Result<Option<Restored>> {
    let pause = store::pause(&app.db).await?;
    let Some(pause) = pause.filter(|pause| pause.restored) else {
        return Ok(None);
    };
    let plan = slots::find(&app.db, app.clock.now()).await?;
    let due: usize = plan.due.iter().map(|issue| issue.slots.len()).sum();
    let unsettled = i64::try_from(plan.missed.len() + due).unwrap_or(i64::MAX);
    Ok(Some(Restored {
        at: pause.at,
        may_repeat: store::may_repeat(&app.db).await?,
        replayed: pause.replayed,
        slots: unsettled + store::slots_since(&app.db, pause.at).await?,
        reason: pause.reason,
    }))
}
