//! Where every link begins.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use url::{Host, Url};

/// The public address of the service: scheme, host, perhaps a port and a path; no slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
    text: String,
}

impl BaseUrl {
    /// The link to `path`, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        debug_assert!(path.starts_with('/'), "a path begins with a slash: {path}");
        format!("{}{path}", self.text)
    }

    /// The whole address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path in front of every path of ours: empty, or `/news` without a slash at its end.
    pub fn path_prefix(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// The host, without port.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Scheme, host and port, as browsers write them in `Origin`.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether readers come by https.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl FromStr for BaseUrl {
    type Err = &'static str;

    /// An error says what to write.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim())
            .map_err(|_| "must be a whole URL, such as https://news.example.org")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user name or password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not have a ? or # in it");
        }
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
            None => return Err("must have a host name"),
        };
        if url.scheme() == "http" && !local {
            return Err("must begin with https:// (http is accepted for this machine itself only)");
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, text })
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        String::deserialize(de)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_in_front_of_every_link() {
        let base: BaseUrl = "https://Example.org:8443/news/".parse().expect("valid");
        assert_eq!(
            base.join("/confirm/x"),
            "https://example.org:8443/news/confirm/x"
        );
        assert_eq!(base.path_prefix(), "/news");
        assert_eq!(base.host(), "example.org");
        assert_eq!(base.origin(), "https://example.org:8443");
        let plain: BaseUrl = "https://example.org".parse().expect("valid");
        assert_eq!(plain.join("/"), "https://example.org/");
        assert_eq!(plain.path_prefix(), "");
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for text in [
            "http://localhost:8080",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
            "http://news.localhost",
        ] {
            assert!(text.parse::<BaseUrl>().is_ok(), "{text}");
        }
        for text in [
            "http://example.org",
            "http://10.0.0.1",
            "ftp://example.org",
            "example.org",
            "javascript:alert(1)",
            "https://u:p@example.org",
            "https://example.org/?a",
            "https://example.org/#a",
            "https://",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }
}
