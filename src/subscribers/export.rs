//! All readers of a newsletter, as a file that can be imported again.

use std::collections::BTreeMap;

use super::SubscriptionState;
use super::store;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::id::{NewsletterId, SubscriptionId};
use crate::newsletters::Cadence;

/// Readers of one page.
const PAGE: i64 = 1000;

/// One reader.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Exported {
    /// The address as written.
    pub email: String,
    /// How the subscription stands.
    pub state: SubscriptionState,
    /// The topics in force, by slug.
    pub topics: Vec<String>,
    /// The most frequent cadence among them.
    pub cadence: Option<Cadence>,
    /// When it was confirmed or imported.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Where an export stands: pages are asked for one after another, so that memory does not grow with the list.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    newsletter: NewsletterId,
    after: Option<SubscriptionId>,
}

impl Export {
    /// From the first reader on.
    pub fn of(newsletter: NewsletterId) -> Self {
        Self {
            newsletter,
            after: None,
        }
    }

    /// The next page; empty at the end.
    pub async fn next_page(&mut self, db: &Db) -> sqlx::Result<Vec<Exported>> {
        let rows = store::export_page(db, self.newsletter, self.after, PAGE).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let (first, last) = (first.id, last.id);
        self.after = Some(last);
        let mut interests = BTreeMap::<SubscriptionId, Vec<(String, Cadence)>>::new();
        for (id, topic, cadence) in store::topics_of(db, self.newsletter, first, last).await? {
            interests.entry(id).or_default().push((topic, cadence));
        }
        Ok(rows
            .into_iter()
            .map(|row| {
                let chosen = interests.remove(&row.id).unwrap_or_default();
                Exported {
                    cadence: chosen.iter().map(|(_, cadence)| *cadence).min(),
                    topics: chosen.into_iter().map(|(topic, _)| topic).collect(),
                    email: row.email,
                    state: row.state,
                    started_at: row.started_at,
                    ended_at: row.ended_at,
                }
            })
            .collect())
    }
}

/// A cell that no spreadsheet takes for a formula.
pub fn inert(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_as_a_formula_is_made_inert() {
        assert_eq!(inert("=1+1"), "'=1+1");
        for first in ["=", "+", "-", "@", "\t", "\r"] {
            let cell = format!("{first}ada@example.org");
            assert_eq!(inert(&cell), format!("'{cell}"));
        }
        assert_eq!(inert("ada@example.org"), "ada@example.org");
    }
}
