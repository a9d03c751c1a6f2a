//! An issue by hand: what an operator or an API client says about it.

use super::IssueKind;
use super::compose::NewIssue;
use crate::app::App;
use crate::newsletters::add::MAX_CARDS;
use crate::newsletters::{Cadence, Cadences, Newsletter};

/// Whom it is for, and what it begins with.
#[derive(Clone, Debug, Default)]
pub struct ManualIssue {
    /// Readers of these cadences; of the newsletter's default, when empty.
    pub cadences: Vec<Cadence>,
    /// The subject; else the first headlines.
    pub subject: Option<String>,
    /// Words at the top.
    pub intro: Option<String>,
}

impl ManualIssue {
    /// The issue that would be made now. `release`: it is sent without a further word.
    pub fn issue(&self, app: &App, newsletter: &Newsletter, release: bool) -> NewIssue {
        let mut cadences: Cadences = self.cadences.iter().copied().collect();
        if cadences.is_empty() {
            cadences = cadences.with(newsletter.default_cadence);
        }
        NewIssue {
            newsletter_id: newsletter.id,
            kind: IssueKind::Manual,
            cadences,
            due_at: app.clock.now(),
            max_cards: MAX_CARDS,
            release_when_prepared: release,
            subject: self.subject.clone(),
            intro: self.intro.clone(),
            in_doubt: app.config.delivery.in_doubt,
        }
    }
}
