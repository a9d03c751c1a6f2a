//! What a command works with: the terminal, the settings, the service.

use anyhow::Context as _;

use super::Global;
use super::exit::UsageError;
use super::terminal::Terminal;
use crate::app::{App, World};
use crate::config::{Config, LogConfig, LogFormat, Sources};
use crate::newsletters::{Newsletter, store};
use crate::telemetry;

/// Made once, before the command runs.
pub(super) struct Context {
    /// The three streams.
    pub(super) terminal: Terminal,
    /// Where settings come from.
    pub(super) sources: Sources,
}

impl Context {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            terminal: Terminal::new(global.json, global.quiet, global.no_input),
            sources: Sources::of_process(global.config.as_deref()),
        }
    }

    /// The settings, all right.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources)?)
    }

    /// The service, with its database up to date. Logs only what needs attention: a command's own words say
    /// the rest.
    pub(super) async fn app(&self) -> anyhow::Result<App> {
        let config = self.config()?;
        telemetry::start(&LogConfig {
            level: "warn".to_owned(),
            format: LogFormat::Text,
        })?;
        Ok(App::open(config, World::system()).await?)
    }

    /// The newsletter of this name, or the only one there is.
    pub(super) async fn newsletter(
        &self,
        app: &App,
        slug: Option<&str>,
    ) -> anyhow::Result<Newsletter> {
        let all = store::all(&app.db)
            .await
            .context("cannot read the newsletters")?;
        if all.is_empty() {
            let hint = "there is no newsletter yet: make one with `paperround newsletter add`";
            return Err(UsageError(hint.to_owned()).into());
        }
        let names = || {
            all.iter()
                .map(|newsletter| newsletter.slug.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match slug {
            Some(slug) => all
                .iter()
                .find(|newsletter| newsletter.slug.as_str() == slug)
                .cloned()
                .ok_or_else(|| {
                    UsageError(format!(
                        "there is no newsletter {slug:?}. There is: {}",
                        names()
                    ))
                    .into()
                }),
            None if all.len() == 1 => Ok(all[0].clone()),
            None => Err(UsageError(format!("say which newsletter: {}", names())).into()),
        }
    }
}
