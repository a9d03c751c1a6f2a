//! What an outbound request may reach: public addresses on the usual ports, and what the operator allows beside them.
//!
//! A feed's URL, and every redirect it answers with, was written by somebody else. Without this check it could name
//! the machine's own services or a cloud's metadata address. Names are judged by the addresses they resolve to, in the
//! resolver that the connection itself uses, so that a name cannot change its answer between check and connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config::FetchAllowance;

/// What may be fetched beyond public addresses on ports 80 and 443 (`fetch.allow`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchPolicy {
    /// Host names, lower-case, that may resolve to any address.
    pub hosts: Vec<String>,
    /// Networks that may be reached, whatever the name.
    pub networks: Vec<IpNet>,
    /// Ports that may be used.
    pub ports: Vec<u16>,
}

/// Why a URL is not fetched. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not `http` or `https`.
    #[error("{0}: addresses cannot be fetched, only http: and https:")]
    Scheme(String),
    /// A port other than 80, 443 or an allowed one.
    #[error("port {0} is not allowed; add it to fetch.allow if it is meant")]
    Port(u16),
    /// An address that is not public, written in the URL or behind the name.
    #[error(
        "{0} leads to {1}, which is not a public address; add it to fetch.allow if it is meant"
    )]
    Address(String, IpAddr),
    /// The URL names no host.
    #[error("the address names no host")]
    NoHost,
}

impl FetchPolicy {
    /// What the setting `fetch.allow` lists.
    pub fn new(allowances: &[FetchAllowance]) -> Self {
        let mut policy = Self::default();
        for allowance in allowances {
            match allowance {
                FetchAllowance::Host(host) => policy.hosts.push(host.to_ascii_lowercase()),
                FetchAllowance::Network(network) => policy.networks.push(*network),
                FetchAllowance::Port(port) => policy.ports.push(*port),
            }
        }
        policy
    }

    /// Checks everything about `url` that can be seen without resolving its host.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let port = url.port_or_known_default().ok_or(Refused::NoHost)?;
        if !matches!(port, 80 | 443) && !self.ports.contains(&port) {
            return Err(Refused::Port(port));
        }
        match url.host() {
            // Literal addresses never pass the resolver, so they are judged here.
            Some(Host::Ipv4(address)) => self.check_address(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.check_address(&address.to_string(), address.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(Refused::NoHost),
        }
    }

    /// Checks one address that `host` resolved to, or is.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let address = unwrapped(address);
        let allowed = is_public(address)
            || self.networks.iter().any(|net| net.contains(&address))
            || self.hosts.iter().any(|allowed| allowed == host);
        if allowed {
            Ok(())
        } else {
            Err(Refused::Address(host.to_owned(), address))
        }
    }
}

/// Resolves names. The system's resolver, or a scripted one in tests.
pub trait Lookup: Send + Sync {
    /// The addresses of `host`.
    fn addresses(&self, host: String) -> LookupFuture;
}

/// A lookup under way.
pub type LookupFuture = futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, host: String) -> LookupFuture {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The resolver that connections use: answers only with addresses that the policy allows.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) policy: Arc<FetchPolicy>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let policy = self.policy.clone();
        let found = self.lookup.addresses(host.clone());
        Box::pin(async move {
            let mut refused = None;
            let mut allowed = Vec::new();
            for address in found.await? {
                match policy.check_address(&host, address) {
                    Ok(()) => allowed.push(std::net::SocketAddr::new(address, 0)),
                    Err(reason) => refused = Some(reason),
                }
            }
            match refused {
                Some(reason) if allowed.is_empty() => Err(reason.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// The IPv4 address inside an IPv4-mapped (`::ffff:0:0/96`) or NAT64 (`64:ff9b::/96`, RFC 6052) one, which is where the
/// packets go; other addresses as they are.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let segments = v6.segments();
    match segments[..6] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            let bits = u32::from(segments[6]) << 16 | u32::from(segments[7]);
            Ipv4Addr::from_bits(bits).into()
        }
        _ => address,
    }
}

/// Whether packets to `address` leave for the public internet: the special-purpose registries of RFC 6890 are not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]        // this network, private, loopback, multicast, reserved
            | [100, 64..=127, ..]             // carrier-grade NAT
            | [169, 254, ..]                  // link-local, clouds' metadata
            | [172, 16..=31, ..]              // private
            | [192, 168, ..]                  // private
            | [192, 0, 0 | 2, _]              // protocol assignments, documentation
            | [192, 88, 99, _]                // 6to4 relays
            | [198, 18 | 19, ..]              // benchmarks
            | [198, 51, 100, _]               // documentation
            | [203, 0, 113, _] // documentation
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is handed out for global use; loopback, link-local, unique local and multicast lie outside.
    let global = a & 0xe000 == 0x2000;
    let special = a == 0x2002                         // 6to4 carries any IPv4 address
        || (a == 0x2001 && b < 0x0200)                // protocol assignments, Teredo among them
        || (a == 0x2001 && b == 0x0db8)               // documentation
        || (a == 0x3fff && b < 0x1000); // documentation
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> bool {
        FetchPolicy::default()
            .check_url(&Url::parse(url).unwrap())
            .is_err()
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "[::]",
            "[::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[2001:db8::1]",
            "[::127.0.0.1]",
        ] {
            assert!(refused(&format!("http://{host}/")), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "93.184.216.34",
            "example.org",
            "[2606:2800:220:1::1]",
            "[64:ff9b::5db8:d822]",
            "[::ffff:93.184.216.34]",
        ] {
            assert!(!refused(&format!("https://{host}/")), "{host}");
        }
    }

    #[test]
    fn schemes_and_ports_are_limited() {
        for url in [
            "file:///etc/passwd",
            "ftp://example.org/",
            "http://example.org:22/",
            "gopher://example.org:80/",
        ] {
            assert!(refused(url), "{url}");
        }
        let policy = FetchPolicy::new(&[FetchAllowance::Port(8080)]);
        let url = Url::parse("http://example.org:8080/").unwrap();
        assert_eq!(policy.check_url(&url), Ok(()));
    }

    #[test]
    fn an_allowance_reaches_as_far_as_it_says() {
        let policy = FetchPolicy::new(&[
            FetchAllowance::Network("10.0.0.0/8".parse().unwrap()),
            FetchAllowance::Host("Feeds.Internal".to_owned()),
        ]);
        let check =
            |host, address: &str| policy.check_address(host, address.parse().unwrap()).is_ok();
        assert!(check("x", "10.1.2.3") && check("x", "::ffff:10.1.2.3"));
        assert!(check("feeds.internal", "192.168.0.1"));
        assert!(!check("other.internal", "192.168.0.1"));
    }
}
