//! Making the issues whose slots have come.

use super::compose::{self, ComposeError, Created, NewIssue};
use super::IssueKind;
use crate::app::App;
use crate::id::IssueId;
use crate::newsletters::Mode;
use crate::newsletters::slots::{self, DueIssue, DueSlot, Outcome};

/// Makes one issue for all slots of `due` and settles each of them, in one transaction. `None`: there was nothing to
/// say, which is recorded, or another scheduler was first.
pub async fn make(app: &App, due: DueIssue) -> Result<Option<IssueId>, ComposeError> {
    let (ids, now, in_doubt) = (app.ids.clone(), app.clock.now(), app.config.delivery.in_doubt);
    let made = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let mut weighed = slots::weigh(tx, &due).await?;
                let mut issue = None;
                if !weighed.cadences.is_empty() {
                    let new = NewIssue {
                        newsletter_id: due.newsletter_id,
                        kind: IssueKind::Scheduled,
                        cadences: weighed.cadences,
                        due_at: due.at,
                        max_cards: due.max_cards(),
                        // each slot was weighed by its own minimum
                        min_articles: 0,
                        release_when_prepared: due.mode() == Mode::Automatic,
                        subject: None,
                        intro: None,
                        in_doubt,
                    };
                    match compose::create(tx, &ids, &new, now).await? {
                        Created::Issue(id) => issue = Some(id),
                        // no reader of these cadences wants what is new
                        Created::NothingNew | Created::BelowMinimum => {
                            weighed.outcomes.fill(Outcome::NothingNew);
                        }
                    }
                }
                if slots::settle(tx, &due, &weighed, issue, now).await? {
                    Ok(issue)
                } else {
                    Err(Undone::OtherWasFirst)
                }
            })
        })
        .await;
    match made {
        Ok(issue) => Ok(issue),
        Err(Undone::OtherWasFirst) => Ok(None),
        Err(Undone::Compose(error)) => Err(error),
    }
}

/// Records that `slot` passed while the service was down.
pub async fn record_missed(app: &App, slot: DueSlot) -> sqlx::Result<()> {
    let now = app.clock.now();
    app.db
        .write(move |tx| Box::pin(async move { slots::settle_missed(tx, &slot, now).await }))
        .await
}

/// Why the transaction is undone.
enum Undone {
    OtherWasFirst,
    Compose(ComposeError),
}

impl From<ComposeError> for Undone {
    fn from(error: ComposeError) -> Self {
        Self::Compose(error)
    }
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Compose(error.into())
    }
}
