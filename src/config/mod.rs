//! Settings: defaults, then `paperround.toml`, then the environment; checked at start.
//!
//! [`SETTINGS`] lists every setting with its default and its meaning; `.env.example` is made from it.
//! A setting `server.bind` is `bind` under `[server]` in the file and `PAPERROUND_SERVER__BIND` in the
//! environment. A secret can stand in a file of its own: `smtp.password_file` or
//! `PAPERROUND_SMTP__PASSWORD_FILE` name it. Values of the environment are text and are read by the type
//! of the setting, so a password `00123` keeps its zeros.

mod base_url;
mod example;
mod layers;
mod problem;
mod relay_url;
mod sections;
mod setting;
mod show;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::Figment;
use secrecy::SecretString;

pub use base_url::BaseUrl;
pub use example::env_example;
pub use problem::{ConfigError, Problem};
pub use relay_url::{RelayConfig, RelaySettings, RelayTls};
pub use sections::{
    DatabaseConfig, DeliveryConfig, FetchAllowance, FetchConfig, InDoubt, LogConfig, LogFormat,
    MailConfig, SecretsConfig, Separator, ServerConfig, SignupConfig, SmtpConfig,
};
pub use setting::{DefaultValue, SETTINGS, Setting};
pub use show::ShownSetting;
pub use values::{Limit, parse_duration};

/// All settings of this process, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the SQLite file, the secrets, the epoch file and the outbox stand.
    pub data_dir: PathBuf,
    /// The web role.
    pub server: ServerConfig,
    /// Where the data are.
    pub database: DatabaseConfig,
    /// The relay that mail is handed to.
    pub smtp: SmtpConfig,
    /// Names in mails, and their templates.
    pub mail: MailConfig,
    /// What the service may fetch.
    pub fetch: FetchConfig,
    /// How deliveries are driven.
    pub delivery: DeliveryConfig,
    /// Who may sign up, how often.
    pub signup: SignupConfig,
    /// The key ring.
    pub secrets: SecretsConfig,
    /// Logs.
    pub log: LogConfig,
    shown: Vec<ShownSetting>,
}

/// Where settings come from besides the defaults. Later fields win.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A settings file that must exist.
    pub file: Option<PathBuf>,
    /// Environment variables; only `PAPERROUND_...` are looked at.
    pub environment: Vec<(String, String)>,
    /// Keys and values by the program's caller: flags, a demonstration, a test.
    pub overrides: Vec<(String, String)>,
}

/// The engine and place of the database.
#[derive(Clone, Debug)]
pub enum DatabaseTarget {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, with its password.
    Postgres(SecretString),
}

impl Sources {
    /// What this process was started with: `file` if it is named, else `./paperround.toml` if it is there,
    /// and the process's environment.
    pub fn of_process(file: Option<&Path>) -> Self {
        let usual = Path::new("paperround.toml");
        let file = file
            .map(Path::to_path_buf)
            .or_else(|| usual.exists().then(|| usual.to_path_buf()));
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(setting::PREFIX))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Self {
            file,
            environment,
            overrides: Vec::new(),
        }
    }

    /// These sources with `key` set to `value`, above all others.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.overrides.push((key.to_owned(), value.into()));
        self
    }
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    ///
    /// Every problem that was found, each with the setting, where its value came from, what is wrong
    /// and what to write.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let figment = layers::read(sources)?;
        Self::from_figment(&figment)
    }

    /// Each setting with its value (secrets masked) and its source, also when some are wrong.
    ///
    /// # Errors
    ///
    /// The sources cannot be read at all: no such file, an unknown setting.
    pub fn show_sources(sources: &Sources) -> Result<Vec<ShownSetting>, ConfigError> {
        Ok(show::show(&layers::read(sources)?))
    }

    /// Each setting with its value (secrets masked) and its source.
    pub fn show(&self) -> &[ShownSetting] {
        &self.shown
    }

    /// The database to use: what `database.url` says, else a SQLite file in `data_dir`.
    pub fn database_target(&self) -> DatabaseTarget {
        self.database
            .target
            .clone()
            .unwrap_or_else(|| DatabaseTarget::Sqlite(self.data_dir.join("paperround.db")))
    }

    /// The file of the key ring.
    pub fn secrets_file(&self) -> PathBuf {
        self.secrets
            .file
            .clone()
            .unwrap_or_else(|| self.data_dir.join("secrets.toml"))
    }

    /// The domain at the right of Message-IDs.
    pub fn id_domain(&self) -> &str {
        self.mail
            .id_domain
            .as_deref()
            .unwrap_or_else(|| self.server.base_url.host())
    }

    /// The domain at the right of List-Ids.
    pub fn list_domain(&self) -> &str {
        self.mail
            .list_domain
            .as_deref()
            .unwrap_or_else(|| self.server.base_url.host())
    }

    fn from_figment(figment: &Figment) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let sections = (
            problem::extract(figment, "server", &mut problems),
            problem::extract(figment, "database", &mut problems),
            problem::extract(figment, "smtp", &mut problems),
            problem::extract(figment, "mail", &mut problems),
            problem::extract(figment, "fetch", &mut problems),
            problem::extract(figment, "delivery", &mut problems),
            problem::extract(figment, "signup", &mut problems),
            problem::extract(figment, "secrets", &mut problems),
            problem::extract(figment, "log", &mut problems),
            problem::extract(figment, "data_dir", &mut problems),
        );
        let (
            Some(server),
            Some(database),
            Some(smtp),
            Some(mail),
            Some(fetch),
            Some(delivery),
            Some(signup),
            Some(secrets),
            Some(log),
            Some(data_dir),
        ) = sections
        else {
            return Err(ConfigError(problems));
        };
        let config = Self {
            data_dir,
            server,
            database,
            smtp,
            mail,
            fetch,
            delivery,
            signup,
            secrets,
            log,
            shown: show::show(figment),
        };
        config.check(figment, &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// What no single setting shows.
    fn check(&self, figment: &Figment, problems: &mut Vec<Problem>) {
        let mut refuse =
            |key: &str, what: &str| problems.push(Problem::of_value(figment, key, what));
        let mut names = BTreeSet::new();
        for (written, relay) in self.smtp.written().iter().zip(self.smtp.relays()) {
            let key = match self.smtp.url {
                Some(_) => "smtp.url",
                None => "smtp.relays",
            };
            if let Err(what) = written.check() {
                let what = match self.smtp.url {
                    Some(_) => what,
                    None => format!("{} {what}", relay.name),
                };
                refuse(key, &what);
            }
            if !names.insert(relay.name.clone()) {
                refuse(
                    key,
                    &format!("has two relays {}; give each a name", relay.name),
                );
            }
        }
        if self.smtp.url.is_some() && !self.smtp.several.is_empty() {
            refuse("smtp.relays", "is given beside smtp.url: write one of them");
        }
        if self.smtp.url.is_none() && self.smtp.password.is_some() {
            refuse(
                "smtp.password",
                "is given without smtp.url, so there is nobody to give it to",
            );
        }
        if matches!(self.database.target, Some(DatabaseTarget::Postgres(_)))
            && self.secrets.file.is_none()
        {
            refuse(
                "secrets.file",
                "is required with PostgreSQL, since every process needs the same keys",
            );
        }
        if self.delivery.heartbeat * 2 >= self.delivery.worker_lease {
            refuse(
                "delivery.heartbeat",
                "must be less than half of delivery.worker_lease",
            );
        }
        if self.delivery.transmission_lease
            <= self.delivery.body_deadline + self.delivery.reply_deadline
        {
            refuse(
                "delivery.transmission_lease",
                "must be longer than delivery.body_deadline and delivery.reply_deadline together",
            );
        }
    }
}
