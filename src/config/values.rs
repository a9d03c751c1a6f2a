//! How the text of a setting becomes its value. Messages say what to write, and never repeat the value.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::{DatabaseTarget, FetchAllowance, RelaySettings};
use crate::subscribers::email_address::{AddressRules, EmailAddress};

/// So many in so long: `5/1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The most there may be.
    pub most: u32,
    /// In this time.
    pub per: Duration,
}

/// A span such as `30s`, `15m`, `1h30m`, `2d`, `500ms`. `None` where `text` is none.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = tail.trim_start();
    }
    // A hundred years is beyond any use, and keeps sums with instants in bounds.
    (sum <= Duration::from_hours(100 * 366 * 24)).then_some(sum)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(de: D) -> Result<Duration, D::Error> {
    const EXPECTED: &str = "must be a time with its unit, such as 30s, 15m, 48h or 7d";
    let text = de.deserialize_any(TextOrNumber)?;
    parse_duration(&text).ok_or_else(|| D::Error::custom(EXPECTED))
}

pub(super) fn confirm_lifetime<'de, D: Deserializer<'de>>(de: D) -> Result<Duration, D::Error> {
    let span = duration(de)?;
    let bounds = Duration::from_hours(1)..=Duration::from_hours(7 * 24);
    if bounds.contains(&span) {
        Ok(span)
    } else {
        Err(D::Error::custom("must be between 1h and 7d"))
    }
}

/// An array of texts, or one text with commas.
pub(super) fn list<'de, D, T>(de: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: ListItem,
{
    struct Items<T>(PhantomData<T>);
    impl<'de, T: ListItem> Visitor<'de> for Items<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items
                .map(|item| T::read(item).ok_or_else(|| E::custom(T::EXPECTED)))
                .collect()
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(Text(item)) = seq.next_element()? {
                items.push(T::read(item.trim()).ok_or_else(|| A::Error::custom(T::EXPECTED))?);
            }
            Ok(items)
        }
    }
    de.deserialize_any(Items(PhantomData))
}

/// What can stand in a list.
pub(super) trait ListItem: Sized {
    /// Said when an item cannot be read.
    const EXPECTED: &'static str;
    /// Reads one item.
    fn read(text: &str) -> Option<Self>;
}

impl ListItem for IpNet {
    const EXPECTED: &'static str =
        "must be networks such as 10.0.0.0/8 or fd00::/8, separated by commas";
    fn read(text: &str) -> Option<Self> {
        network(text)
    }
}

impl ListItem for Limit {
    const EXPECTED: &'static str = "must be limits such as 5/1h, 20/24h";
    fn read(text: &str) -> Option<Self> {
        let (most, per) = text.split_once('/')?;
        let per = parse_duration(per).filter(|per| !per.is_zero())?;
        Some(Self {
            most: most.trim().parse().ok()?,
            per,
        })
    }
}

impl ListItem for FetchAllowance {
    const EXPECTED: &'static str =
        "must be host names, networks such as 10.0.0.0/8, or ports, separated by commas";
    fn read(text: &str) -> Option<Self> {
        if let Ok(port) = text.parse() {
            return Some(Self::Port(port));
        }
        network(text)
            .map(Self::Network)
            .or_else(|| parse_host_name(text).map(Self::Host))
    }
}

fn network(text: &str) -> Option<IpNet> {
    IpNet::from_str(text)
        .ok()
        .or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

/// A host name in lower case: labels of letters, digits and hyphens (RFC 1123, section 2.1).
pub(super) fn parse_host_name(text: &str) -> Option<String> {
    let name = idna::domain_to_ascii_strict(text).ok()?;
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    (!name.is_empty() && !last_is_number).then_some(name)
}

pub(super) fn host_name<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(de)?;
    let name = parse_host_name(&text);
    name.map(Some)
        .ok_or_else(|| D::Error::custom("must be a host name, without scheme, port or path"))
}

pub(super) fn mailbox<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(de)?;
    let rules = AddressRules {
        allow_roles: true,
        allow_special_use: true,
        smtputf8: false,
    };
    EmailAddress::parse(&text, rules)
        .map(|address| Some(address.to_wire()))
        .map_err(|_| D::Error::custom("must be one address, such as bounces@example.org"))
}

pub(super) fn sender_id<'de, D: Deserializer<'de>>(de: D) -> Result<String, D::Error> {
    let Text(text) = Text::deserialize(de)?;
    let valid = (5..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if valid {
        Ok(text)
    } else {
        Err(D::Error::custom("must be 5 to 15 letters and digits"))
    }
}

pub(super) fn log_filter<'de, D: Deserializer<'de>>(de: D) -> Result<String, D::Error> {
    let text = String::deserialize(de)?;
    match tracing_subscriber::EnvFilter::try_new(&text) {
        Ok(_) if !text.trim().is_empty() => Ok(text),
        _ => Err(D::Error::custom(
            "must be error, warn, info, debug, trace, or a filter by module",
        )),
    }
}

pub(super) fn database_url<'de, D: Deserializer<'de>>(
    de: D,
) -> Result<Option<DatabaseTarget>, D::Error> {
    const EXPECTED: &str = "must be sqlite:PATH or postgres://USER@HOST/NAME";
    let text = String::deserialize(de)?;
    let text = text.trim();
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(['?', ':']) {
            return Err(D::Error::custom(EXPECTED));
        }
        return Ok(Some(DatabaseTarget::Sqlite(path.into())));
    }
    let postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if !postgres || url::Url::parse(text).is_err() {
        return Err(D::Error::custom(EXPECTED));
    }
    Ok(Some(DatabaseTarget::Postgres(SecretString::from(text))))
}

/// A text; a number is taken as its text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_any(TextOrNumber).map(Self)
    }
}

struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// Messages a second.
pub(super) fn rate<'de, D: Deserializer<'de>>(de: D) -> Result<Option<f64>, D::Error> {
    let rate = f64::deserialize(de)?;
    if rate.is_finite() && rate > 0.0 {
        return Ok(Some(rate));
    }
    Err(D::Error::custom(
        "must be a number of messages a second, above 0",
    ))
}

/// A list of relays: tables in the file, JSON in the environment.
pub(super) fn relays<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<RelaySettings>, D::Error> {
    de.deserialize_any(Relays)
}

struct Relays;

impl<'de> Visitor<'de> for Relays {
    type Value = Vec<RelaySettings>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables [[smtp.relays]], or in the environment a JSON list of objects")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        // not the error's own text: a secret may stand in it
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            E::custom(format!(
                "is not a JSON list of relays (line {line}, column {column})"
            ))
        })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(seq))
    }
}
