//! Logs: how they start, and what must never stand in them.
//!
//! No address, token, secret, subject or body is logged. Addresses are masked by [`mask_email`] and [`mask_emails`].

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};

/// The log filter of `log.level` is not one, or logs were started before.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `log.level` cannot be read.
    #[error(
        "log.level is not a level (error, warn, info, debug, trace) or a filter such as `info,paperround::smtp=debug`"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process already takes the logs.
    #[error("logs were started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Libraries that write what they are given into their finest logs: mails with their links, requests with their tokens.
/// They are kept quiet whatever the filter says.
const TELL_CONTENTS: [&str; 3] = ["html5ever=info", "markup5ever=info", "selectors=info"];

/// Starts logs on standard error: words for a person at a terminal, JSON for a collector.
///
/// At most once in a process.
pub fn start(config: &LogConfig) -> Result<(), StartError> {
    let mut filter = EnvFilter::try_new(&config.level)?;
    for directive in TELL_CONTENTS {
        filter = filter.add_directive(directive.parse()?);
    }
    let text = match config.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if text {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false);
        registry.with(layer).try_init()?;
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr);
        registry.with(layer).try_init()?;
    }
    Ok(())
}

/// `address` with its owner hidden: the first character of the local part, then `***@` and the domain.
///
/// What is not an address is hidden whole.
pub fn mask_email(address: &str) -> String {
    match (address.chars().next(), address.rsplit_once('@')) {
        (Some(first), Some((local, domain))) if !local.is_empty() => {
            let domain: String = domain
                .chars()
                .filter(|c| !c.is_control())
                .take(253)
                .collect();
            let first = if first.is_control() { '*' } else { first };
            format!("{first}***@{domain}")
        }
        _ => "***".to_owned(),
    }
}

/// `text` with every address in it masked: relays quote addresses in their replies.
pub fn mask_emails(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "<>()[]\"',;:".contains(c);
    text.split_inclusive(ends)
        .map(|piece| {
            let word = piece.trim_end_matches(ends);
            if word.contains('@') {
                mask_email(word) + &piece[word.len()..]
            } else {
                piece.to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_address_shows_one_letter_and_the_domain() {
        for (address, masked) in [
            ("ada@example.org", "a***@example.org"),
            ("é.b@example.org", "é***@example.org"),
            ("a@x@example.org", "a***@example.org"),
            ("@example.org", "***"),
            ("ada", "***"),
            ("", "***"),
            ("\r\nx@exa\nmple.org", "****@example.org"),
        ] {
            assert_eq!(mask_email(address), masked);
        }
    }

    #[test]
    fn addresses_in_a_text_are_masked_and_the_rest_stays() {
        for (text, masked) in [
            (
                "550 5.1.1 <ada@example.org>: no such user",
                "550 5.1.1 <a***@example.org>: no such user",
            ),
            ("ada@example.org", "a***@example.org"),
            (
                "said \"no\" to é@x.org, twice",
                "said \"no\" to é***@x.org, twice",
            ),
            ("250 ok", "250 ok"),
            ("", ""),
        ] {
            assert_eq!(mask_emails(text), masked);
        }
    }
}
