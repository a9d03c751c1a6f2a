//! A manual issue, as `preview` and `send` name it.

use crate::app::App;
use crate::issues::IssueKind;
use crate::issues::compose::NewIssue;
use crate::newsletters::add::MAX_CARDS;
use crate::newsletters::{Cadence, Cadences, Newsletter};

/// Whom a manual issue is for, and what it begins with.
#[derive(Debug, clap::Args)]
pub(super) struct Manual {
    /// Which newsletter [default: the only one]
    pub(super) newsletter: Option<String>,
    /// Readers of this cadence; may be repeated [default: the newsletter's]
    #[arg(long)]
    cadence: Vec<Cadence>,
    /// The subject [default: the first headlines]
    #[arg(long)]
    subject: Option<String>,
    /// Words at the top; blank lines separate paragraphs
    #[arg(long)]
    intro: Option<String>,
}

impl Manual {
    /// The issue that would be made now.
    pub(super) fn issue(&self, app: &App, newsletter: &Newsletter, release: bool) -> NewIssue {
        let mut cadences: Cadences = self.cadence.iter().copied().collect();
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
