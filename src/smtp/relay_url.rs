//! Where a relay is and how to speak to it, from one URL.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use lettre::transport::smtp::extension::ClientId;
use secrecy::SecretString;
use url::{Host, Url};

/// How a connection is protected. Nothing is opportunistic: what is configured is there, or nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (RFC 8314, section 3.3), usually on port 465.
    ImplicitTls,
    /// STARTTLS (RFC 3207), required; usually on port 587.
    StartTls,
    /// No protection, and therefore no log-in.
    Plain,
}

/// A relay and how to speak to it.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What people, logs and rows call it. The host, unless something else was chosen.
    pub name: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Whom to log in as, with the password. Never with [`Security::Plain`].
    pub login: Option<(String, SecretString)>,
    /// Hard cap on open connections.
    pub max_connections: usize,
    /// What EHLO says.
    pub ehlo_name: EhloName,
    /// A PEM file with certificates that are trusted besides the system's, for a private certificate authority.
    pub extra_roots: Option<PathBuf>,
}

/// What the URL does not say.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Another name than the host.
    pub name: Option<String>,
    /// The password for the URL's user.
    pub password: Option<SecretString>,
    /// Speak without TLS, and without log-in, to a relay that is not on this machine.
    pub insecure: bool,
    /// Hard cap on open connections, at least 1.
    pub max_connections: usize,
    /// What EHLO says; this machine's host name when absent.
    pub ehlo_name: Option<EhloName>,
    /// A PEM file with certificates that are trusted besides the system's.
    pub extra_roots: Option<PathBuf>,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            name: None,
            password: None,
            insecure: false,
            max_connections: 20,
            ehlo_name: None,
            extra_roots: None,
        }
    }
}

/// Why a relay's URL or its options cannot be used. Each says what to write instead, and none repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayUrlError {
    /// It is no URL at all.
    #[error("this is no URL ({0}): write smtps://user@host or smtp://user@host:587")]
    NotAUrl(url::ParseError),
    /// Another scheme.
    #[error(
        "the scheme {0:?} is unknown: write smtps:// for TLS from the start or smtp:// for STARTTLS"
    )]
    Scheme(String),
    /// There is no host.
    #[error("the host is missing: write smtps://user@host")]
    NoHost,
    /// A password stands in the URL.
    #[error(
        "the password does not belong in the URL, where logs and process lists show it: set the password apart"
    )]
    PasswordInUrl,
    /// A path, a query or a fragment.
    #[error("nothing may follow the host and port: remove {0:?}")]
    Trailing(String),
    /// A user without password.
    #[error("the URL names a user, but no password is set")]
    PasswordMissing,
    /// A password without user.
    #[error("a password is set, but the URL names no user: write {0}://user@host")]
    UserMissing(String),
    /// STARTTLS on the port for implicit TLS.
    #[error("port 465 speaks TLS from the first byte: write smtps:// instead of smtp://")]
    ImplicitPort,
    /// Implicit TLS on a port for STARTTLS.
    #[error("port {0} begins in clear and needs STARTTLS: write smtp:// instead of smtps://")]
    StartTlsPort(u16),
    /// A log-in without TLS.
    #[error(
        "a log-in without TLS would show the password to everyone on the way: remove the user or `insecure`"
    )]
    LoginInClear,
    /// `insecure` with `smtps://`.
    #[error("`insecure` contradicts smtps://: remove one of them")]
    InsecureTls,
    /// The cap on connections is zero.
    #[error("the number of connections must be at least 1")]
    NoConnections,
    /// The user name is no UTF-8 or has control characters.
    #[error("the user name in the URL cannot be read: percent-encode it as UTF-8")]
    User,
}

impl RelayConfig {
    /// Reads `smtps://user@host[:465]` (TLS from the first byte) or `smtp://user@host[:587]` (STARTTLS required).
    ///
    /// `smtp://` without a user speaks in clear to a loopback host, and to any other only with `insecure`.
    pub fn parse(url: &str, options: RelayOptions) -> Result<Self, RelayUrlError> {
        let url = Url::parse(url.trim()).map_err(RelayUrlError::NotAUrl)?;
        let implicit = match url.scheme() {
            "smtps" => true,
            "smtp" => false,
            other => return Err(RelayUrlError::Scheme(other.to_owned())),
        };
        let (host, loopback) = host_of(&url)?;
        if url.password().is_some() {
            return Err(RelayUrlError::PasswordInUrl);
        }
        let trailing = &url[url::Position::AfterPort..];
        if !matches!(trailing, "" | "/") {
            return Err(RelayUrlError::Trailing(trailing.to_owned()));
        }
        let login = match (user_of(&url)?, options.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (Some(_), None) => return Err(RelayUrlError::PasswordMissing),
            (None, Some(_)) => return Err(RelayUrlError::UserMissing(url.scheme().to_owned())),
            (None, None) => None,
        };
        let security = match (implicit, login.is_some()) {
            (true, _) if options.insecure => return Err(RelayUrlError::InsecureTls),
            (true, _) => Security::ImplicitTls,
            (false, true) if options.insecure => return Err(RelayUrlError::LoginInClear),
            (false, false) if options.insecure || loopback => Security::Plain,
            (false, _) => Security::StartTls,
        };
        let port = url.port().unwrap_or(if implicit { 465 } else { 587 });
        match (implicit, port) {
            (false, 465) => return Err(RelayUrlError::ImplicitPort),
            (true, 25 | 587) => return Err(RelayUrlError::StartTlsPort(port)),
            _ => {}
        }
        if options.max_connections == 0 {
            return Err(RelayUrlError::NoConnections);
        }
        Ok(Self {
            name: options.name.unwrap_or_else(|| host.clone()),
            host,
            port,
            security,
            login,
            max_connections: options.max_connections,
            ehlo_name: options.ehlo_name.unwrap_or_else(EhloName::of_this_machine),
            extra_roots: options.extra_roots,
        })
    }
}

/// The host, and whether it is this machine. `smtp` is no special scheme, so an IPv4 address arrives as a name.
fn host_of(url: &Url) -> Result<(String, bool), RelayUrlError> {
    match url.host() {
        None | Some(Host::Domain("")) => Err(RelayUrlError::NoHost),
        Some(Host::Ipv4(ip)) => Ok((ip.to_string(), ip.is_loopback())),
        Some(Host::Ipv6(ip)) => Ok((ip.to_string(), ip.is_loopback())),
        Some(Host::Domain(name)) => {
            let loopback = match name.parse::<IpAddr>() {
                Ok(ip) => ip.is_loopback(),
                Err(_) => name.eq_ignore_ascii_case("localhost"),
            };
            Ok((name.to_owned(), loopback))
        }
    }
}

fn user_of(url: &Url) -> Result<Option<String>, RelayUrlError> {
    if url.username().is_empty() {
        return Ok(None);
    }
    let encoded = url.username().bytes().collect::<Vec<_>>();
    let mut user = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_slice();
    while let [first, tail @ ..] = rest {
        let digits = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        user.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    let user = String::from_utf8(user).map_err(|_| RelayUrlError::User)?;
    if user.chars().any(char::is_control) {
        return Err(RelayUrlError::User);
    }
    Ok(Some(user))
}

/// What EHLO says: a host name or an address literal (RFC 5321, section 4.1.1.1). Nothing else can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EhloName(ClientId);

/// A text that is no host name and no IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EHLO needs a host name such as mail.example.org, or an IP address")]
pub struct EhloNameError;

impl EhloName {
    /// Reads a host name or an IP address.
    pub fn parse(text: &str) -> Result<Self, EhloNameError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(match ip {
                IpAddr::V4(ip) => ClientId::Ipv4(ip),
                IpAddr::V6(ip) => ClientId::Ipv6(ip),
            }));
        }
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
    use super::*;

    fn parse(
        url: &str,
        password: Option<&str>,
        insecure: bool,
    ) -> Result<RelayConfig, RelayUrlError> {
        let options = RelayOptions {
            password: password.map(SecretString::from),
            insecure,
            ..RelayOptions::default()
        };
        RelayConfig::parse(url, options)
    }

    #[test]
    fn the_scheme_chooses_protection_and_port() {
        for (url, password, security, port) in [
            (
                "smtps://ada@relay.example",
                Some("x"),
                Security::ImplicitTls,
                465,
            ),
            (
                "smtps://relay.example:10465",
                None,
                Security::ImplicitTls,
                10465,
            ),
            (
                "smtp://ada@relay.example",
                Some("x"),
                Security::StartTls,
                587,
            ),
            ("smtp://relay.example:25", None, Security::StartTls, 25),
            (
                "smtp://ada@localhost:1025",
                Some("x"),
                Security::StartTls,
                1025,
            ),
            ("smtp://localhost:1025", None, Security::Plain, 1025),
            ("smtp://127.0.0.1:1025/", None, Security::Plain, 1025),
            ("smtp://[::1]:1025", None, Security::Plain, 1025),
        ] {
            let relay = parse(url, password, false).unwrap();
            assert_eq!((relay.security, relay.port), (security, port), "{url}");
            assert_eq!(relay.login.is_some(), password.is_some());
        }
        let relay = parse("smtp://relay.example", None, true).unwrap();
        assert_eq!(relay.security, Security::Plain);
    }

    #[test]
    fn a_user_may_be_an_address() {
        for url in [
            "smtps://ada@example.org@relay.example",
            "smtps://ada%40example.org@relay.example",
        ] {
            let (user, _) = parse(url, Some("x"), false).unwrap().login.unwrap();
            assert_eq!(user, "ada@example.org");
        }
    }

    #[test]
    fn mistakes_are_answered_with_what_to_write() {
        use RelayUrlError as E;
        for (url, password, insecure, error) in [
            (
                "relay.example",
                None,
                false,
                E::NotAUrl(url::ParseError::RelativeUrlWithoutBase),
            ),
            (
                "https://relay.example",
                None,
                false,
                E::Scheme("https".to_owned()),
            ),
            (
                "relay.example:587",
                None,
                false,
                E::Scheme("relay.example".to_owned()),
            ),
            ("smtp://", None, false, E::NoHost),
            (
                "smtps://ada:secret@relay.example",
                None,
                false,
                E::PasswordInUrl,
            ),
            (
                "smtps://relay.example/x",
                None,
                false,
                E::Trailing("/x".to_owned()),
            ),
            (
                "smtps://relay.example?x",
                None,
                false,
                E::Trailing("?x".to_owned()),
            ),
            ("smtps://ada@relay.example", None, false, E::PasswordMissing),
            (
                "smtps://relay.example",
                Some("x"),
                false,
                E::UserMissing("smtps".to_owned()),
            ),
            ("smtp://relay.example:465", None, false, E::ImplicitPort),
            (
                "smtps://relay.example:587",
                None,
                false,
                E::StartTlsPort(587),
            ),
            ("smtp://ada@relay.example", Some("x"), true, E::LoginInClear),
            ("smtps://relay.example", None, true, E::InsecureTls),
            ("smtps://a%ff@relay.example", Some("x"), false, E::User),
            ("smtps://a%0d%0a@relay.example", Some("x"), false, E::User),
        ] {
            let found = parse(url, password, insecure).unwrap_err();
            assert_eq!(found, error, "{url}");
            assert!(!found.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let relay = parse("smtps://ada@relay.example", Some("hunter2"), false).unwrap();
        assert!(!format!("{relay:?}").contains("hunter2"));
    }

    #[test]
    fn ehlo_says_nothing_but_a_name_or_an_address() {
        for text in [
            "",
            "a b",
            "a\r\nQUIT",
            "-a.example",
            "a..b",
            "under_score",
            "[127.0.0.1]",
        ] {
            assert_eq!(EhloName::parse(text), Err(EhloNameError), "{text:?}");
        }
        let said = |text| EhloName::parse(text).unwrap().client_id().to_string();
        assert_eq!(said("mail.example.org"), "mail.example.org");
        assert_eq!(said("::1"), "[IPv6:::1]");
    }
}
