//! Who asks: the client's address behind proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of `peer`'s client: the right-most hop that is not in `trusted_proxies`.
///
/// A proxy appends the address it was called from, so everything left of the first hop that we do not trust can
/// be written by anybody. `X-Forwarded-For` is read where present, else `Forwarded` (RFC 7239), and only if the
/// peer itself is trusted. A hop that is no address ends the walk: the hop to its right is the answer.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted_proxies.iter().any(|net| net.contains(&address));
    let mut address = unmapped(peer);
    for hop in hops(headers).iter().rev() {
        if !is_trusted(address) {
            break;
        }
        match parse_hop(hop) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is that IPv4 address.
fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The hops of all forwarding headers in the order they were added, oldest first.
fn hops(headers: &HeaderMap) -> Vec<String> {
    let values = |name: &HeaderName| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            // A value that is not text still counts as a hop, so that it cannot hide what stands left of it.
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .map(|hop| hop.trim().to_owned())
            .collect()
    };
    let legacy = values(&X_FORWARDED_FOR);
    if !legacy.is_empty() {
        return legacy;
    }
    values(&FORWARDED)
        .iter()
        .map(|element| forwarded_for(element).unwrap_or_default())
        .collect()
}

/// The `for` of one `Forwarded` element, unquoted.
fn forwarded_for(element: &str) -> Option<String> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(unmapped(address));
    }
    if let Ok(address) = hop.parse::<SocketAddr>() {
        return Some(unmapped(address.ip()));
    }
    let bare = hop.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>()
        .ok()
        .map(|address| unmapped(address.into()))
}

/// Where a peer is unknown, as in a request that never was on a socket.
pub(super) const NO_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(peer: &str, header: &'static str, value: &str, expect: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_str(value).unwrap());
        let trusted = [
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8:1::/48".parse().unwrap(),
        ];
        let found = client_address(peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(
            found,
            expect.parse::<IpAddr>().unwrap(),
            "{peer} {header}: {value}"
        );
    }

    #[test]
    fn the_right_most_untrusted_hop_is_the_client() {
        let xff = "x-forwarded-for";
        check("192.0.2.7", xff, "203.0.113.9", "192.0.2.7");
        check("10.0.0.1", xff, "203.0.113.9", "203.0.113.9");
        check("10.0.0.1", xff, "1.1.1.1, 203.0.113.9", "203.0.113.9");
        check(
            "10.0.0.1",
            xff,
            "1.1.1.1, 203.0.113.9, 10.9.9.9",
            "203.0.113.9",
        );
        check("10.0.0.1", xff, "10.1.1.1, 10.2.2.2", "10.1.1.1");
        check("10.0.0.1", xff, "203.0.113.9:4711", "203.0.113.9");
        check("10.0.0.1", xff, "[2001:db8::9]:4711", "2001:db8::9");
        check("::ffff:10.0.0.1", xff, "::ffff:203.0.113.9", "203.0.113.9");
    }

    #[test]
    fn a_hop_that_is_no_address_hides_nothing_behind_it() {
        let xff = "x-forwarded-for";
        check("10.0.0.1", xff, "203.0.113.9, unknown", "10.0.0.1");
        check(
            "10.0.0.1",
            xff,
            "203.0.113.9, garbage, 10.3.3.3",
            "10.3.3.3",
        );
        check("10.0.0.1", xff, "", "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_where_the_usual_one_is_absent() {
        let forwarded = "forwarded";
        check(
            "10.0.0.1",
            forwarded,
            "for=203.0.113.9;proto=https",
            "203.0.113.9",
        );
        check(
            "10.0.0.1",
            forwarded,
            "for=1.1.1.1, For=\"[2001:db8::9]:80\"",
            "2001:db8::9",
        );
        check("10.0.0.1", forwarded, "proto=https", "10.0.0.1");
    }

    #[test]
    fn the_headers_of_several_proxies_are_one_list_that_nobody_can_hide_in() {
        let found = |peer: &str, lines: &[(&'static str, &[u8])]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_bytes(value).unwrap());
            }
            let trusted = [
                "10.0.0.0/8".parse().unwrap(),
                "2001:db8:1::/48".parse().unwrap(),
            ];
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        let (xff, forwarded) = ("x-forwarded-for", "forwarded");
        let own: (&'static str, &[u8]) = (xff, b"203.0.113.9");
        let forged: (&'static str, &[u8]) = (xff, b"1.1.1.1");
        assert_eq!(found("10.0.0.1", &[forged, own]), "203.0.113.9");
        assert_eq!(found("2001:db8:1::5", &[own]), "203.0.113.9");
        // what is no text is a hop, and nobody's
        let no_text: (&'static str, &[u8]) = (xff, b"\xff");
        assert_eq!(found("10.0.0.1", &[forged, no_text]), "10.0.0.1");
        let other: (&'static str, &[u8]) = (forwarded, b"for=1.1.1.1");
        assert_eq!(found("10.0.0.1", &[other, own]), "203.0.113.9");
    }
}
