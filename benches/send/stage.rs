//! A newsletter with readers and an issue that waits for its release: made once, copied for each run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use paperround::app::{App, World};
use paperround::config::{Config, Sources};
use paperround::deliveries::operate;
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::id::IssueId;
use paperround::issues::compose::{Created, create_manual};
use paperround::issues::manual::ManualIssue;
use paperround::issues::release;
use paperround::newsletters::add::{self, NewNewsletter, NewSchedule};
use paperround::newsletters::{Cadence, Newsletter};
use paperround::subscribers::email_address::AddressRules;
use paperround::subscribers::import::{self, BATCH};
use paperround::subscribers::import_file;
use paperround::worker;
use tempfile::TempDir;

/// Articles of the digest, and the words in the summary of each: together about 20 KB on the wire.
const ARTICLES: usize = 8;
const SUMMARY: &str = "The harbour town votes on a new bridge, the old ferry keeps its last captain for another \
    summer, and the market moves to the square where the mill once stood. What it costs, who pays, and why the \
    council waited for eleven years before anybody asked the people on the other side of the water.";

/// The base URL of all links.
const BASE_URL: &str = "http://127.0.0.1:8080";

/// A service's data in a folder of its own, on the disk of the build.
pub(crate) struct Stage {
    folder: TempDir,
}

/// An issue that is prepared and may go.
pub(crate) struct Issue {
    pub(crate) stage: Stage,
    pub(crate) id: IssueId,
    pub(crate) readers: u64,
}

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("bench-", env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self { folder })
    }

    /// The same data once more.
    pub(crate) fn copy(&self) -> anyhow::Result<Self> {
        let copy = Self::new()?;
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
            }
        }
        Ok(copy)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A service on these data in this process.
    pub(crate) async fn app(&self) -> anyhow::Result<Arc<App>> {
        let sources = self
            .settings()
            .into_iter()
            .fold(Sources::default(), |sources, (key, value)| {
                sources.with(key, value)
            });
        let config = Config::load(&sources)?;
        Ok(Arc::new(App::open(config, World::system()).await?))
    }

    /// Where the data are, as settings.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("data_dir", self.path().display().to_string()),
            ("server.base_url", BASE_URL.to_owned()),
        ]
    }
}

impl Issue {
    /// A digest of about 20 KB for `readers`, on SQLite.
    pub(crate) async fn make(readers: u64) -> anyhow::Result<Self> {
        let stage = Stage::new()?;
        let app = stage.app().await?;
        let newsletter = newsletter(&app).await?;
        subscribe(&app, &newsletter, readers).await?;
        let id = draft(&app, &newsletter).await?;
        prepare(&app).await?;
        let counts = operate::counts(&app.db, id).await?;
        ensure!(
            u64::try_from(counts.pending)? == readers,
            "{counts:?} were prepared for {readers} readers"
        );
        ensure!(
            release::allow(&app, id).await?,
            "the issue cannot be released"
        );
        app.db.close().await;
        Ok(Self { stage, id, readers })
    }

    /// The same issue once more, nothing of it sent.
    pub(crate) fn copy(&self) -> anyhow::Result<Self> {
        Ok(Self {
            stage: self.stage.copy()?,
            id: self.id,
            readers: self.readers,
        })
    }
}

/// The message that one reader gets, as a file in `folder`.
pub(crate) async fn sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let issue = Issue::make(1).await?;
    let app = issue.stage.app().await?;
    prepare(&app).await?;
    app.db.close().await;
    let outbox = issue.stage.path().join("outbox");
    let mail = fs::read_dir(outbox)?
        .next()
        .context("no mail was written")??;
    let sample = folder.join("sample.eml");
    fs::copy(mail.path(), &sample)?;
    Ok(sample)
}

/// A newsletter that goes out daily.
pub(crate) async fn newsletter(app: &App) -> anyhow::Result<Newsletter> {
    let time = "07:00".parse().map_err(anyhow::Error::msg)?;
    let zone = "Europe/Berlin".parse().map_err(anyhow::Error::msg)?;
    let new = NewNewsletter {
        slug: "world".parse()?,
        name: "World Review".to_owned(),
        description: "What happened in the world, and why it matters.".to_owned(),
        from_name: "World Review".to_owned(),
        from_address: "news@world-review.org".to_owned(),
        reply_to: None,
        postal_address: Some("12 Harbour Street\n12345 Town".to_owned()),
        locale: "en".to_owned(),
        schedule: NewSchedule::usual(Cadence::Daily, time, zone),
        form_origins: Vec::new(),
    };
    Ok(add::newsletter(app, new).await?)
}

/// Imports readers.
pub(crate) async fn subscribe(
    app: &Arc<App>,
    newsletter: &Newsletter,
    readers: u64,
) -> anyhow::Result<()> {
    let mut file = "email\n".to_owned();
    for n in 0..readers {
        writeln!(file, "reader{n}@example.org")?;
    }
    let rules = AddressRules {
        allow_special_use: false,
        smtputf8: false,
        allow_roles: false,
    };
    let file = import_file::read(file.as_bytes(), &[].into(), rules)?;
    for rows in file.rows.chunks(BATCH) {
        let done = import::import(app, newsletter.id, rows.to_vec(), "bench").await?;
        ensure!(
            done.added == rows.len(),
            "not every reader was added: {done:?}"
        );
    }
    Ok(())
}

/// Publishes the articles and makes an issue of them that waits for an operator.
pub(crate) async fn draft(app: &App, newsletter: &Newsletter) -> anyhow::Result<IssueId> {
    let article = |n: usize| PostedArticle {
        external_id: n.to_string(),
        url: format!("https://world-review.org/2026/articles/{n}"),
        title: format!("Article {n} of the day: what the river brought"),
        summary: Some(SUMMARY.to_owned()),
        ..PostedArticle::default()
    };
    let articles = (0..ARTICLES).map(article).collect();
    publish(app, newsletter.id, articles).await?;
    let issue = ManualIssue::default().issue(app, newsletter, false);
    match create_manual(app, issue).await? {
        Created::Issue(id) => Ok(id),
        Created::NothingNew => anyhow::bail!("no article is new"),
    }
}

/// Does what can be done now.
pub(crate) async fn prepare(app: &Arc<App>) -> anyhow::Result<()> {
    Ok(worker::prepare(app.clone()).await?.run_until_idle().await?)
}
