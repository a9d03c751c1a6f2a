//! A newsletter, and an issue of about 20 KB on the wire.

use paperround::app::App;
use paperround::feeds::publish::{PostedArticle, publish};
use paperround::id::IssueId;
use paperround::issues::compose::{Created, create_manual};
use paperround::issues::manual::ManualIssue;
use paperround::newsletters::add::{NewNewsletter, NewSchedule, newsletter};
use paperround::newsletters::{Cadence, Newsletter};

/// Articles of the issue, and the words in the summary of each.
const ARTICLES: usize = 8;
const SUMMARY: &str = "The harbour town votes on a new bridge, the old ferry keeps its last captain for another \
    summer, and the market moves to the square where the mill once stood. What it costs, who pays, and why the \
    council waited for eleven years before anybody asked the people on the other side of the water.";

/// A newsletter that goes out daily.
pub(crate) async fn add(app: &App) -> anyhow::Result<Newsletter> {
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
    Ok(newsletter(app, new).await?)
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
