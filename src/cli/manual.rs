//! A manual issue, as `preview` and `send` name it.

use anyhow::Context as _;

use super::terminal::Terminal;
use crate::app::App;
use crate::feeds::refresh_newsletter::{BEFORE_ISSUE, catch_up};
use crate::issues::compose::NewIssue;
use crate::issues::manual::ManualIssue;
use crate::newsletters::{Cadence, Newsletter};

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
    /// Reads the newsletter's feeds once more, as the service does before an issue, and says what it goes without.
    pub(super) async fn catch_up(
        app: &App,
        newsletter: &Newsletter,
        terminal: &Terminal,
    ) -> anyhow::Result<()> {
        let unread = catch_up(app, newsletter.id, BEFORE_ISSUE)
            .await
            .context("cannot read the feeds")?;
        for feed in unread {
            let (url, reason) = (feed.url, feed.reason);
            terminal.say(&format!(
                "{url}: {reason}. The issue goes without what is new there."
            ));
        }
        Ok(())
    }

    /// The issue that would be made now.
    pub(super) fn issue(&self, app: &App, newsletter: &Newsletter, release: bool) -> NewIssue {
        ManualIssue {
            cadences: self.cadence.clone(),
            subject: self.subject.clone(),
            intro: self.intro.clone(),
        }
        .issue(app, newsletter, release)
    }
}
