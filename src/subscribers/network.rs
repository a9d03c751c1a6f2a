//! Networks, as limits count them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A client's network: the IPv4 address itself, or the /64 of an IPv6 address, which is one household or host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The network that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self::with_prefix(address, 32, 64)
    }

    /// The wider network of `address`: IPv4 /24, IPv6 /48.
    pub fn wide(address: IpAddr) -> Self {
        Self::with_prefix(address, 24, 48)
    }

    fn with_prefix(address: IpAddr, v4: u8, v6: u8) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { v4 } else { v6 };
        Self(
            IpNet::new(address, prefix)
                .expect("the prefix fits the address family")
                .trunc(),
        )
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_see_one_ipv6_household_as_one() {
        let network = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(
            Network::wide("192.0.2.1".parse().unwrap()).to_string(),
            "192.0.2.0/24"
        );
    }

    #[test]
    fn neighbours_share_their_wider_network_alone() {
        for addresses in [
            ["192.0.2.1", "192.0.2.255", "192.0.3.1"],
            ["2001:db8::1", "2001:db8:0:ffff::1", "2001:db8:1::1"],
        ] {
            let [one, neighbour, stranger] =
                addresses.map(|address| address.parse::<IpAddr>().unwrap());
            assert_ne!(Network::of(one), Network::of(neighbour));
            assert_eq!(Network::wide(one), Network::wide(neighbour));
            assert_ne!(Network::wide(one), Network::wide(stranger));
        }
    }
}
