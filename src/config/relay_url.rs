//! How to reach the relay.

use std::net::IpAddr;
use std::path::PathBuf;

use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use url::Url;

use super::{SmtpConfig, values};

/// A relay: all that is needed to connect and sign in.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What people call it: as written, else its host.
    pub name: String,
    /// Its host name or address, as written: the certificate is checked against it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: RelayTls,
    /// Who signs in; `None` where nobody does.
    pub user: Option<String>,
    /// With this password.
    pub password: Option<SecretString>,
    /// Certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Open connections, at least one.
    pub max_connections: usize,
    /// Messages a second; `None`: as many as it takes.
    pub rate: Option<f64>,
    /// Messages at once after a quiet time.
    pub burst: u32,
}

/// What stands beside a relay's URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) url: RelayUrl,
    #[serde(default)]
    pub(super) password: Option<SecretString>,
    #[serde(default)]
    pub(super) tls: Option<RelayTls>,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) max_connections: Option<usize>,
    #[serde(default, deserialize_with = "values::rate")]
    pub(super) rate: Option<f64>,
    #[serde(default)]
    pub(super) burst: Option<u32>,
}

impl RelaySettings {
    /// The one relay of the short form.
    pub(super) fn short(url: RelayUrl, smtp: &SmtpConfig) -> Self {
        Self {
            name: None,
            url,
            password: smtp.password.clone(),
            tls: smtp.tls,
            insecure: smtp.insecure,
            ca_file: None,
            max_connections: None,
            rate: None,
            burst: None,
        }
    }

    /// The relay. Rates, connections and the file of roots are as `smtp` says, where it does not say its own.
    pub(super) fn relay(&self, smtp: &SmtpConfig) -> RelayConfig {
        let most = self.max_connections.unwrap_or(smtp.max_connections);
        RelayConfig {
            ca_file: self.ca_file.clone().or_else(|| smtp.ca_file.clone()),
            max_connections: most.max(1),
            rate: self.rate.or(smtp.rate),
            burst: self.burst.unwrap_or(smtp.burst).max(1),
            ..self.url.relay(self)
        }
    }

    /// Whether its parts agree; an error says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        self.url.check(self)
    }
}

/// How the connection to a relay is protected. Never "if it is offered".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayTls {
    /// TLS from the first byte (RFC 8314, section 3.3), port 465.
    Implicit,
    /// STARTTLS, required (RFC 3207), port 587.
    StartTls,
    /// Not at all, port 25.
    None,
}

/// What `smtp.url` says, before the settings beside it are looked at.
#[derive(Clone, Debug)]
pub struct RelayUrl {
    host: String,
    port: Option<u16>,
    tls: RelayTls,
    loopback: bool,
    user: Option<String>,
    password: Option<SecretString>,
}

impl RelayUrl {
    /// The relay with what the settings beside the URL say.
    fn relay(&self, beside: &RelaySettings) -> RelayConfig {
        let tls = beside.tls.unwrap_or(self.tls);
        RelayConfig {
            name: beside.name.clone().unwrap_or_else(|| self.host.clone()),
            host: self.host.clone(),
            port: self.port.unwrap_or(match tls {
                RelayTls::Implicit => 465,
                RelayTls::StartTls => 587,
                RelayTls::None => 25,
            }),
            tls,
            user: self.user.clone(),
            password: beside.password.clone().or_else(|| self.password.clone()),
            ca_file: None,
            max_connections: 1,
            rate: None,
            burst: 1,
        }
    }

    /// Whether the settings beside the URL agree with it; an error says what is wrong.
    fn check(&self, beside: &RelaySettings) -> Result<(), String> {
        let relay = self.relay(beside);
        if self.tls == RelayTls::Implicit && relay.tls != RelayTls::Implicit {
            return Err(
                "begins with smtps:// and smtp.tls is not implicit; write smtp://".to_owned(),
            );
        }
        if relay.tls == RelayTls::None {
            if !self.loopback && !beside.insecure {
                return Err(
                    "would be used without TLS beyond this machine; set smtp.tls = starttls, \
                    or smtp.insecure = true if the network is private"
                        .to_owned(),
                );
            }
            if relay.user.is_some() {
                return Err("has a user, and a password is never sent without TLS".to_owned());
            }
        }
        match (&relay.user, &relay.password) {
            (Some(_), None) => Err("has a user, and smtp.password is not set".to_owned()),
            (None, Some(_)) => {
                Err("has no user, and smtp.password is set; write smtps://USER@HOST".to_owned())
            }
            (Some(_), Some(password)) if password.expose_secret().is_empty() => {
                Err("has an empty password".to_owned())
            }
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim())
            .map_err(|_| "must be smtps://USER@HOST or smtp://USER@HOST:587")?;
        let tls = match url.scheme() {
            "smtps" => RelayTls::Implicit,
            "smtp" => RelayTls::StartTls,
            _ => return Err("must begin with smtps:// or smtp://"),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or("must have a host name")?;
        let host = host.trim_matches(['[', ']']);
        let address = host.parse::<IpAddr>().ok();
        let host = match address {
            Some(address) => address.to_string(),
            None => values::parse_host_name(host).ok_or("must have a valid host name")?,
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "must end after the host and port: set other things by their own keys under [smtp]. \
                In a user name or password, / ? # and @ are written %2F %3F %23 %40",
            );
        }
        let user = Some(url.username()).filter(|user| !user.is_empty());
        Ok(Self {
            loopback: address.map_or(host == "localhost", |address| address.is_loopback()),
            host,
            port: url.port(),
            tls,
            user: user.map(decode).transpose()?,
            password: url
                .password()
                .map(decode)
                .transpose()?
                .map(SecretString::from),
        })
    }
}

impl<'de> Deserialize<'de> for RelayUrl {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(de)?).map_err(D::Error::custom)
    }
}

/// `text` with each `%41` made into its byte (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "has a % that is not followed by two hexadecimal digits; write %25 for a percent sign";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let pair = tail
                .get(..2)
                .and_then(|pair| HEXLOWER_PERMISSIVE.decode(pair).ok());
            bytes.extend(pair.ok_or(EXPECTED)?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| EXPECTED)
}
