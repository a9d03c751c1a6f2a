//! What a relay said it can do, from its reply to EHLO.

use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::extension::{Extension, ServerInfo};
use lettre::transport::smtp::response::Response;

use super::reply::Reply;

/// What the relay offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Several commands may go out in one write (RFC 2920).
    pub(crate) pipelining: bool,
    /// SIZE was offered (RFC 1870): the largest message in bytes, 0 when none was named.
    pub(crate) size: Option<u64>,
    /// Addresses need not be ASCII (RFC 6531).
    pub(crate) smtputf8: bool,
    /// STARTTLS was offered (RFC 3207).
    pub(crate) starttls: bool,
    /// How to log in, best first.
    pub(crate) mechanism: Option<Mechanism>,
    /// The names of all mechanisms offered, for messages.
    pub(crate) mechanisms: Vec<String>,
}

impl Capabilities {
    /// Reads the 250 reply to EHLO. Its first line is the greeting and names no capability.
    pub(crate) fn from_ehlo(reply: &Reply) -> Self {
        let mut own = Self::default();
        let mut lines = vec![String::from("relay")];
        for line in reply.lines.iter().skip(1) {
            // Some servers write the old form `AUTH=PLAIN LOGIN`, some lower case.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("PIPELINING") => own.pipelining = true,
                Some("SIZE") => {
                    own.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
                }
                Some("AUTH") => own.mechanisms.extend(words.map(str::to_owned)),
                _ => {}
            }
            lines.push(line);
        }
        let Some(code) = reply.to_response().map(|response| response.code()) else {
            return own;
        };
        if let Ok(info) = ServerInfo::from_response(&Response::new(code, lines)) {
            own.smtputf8 = info.supports_feature(Extension::SmtpUtfEight);
            own.starttls = info.supports_feature(Extension::StartTls);
            own.mechanism = info.get_auth_mechanism(&[Mechanism::Plain, Mechanism::Login]);
        }
        own
    }

    /// The largest message that may be offered, in bytes.
    pub(crate) fn size_limit(&self) -> Option<u64> {
        self.size.filter(|limit| *limit > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ehlo(lines: &[&str]) -> Capabilities {
        Capabilities::from_ehlo(&Reply {
            code: 250,
            enhanced: None,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        })
    }

    #[test]
    fn capabilities_are_read_in_any_case_and_in_the_old_form() {
        let relay = ehlo(&[
            "relay hello",
            "Pipelining",
            "size 1000",
            "starttls",
            "AUTH=login plain",
            "SMTPUTF8",
        ]);
        assert!(relay.pipelining && relay.starttls && relay.smtputf8);
        assert_eq!(relay.size_limit(), Some(1000));
        assert_eq!(relay.mechanism, Some(Mechanism::Plain));
    }

    #[test]
    fn every_line_that_names_mechanisms_counts() {
        let relay = ehlo(&["relay", "AUTH GSSAPI", "AUTH=XOAUTH2", "auth Login"]);
        assert_eq!(relay.mechanism, Some(Mechanism::Login));
        assert_eq!(relay.mechanisms, ["GSSAPI", "XOAUTH2", "LOGIN"]);
    }

    #[test]
    fn the_greeting_offers_nothing() {
        assert_eq!(ehlo(&["STARTTLS PIPELINING"]), Capabilities::default());
        assert_eq!(ehlo(&["PIPELINING"]), Capabilities::default());
    }

    #[test]
    fn size_without_a_number_is_no_limit() {
        assert_eq!(ehlo(&["r", "SIZE"]).size_limit(), None);
        assert_eq!(ehlo(&["r", "SIZE 0"]).size_limit(), None);
    }
}
