//! How relays stand, written down for people: the command line and `/readyz` run in other processes.

use super::store;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::smtp::health::Health;
use crate::smtp::route::Standing;
use crate::telemetry::mask_emails;
use crate::text_enum;

text_enum! {
    /// How a relay stands.
    pub enum RelayState {
        /// In use, or ready to be.
        Ok = "ok",
        /// It rests after a failure and is tried again by itself.
        BackingOff = "backing_off",
        /// It needs a person. Tried once an hour nevertheless.
        Halted = "halted",
    }
}

/// What was written down about a relay.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct RelayRow {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: RelayState,
    /// When it is tried again.
    pub until: Option<Timestamp>,
    /// What happened.
    pub reason: Option<String>,
    /// Since when it stands so.
    pub changed_at: Timestamp,
}

impl RelayRow {
    fn of(standing: &Standing, now: Timestamp) -> Self {
        let (state, until, reason) = match &standing.health {
            Health::Ok => (RelayState::Ok, None, None),
            Health::BackingOff { until, reason } => {
                (RelayState::BackingOff, Some(*until), Some(reason))
            }
            Health::Halted { until, reason } => (RelayState::Halted, Some(*until), Some(reason)),
        };
        Self {
            name: standing.relay.clone(),
            state,
            until,
            reason: reason.map(|reason| mask_emails(reason)),
            changed_at: now,
        }
    }

    /// What is wrong with it, in a sentence; `None` when nothing is.
    pub fn trouble(&self) -> Option<String> {
        let verb = match self.state {
            RelayState::Ok => return None,
            RelayState::BackingOff => "rests",
            RelayState::Halted => "is halted",
        };
        let until = self.until.map(|until| format!(" until {until}"));
        Some(format!(
            "Relay {} {verb}{}: {}",
            self.name,
            until.unwrap_or_default(),
            self.reason.as_deref().unwrap_or("no reason is known")
        ))
    }
}

/// Writes down how the relays stand, where that is news, and tells the operator. Remembers it in `known`.
pub async fn note(
    db: &Db,
    standings: &[Standing],
    known: &mut Vec<Standing>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let news: Vec<_> = standings
        .iter()
        .filter(|standing| !known.contains(standing))
        .map(|standing| RelayRow::of(standing, now))
        .collect();
    if news.is_empty() {
        return Ok(());
    }
    for row in &news {
        let relay = &row.name;
        match (row.state, row.trouble()) {
            (RelayState::Halted, Some(trouble)) => tracing::error!(relay, "{trouble}"),
            (_, Some(trouble)) => tracing::warn!(relay, "{trouble}"),
            // at its start every relay counts as usable
            (_, None) if known.is_empty() => {}
            (_, None) => tracing::info!(relay, "Relay {relay} works again"),
        }
    }
    db.write(move |tx| Box::pin(async move { store::relays::save(tx, &news).await }))
        .await?;
    standings.clone_into(known);
    Ok(())
}

/// What was written down about the relays of these names, in this order.
pub async fn standing(db: &Db, names: &[String]) -> sqlx::Result<Vec<RelayRow>> {
    let rows = store::relays::all(db).await?;
    let row = |name: &String| rows.iter().find(|row| row.name == *name).cloned();
    Ok(names.iter().filter_map(row).collect())
}
