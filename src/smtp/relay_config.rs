//! A relay and how to speak to it, from the settings.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use lettre::transport::smtp::extension::ClientId;
use secrecy::SecretString;

use super::allowance::Allowance;
use crate::config::{self, RelayTls, SmtpConfig};

/// A relay and how to speak to it. The settings have checked that its parts agree.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What people, logs and rows call it: its host, unless the settings say otherwise.
    pub name: String,
    /// Host name or address, without brackets. The certificate is checked against it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected. Nothing is opportunistic: what is configured is there, or nothing is sent.
    pub tls: RelayTls,
    /// Whom to log in as, with the password. Never without TLS.
    pub login: Option<(String, SecretString)>,
    /// Hard cap on open connections.
    pub max_connections: usize,
    /// What EHLO says.
    pub ehlo_name: EhloName,
    /// A PEM file with certificates that are trusted besides the system's, for a private certificate authority.
    pub extra_roots: Option<PathBuf>,
}

impl RelayConfig {
    /// The relays that the settings name, in their order, and how fast each may be used.
    pub fn from_settings(smtp: &SmtpConfig) -> Vec<(Self, Option<Allowance>)> {
        let ehlo_name = smtp
            .hello_name
            .as_deref()
            .and_then(|name| EhloName::parse(name).ok())
            .unwrap_or_else(EhloName::of_this_machine);
        let relay = |relay: config::RelayConfig| {
            let allowance = relay
                .rate
                .map(|rate| Allowance::per_second(rate, relay.burst));
            let own = Self {
                name: relay.name,
                host: relay.host,
                port: relay.port,
                tls: relay.tls,
                login: relay.user.zip(relay.password),
                max_connections: relay.max_connections,
                ehlo_name: ehlo_name.clone(),
                extra_roots: relay.ca_file,
            };
            (own, allowance)
        };
        smtp.relays().into_iter().map(relay).collect()
    }
}

/// What EHLO says: a host name or an address literal (RFC 5321, section 4.1.1.1). Nothing else can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EhloName(ClientId);

/// A text that is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EHLO needs a host name such as mail.example.org")]
pub struct EhloNameError;

impl EhloName {
    /// Reads a host name.
    pub fn parse(text: &str) -> Result<Self, EhloNameError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(EhloNameError);
        }
        Ok(Self(ClientId::Domain(text.to_owned())))
    }

    /// This machine's host name; the loopback literal where it has none that EHLO may say.
    pub fn of_this_machine() -> Self {
        let name = match ClientId::default() {
            ClientId::Domain(name) => Self::parse(&name).ok(),
            _ => None,
        };
        name.unwrap_or(Self(ClientId::Ipv4(Ipv4Addr::LOCALHOST)))
    }

    pub(crate) fn client_id(&self) -> ClientId {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn the_settings_become_a_relay() {
        let relay = |settings: &[(&str, &str)]| {
            let mut sources = Sources::default()
                .with("server.base_url", "https://news.example.org")
                .with("data_dir", "/nowhere");
            for (key, value) in settings {
                sources = sources.with(key, *value);
            }
            RelayConfig::from_settings(&Config::load(&sources).unwrap().smtp)
        };
        assert!(relay(&[]).is_empty());
        let found = relay(&[
            ("smtp.url", "smtps://ada@relay.example.org"),
            ("smtp.password", "hunter2"),
            ("smtp.hello_name", "news.example.org"),
            ("smtp.max_connections", "7"),
            ("smtp.rate", "14.5"),
        ]);
        let (found, allowance) = found.into_iter().next().unwrap();
        assert_eq!(allowance, Some(Allowance::per_second(14.5, 1)));
        assert_eq!(found.name, "relay.example.org");
        assert_eq!((found.port, found.tls), (465, RelayTls::Implicit));
        assert_eq!(found.max_connections, 7);
        assert_eq!(found.ehlo_name.client_id().to_string(), "news.example.org");
        assert!(found.login.is_some());
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn ehlo_says_nothing_but_a_name() {
        for text in [
            "",
            "a b",
            "a\r\nQUIT",
            "-a.example",
            "a-.example",
            "a..b",
            "under_score",
            "[127.0.0.1]",
        ] {
            assert_eq!(EhloName::parse(text), Err(EhloNameError), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_labels_of_63_bytes_and_253_in_all_at_most() {
        let label = "a".repeat(63);
        let name = |last: usize| format!("{label}.{label}.{label}.{}", "a".repeat(last));
        for (text, fits) in [
            (label.clone(), true),
            (label.clone() + "a", false),
            (name(61), true),
            (name(62), false),
        ] {
            assert_eq!(EhloName::parse(&text).is_ok(), fits, "{}", text.len());
        }
    }

    #[test]
    fn several_relays_are_each_spoken_to_as_they_say_and_in_their_order() {
        let json = r#"[
            {"name": "own", "url": "smtps://ada@a.example", "password": "x",
             "ca_file": "/etc/own.pem", "rate": 2, "burst": 3},
            {"url": "smtp://b.example"}
        ]"#;
        let sources = Sources::default()
            .with("server.base_url", "https://news.example.org")
            .with("data_dir", "/nowhere")
            .with("smtp.relays", json);
        let found = RelayConfig::from_settings(&Config::load(&sources).unwrap().smtp);
        let shown: Vec<_> = found
            .iter()
            .map(|(relay, allowance)| {
                let user = relay.login.as_ref().map(|(user, _)| user.as_str());
                let ca_file = relay.extra_roots.as_deref().and_then(Path::to_str);
                let (name, host) = (relay.name.as_str(), relay.host.as_str());
                ((name, host), user, ca_file, *allowance)
            })
            .collect();
        let slow = Some(Allowance::per_second(2.0, 3));
        assert_eq!(
            shown,
            [
                (
                    ("own", "a.example"),
                    Some("ada"),
                    Some("/etc/own.pem"),
                    slow
                ),
                (("b.example", "b.example"), None, None, None)
            ]
        );
    }

    #[test]
    fn each_of_several_relays_has_its_own_port_and_protection_and_so_many_connections() {
        let json = r#"[
            {"url": "smtps://a.example:4650", "max_connections": 3},
            {"url": "smtp://b.example"},
            {"url": "smtp://127.0.0.1:2525", "tls": "none", "max_connections": 9}
        ]"#;
        let sources = Sources::default()
            .with("server.base_url", "https://news.example.org")
            .with("data_dir", "/nowhere")
            .with("smtp.hello_name", "news.example.org")
            .with("smtp.max_connections", "7")
            .with("smtp.relays", json);
        let found = RelayConfig::from_settings(&Config::load(&sources).unwrap().smtp);
        let shown: Vec<_> = found
            .iter()
            .map(|(relay, _)| (relay.port, relay.tls, relay.max_connections))
            .collect();
        let expected = [
            (4650, RelayTls::Implicit, 3),
            (587, RelayTls::StartTls, 7),
            (2525, RelayTls::None, 9),
        ];
        assert_eq!(shown, expected);
        let name = EhloName::parse("news.example.org").unwrap();
        assert!(found.iter().all(|(relay, _)| relay.ehlo_name == name));
    }
}
