//! `paperround article`: what came from feeds, and what an operator does about it.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, Refused, UsageError};
use super::table::Table;
use super::when::minute;
use crate::app::App;
use crate::feeds::{Article, ArticleState, release, store};
use crate::id::ArticleId;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a newsletter's articles, the newest first
    List(ListArgs),
    /// Release an article now: it comes with the next issue
    Release {
        /// Its id, as `article list` prints it
        id: ArticleId,
    },
    /// Keep an article back until it is released; too late once it is part of an issue
    Hold {
        /// Its id, as `article list` prints it
        id: ArticleId,
        /// Why, for whoever looks at it later
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Never mail an article that waits or is held
    Dismiss {
        /// Its id, as `article list` prints it
        id: ArticleId,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Which newsletter [default: the only one]
    newsletter: Option<String>,
    /// Only those that stand so: known, waiting, held, ready or withdrawn
    #[arg(long)]
    state: Option<ArticleState>,
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::List(args) => list(&app, &args, context).await?,
        Command::Release { id } => {
            let article = find(&app, id).await?;
            let now = app.clock.now();
            let released = release::release_now(&app.db, article.newsletter_id, id, now)
                .await
                .context("cannot release the article")?;
            changed(released, &article, "cannot be released")?;
            context.terminal.say(&format!(
                "{:?} is released and comes with the next issue.",
                article.title
            ));
        }
        Command::Hold { id, reason } => {
            let article = find(&app, id).await?;
            let held = app
                .db
                .write(move |tx| Box::pin(async move { store::hold(tx, id, &reason).await }))
                .await
                .context("cannot hold the article")?;
            changed(held, &article, "cannot be held, or is in an issue already")?;
            context.terminal.say(&format!(
                "{:?} is held. Next: paperround article release {id}, or dismiss {id}",
                article.title
            ));
        }
        Command::Dismiss { id } => {
            let article = find(&app, id).await?;
            let dismissed = app
                .db
                .write(move |tx| Box::pin(async move { store::dismiss(tx, id).await }))
                .await
                .context("cannot dismiss the article")?;
            changed(dismissed, &article, "cannot be dismissed")?;
            context
                .terminal
                .say(&format!("{:?} is not mailed.", article.title));
        }
    }
    app.db.close().await;
    Ok(Code::Done)
}

async fn list(app: &App, args: &ListArgs, context: &Context) -> anyhow::Result<()> {
    let newsletter = context.newsletter(app, args.newsletter.as_deref()).await?;
    let articles = store::articles(&app.db, newsletter.id, args.state, args.limit.into())
        .await
        .context("cannot read the articles")?;
    if context.terminal.json {
        return context
            .terminal
            .json(&articles.iter().map(shown).collect::<Vec<_>>());
    }
    if articles.is_empty() {
        context.terminal.say("There is no such article.");
        return Ok(());
    }
    let mut table = Table::new(&["id", "no.", "state", "seen", "title"]);
    for article in articles {
        let state = match (article.state, &article.held_reason, article.release_at) {
            (ArticleState::Held, Some(reason), _) => format!("held: {reason}"),
            (ArticleState::Waiting, _, Some(at)) => format!("waiting until {}", minute(at)),
            (state, _, _) => state.to_string(),
        };
        table.row([
            article.id.to_string(),
            article
                .seq
                .map_or_else(|| "-".to_owned(), |seq| seq.to_string()),
            state,
            minute(article.first_seen_at),
            article.title,
        ]);
    }
    context.terminal.data(&table.text())
}

async fn find(app: &App, id: ArticleId) -> anyhow::Result<Article> {
    let article = store::article(&app.db, id)
        .await
        .context("cannot read the article")?;
    article.ok_or_else(|| {
        UsageError(format!(
            "there is no article {id}: `paperround article list` prints what there is"
        ))
        .into()
    })
}

fn changed(changed: bool, article: &Article, otherwise: &str) -> anyhow::Result<()> {
    if changed {
        Ok(())
    } else {
        let (title, state) = (&article.title, article.state);
        Err(Refused(format!("{title:?} is {state}: it {otherwise}")).into())
    }
}

fn shown(article: &Article) -> serde_json::Value {
    serde_json::json!({
        "id": article.id,
        "seq": article.seq,
        "state": article.state,
        "held_reason": article.held_reason,
        "url": article.url,
        "title": article.title,
        "author": article.author,
        "published_at": article.published_at,
        "first_seen_at": article.first_seen_at,
        "release_at": article.release_at,
        "released_at": article.released_at,
    })
}
