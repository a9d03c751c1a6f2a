//! `paperround topic rule`: which articles belong to a topic.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Refused, UsageError};
use super::feed;
use super::table::Table;
use crate::app::App;
use crate::feeds::store;
use crate::feeds::topic_rules::{AddRuleError, add_topic_rule, remove_topic_rule};
use crate::feeds::topics::{ListedRule, RuleField, TopicRule};
use crate::id::{TopicId, TopicRuleId};
use crate::newsletters::{self, Newsletter};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put articles that match into a topic, from now on
    Add(AddArgs),
    /// Print a newsletter's rules
    List(Which),
    /// Take a rule away; articles that are there keep their topics
    Remove {
        /// Its id, as `topic rule list` prints it
        id: TopicRuleId,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which newsletter [default: the only one]
    #[arg(long, short)]
    newsletter: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The topic, such as asia-pacific
    topic: String,
    #[command(flatten)]
    pattern: Pattern,
    /// Only for articles of this feed [default: of all feeds]
    #[arg(long, value_name = "URL")]
    feed: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// What an article must say; * stands for anything, upper and lower case are the same.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Pattern {
    /// One of its categories or tags is this, such as "Asia*"; * stands for anything
    #[arg(long, value_name = "PATTERN", visible_alias = "tag")]
    category: Option<String>,
    /// One of its authors is this
    #[arg(long, value_name = "PATTERN")]
    author: Option<String>,
    /// Its address begins with this: /asia/ for the path, or example.org/asia/
    #[arg(long, value_name = "PATTERN")]
    url: Option<String>,
}

pub(super) async fn run(app: &App, command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Add(args) => add(app, args, context).await,
        Command::List(which) => list(app, &which, context).await,
        Command::Remove { id, which } => {
            let newsletter = context.newsletter(app, which.newsletter.as_deref()).await?;
            if !remove_topic_rule(app, newsletter.id, id).await? {
                return Err(UsageError(format!(
                    "{} has no rule {id}: `paperround topic rule list` prints them",
                    newsletter.slug
                ))
                .into());
            }
            context
                .terminal
                .say("Removed. Articles that are there keep their topics.");
            Ok(())
        }
    }
}

async fn add(app: &App, args: AddArgs, context: &Context) -> anyhow::Result<()> {
    let newsletter = context
        .newsletter(app, args.which.newsletter.as_deref())
        .await?;
    let Pattern {
        category,
        author,
        url,
    } = args.pattern;
    let (field, pattern) = match (category, author, url) {
        (Some(pattern), _, _) => (RuleField::Category, pattern),
        (None, Some(pattern), _) => (RuleField::Author, pattern),
        (None, None, url) => (RuleField::Url, url.unwrap_or_default()),
    };
    let rule = TopicRule {
        topic_id: topic(app, &newsletter, &args.topic).await?,
        feed_id: match &args.feed {
            Some(url) => Some(feed::find(app, &newsletter, url).await?.id),
            None => None,
        },
        field,
        pattern,
    };
    let id = add_topic_rule(app, newsletter.id, rule)
        .await
        .map_err(explain)?;
    if context.terminal.json {
        context.terminal.json(&serde_json::json!({ "id": id }))?;
    }
    context.terminal.say(&format!(
        "Added. Articles that come from now on and match it are in the topic {}.",
        args.topic
    ));
    Ok(())
}

async fn list(app: &App, which: &Which, context: &Context) -> anyhow::Result<()> {
    let newsletter = context.newsletter(app, which.newsletter.as_deref()).await?;
    let rules: Vec<ListedRule> = store::list_rules(&app.db, newsletter.id)
        .await
        .context("cannot read the rules")?;
    if context.terminal.json {
        return context.terminal.json(&rules);
    }
    if rules.is_empty() {
        context.terminal.say(
            "There is no rule yet: articles are in the topic all alone. Next: paperround topic rule add TOPIC --category NAME",
        );
        return Ok(());
    }
    let mut table = Table::new(&["id", "topic", "what", "pattern", "feed"]);
    for rule in rules {
        table.row([
            rule.id.to_string(),
            rule.topic,
            rule.field.to_string(),
            rule.pattern,
            rule.feed.unwrap_or_else(|| "all".to_owned()),
        ]);
    }
    context.terminal.data(&table.text())
}

/// The topic of this slug.
async fn topic(app: &App, newsletter: &Newsletter, slug: &str) -> anyhow::Result<TopicId> {
    let topics = newsletters::store::topics(&app.db, newsletter.id)
        .await
        .context("cannot read the topics")?;
    let found = topics.iter().find(|topic| topic.slug.as_str() == slug);
    let names = topics.iter().map(|topic| topic.slug.as_str());
    found.map(|topic| topic.id).ok_or_else(|| {
        let names = names.collect::<Vec<_>>().join(", ");
        UsageError(format!(
            "{} has no topic {slug:?}. There is: {names}",
            newsletter.slug
        ))
        .into()
    })
}

fn explain(error: AddRuleError) -> anyhow::Error {
    match error {
        AddRuleError::Empty | AddRuleError::NoTopic => UsageError(error.to_string()).into(),
        AddRuleError::All | AddRuleError::AlreadyThere => Refused(error.to_string()).into(),
        AddRuleError::Db(error) => anyhow::Error::from(error).context("cannot store it"),
    }
}
