//! One struct for each group of settings. What a field means stands in `SETTINGS`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;

use super::values::{self, Limit};
use super::{BaseUrl, DatabaseTarget, RelayConfig, RelaySettings, RelayTls};

/// `server.*`: the web role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Where every link begins.
    pub base_url: BaseUrl,
    /// Where to listen.
    pub bind: SocketAddr,
    /// Networks whose `X-Forwarded-For` is believed.
    #[serde(default, deserialize_with = "values::list")]
    pub trusted_proxies: Vec<IpNet>,
    /// Open HTTP connections.
    pub max_connections: usize,
    /// For the head of a request.
    #[serde(deserialize_with = "values::duration")]
    pub header_timeout: Duration,
    /// For a whole request.
    #[serde(deserialize_with = "values::duration")]
    pub request_timeout: Duration,
}

/// `database.*`: where the data are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// What `database.url` names; [`Config::database_target`](super::Config::database_target) knows the default.
    #[serde(default, rename = "url", deserialize_with = "values::database_url")]
    pub target: Option<DatabaseTarget>,
    /// Open connections.
    pub max_connections: u32,
}

/// `smtp.*`: the relays. [`relays`](Self::relays) puts their parts together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Where the relay is.
    #[serde(default)]
    pub url: Option<super::relay_url::RelayUrl>,
    /// Several relays instead, in their order.
    #[serde(default, deserialize_with = "values::relays")]
    #[serde(rename = "relays")]
    pub several: Vec<RelaySettings>,
    /// The password. It stands above one in the URL.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// How the connection is protected, where the URL's scheme does not say it right.
    #[serde(default)]
    pub tls: Option<RelayTls>,
    /// Whether an unprotected connection may leave this machine.
    pub insecure: bool,
    /// Certificate authorities, PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The name to greet with.
    #[serde(default, deserialize_with = "values::host_name")]
    pub hello_name: Option<String>,
    /// Open connections.
    pub max_connections: usize,
    /// Messages a second.
    #[serde(default, deserialize_with = "values::rate")]
    pub rate: Option<f64>,
    /// Messages at once after a quiet time.
    pub burst: u32,
    /// Whether the relay carries addresses with letters beyond ASCII before the `@`.
    pub smtputf8: bool,
}

impl SmtpConfig {
    /// The first relay, or `None` where mails go to the outbox folder.
    pub fn relay(&self) -> Option<RelayConfig> {
        self.relays().into_iter().next()
    }

    /// The relays in their order; none where mails go to the outbox folder.
    pub fn relays(&self) -> Vec<RelayConfig> {
        let written = self.written();
        written.iter().map(|relay| relay.relay(self)).collect()
    }

    /// The relays as they are written, the short form among them.
    pub(super) fn written(&self) -> Vec<RelaySettings> {
        match &self.url {
            Some(url) => vec![RelaySettings::short(url.clone(), self)],
            None => self.several.clone(),
        }
    }
}

/// `mail.*`: names in mails, and their templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// One fixed envelope sender.
    #[serde(default, deserialize_with = "values::mailbox")]
    pub envelope_from: Option<String>,
    /// Where failure reports come back to.
    #[serde(default, deserialize_with = "values::host_name")]
    pub bounce_domain: Option<String>,
    /// Between a mailbox and its tag.
    pub separator: Separator,
    /// In Message-IDs.
    #[serde(default, deserialize_with = "values::host_name")]
    pub id_domain: Option<String>,
    /// In List-Ids.
    #[serde(default, deserialize_with = "values::host_name")]
    pub list_domain: Option<String>,
    /// In Feedback-ID.
    #[serde(deserialize_with = "values::sender_id")]
    pub sender_id: String,
    /// Templates that replace the program's.
    #[serde(default)]
    pub templates_dir: Option<PathBuf>,
}

/// What separates a mailbox from its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Separator {
    /// `b+tag@`.
    #[serde(rename = "+")]
    Plus,
    /// `b-tag@`.
    #[serde(rename = "-")]
    Minus,
    /// `btag@`: every mailbox of the domain arrives.
    #[serde(rename = "none")]
    None,
}

impl Separator {
    /// The text itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::None => "",
        }
    }
}

/// `fetch.*`: what the service may fetch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchConfig {
    /// Beyond public addresses on ports 80 and 443.
    #[serde(default, deserialize_with = "values::list")]
    pub allow: Vec<FetchAllowance>,
}

/// One thing that may be fetched beyond the usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchAllowance {
    /// This host, wherever its name leads.
    Host(String),
    /// Addresses of this network.
    Network(IpNet),
    /// This port.
    Port(u16),
}

/// `delivery.*`: how deliveries are driven.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// What happens to a mail whose final reply was lost.
    pub in_doubt: InDoubt,
    /// Before a digest's doubt is decided.
    #[serde(deserialize_with = "values::duration")]
    pub grace: Duration,
    /// Before a notice's doubt is decided.
    #[serde(deserialize_with = "values::duration")]
    pub notice_grace: Duration,
    /// Between two signs of life.
    #[serde(deserialize_with = "values::duration")]
    pub heartbeat: Duration,
    /// Of what a worker claimed.
    #[serde(deserialize_with = "values::duration")]
    pub worker_lease: Duration,
    /// Of a marked mail.
    #[serde(deserialize_with = "values::duration")]
    pub transmission_lease: Duration,
    /// For the body on the wire.
    #[serde(deserialize_with = "values::duration")]
    pub body_deadline: Duration,
    /// For the reply after the dot.
    #[serde(deserialize_with = "values::duration")]
    pub reply_deadline: Duration,
    /// After an issue's release.
    #[serde(deserialize_with = "values::duration")]
    pub give_up_after: Duration,
    /// For what is on the wire when the service stops.
    #[serde(deserialize_with = "values::duration")]
    pub drain: Duration,
}

/// What happens to a mail whose final reply was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Send it once more.
    Resend,
    /// Keep it for an operator.
    Hold,
}

/// `signup.*`: who may sign up, how often.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignupConfig {
    /// Of a confirmation link.
    #[serde(deserialize_with = "values::confirm_lifetime")]
    pub confirm_lifetime: Duration,
    /// Whether `.test` and its kind are addresses.
    pub allow_special_use: bool,
    /// Confirmation mails to one address.
    #[serde(deserialize_with = "values::list")]
    pub address_limits: Vec<Limit>,
    /// Sign-ups of one client.
    #[serde(deserialize_with = "values::list")]
    pub client_limits: Vec<Limit>,
    /// Sign-ups of one network.
    #[serde(deserialize_with = "values::list")]
    pub network_limits: Vec<Limit>,
    /// Sign-ups of everybody.
    #[serde(deserialize_with = "values::list")]
    pub instance_limits: Vec<Limit>,
    /// Wrong confirmation links of one network.
    #[serde(deserialize_with = "values::list")]
    pub wrong_token_limits: Vec<Limit>,
}

/// `secrets.*`: the key ring.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    /// Its file; [`Config::secrets_file`](super::Config::secrets_file) knows the default.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// `log.*`: logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// A level or a filter of tracing-subscriber.
    #[serde(deserialize_with = "values::log_filter")]
    pub level: String,
    /// How they look.
    pub format: LogFormat,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For a person.
    Text,
    /// For a collector.
    Json,
}
