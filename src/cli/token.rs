//! `paperround token`: who may use the API.

use anyhow::Context as _;
use clap::Subcommand;

use super::context::Context;
use super::exit::{Code, UsageError};
use super::table::Table;
use crate::accounts::{Scope, tokens};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token; it is printed once, on standard output
    Create(CreateArgs),
    /// Print all tokens, without their secrets
    List,
    /// End a token
    Revoke {
        /// Its first characters, as `token list` prints them
        prefix: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// What it may do: articles:write, issues:write, issues:send; may be repeated
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// What you call it
    #[arg(long, default_value = "")]
    label: String,
    /// The one newsletter it is good for [default: all]
    #[arg(long, short)]
    newsletter: Option<String>,
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Code> {
    let app = context.app().await?;
    match command {
        Command::Create(args) => {
            let newsletter = match args.newsletter.as_deref() {
                Some(slug) => Some(context.newsletter(&app, Some(slug)).await?.id),
                None => None,
            };
            let (token, text) =
                tokens::create(&app, &args.label, args.scope, newsletter, tokens::LIFETIME)
                    .await
                    .context("cannot store the token")?;
            context.terminal.data(&text)?;
            context.terminal.say(&format!(
                "It works until {} and is not shown again.",
                token.expires_at
            ));
        }
        Command::List => {
            let all = tokens::all(&app.db)
                .await
                .context("cannot read the tokens")?;
            if context.terminal.json {
                context.terminal.json(&all)?;
            } else {
                let mut table =
                    Table::new(&["begins", "label", "scopes", "until", "last used", "state"]);
                for token in all {
                    let scopes: Vec<_> =
                        token.scopes.0.iter().map(|scope| scope.as_str()).collect();
                    let used = token
                        .last_used_at
                        .map_or_else(|| "never".to_owned(), |at| at.to_string());
                    let state = if token.revoked_at.is_some() {
                        "revoked"
                    } else if token.is_over(app.clock.now()) {
                        "is over"
                    } else {
                        "works"
                    };
                    table.row([
                        token.prefix,
                        token.label,
                        scopes.join(" "),
                        token.expires_at.to_string(),
                        used,
                        state.to_owned(),
                    ]);
                }
                context.terminal.data(&table.text())?;
            }
        }
        Command::Revoke { prefix } => {
            if !tokens::revoke(&app, &prefix)
                .await
                .context("cannot revoke the token")?
            {
                let hint = format!(
                    "no token that works begins with {prefix:?}: see `paperround token list`"
                );
                return Err(UsageError(hint).into());
            }
            context.terminal.say("Revoked.");
        }
    }
    Ok(Code::Done)
}
