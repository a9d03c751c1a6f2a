//! One line: `v1 KIND TIME SUBSCRIPTION PEPPER.HASH CHECKSUM`, with `-` where the address is unknown.

use data_encoding::HEXLOWER;

use super::Entry;
use crate::clock::Timestamp;
use crate::token::{PepperedHash, sha256};

/// The entry as a line, with its end.
pub(super) fn write(entry: &Entry) -> String {
    let Entry {
        kind,
        at,
        subscription,
        address,
    } = entry;
    let address = match address {
        Some(PepperedHash { pepper, hash }) => format!("{pepper}.{}", HEXLOWER.encode(hash)),
        None => "-".to_owned(),
    };
    let text = format!("v1 {kind} {at} {subscription} {address}");
    let checksum = checksum(&text);
    format!("{text} {checksum}\n")
}

/// The entry of a line without its end; `None` where it is none of ours, or not as it was written.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line).ok()?;
    let (text, sum) = line.rsplit_once(' ')?;
    if sum != checksum(text) {
        return None;
    }
    let mut parts = text.split(' ');
    let mut next = || parts.next();
    if next()? != "v1" {
        return None;
    }
    let kind = next()?.parse().ok()?;
    let at: jiff::Timestamp = next()?.parse().ok()?;
    let subscription = next()?.parse().ok()?;
    let address = match next()? {
        "-" => None,
        address => {
            let (pepper, hash) = address.split_once('.')?;
            let hash = HEXLOWER.decode(hash.as_bytes()).ok()?;
            Some(PepperedHash {
                pepper: pepper.to_owned(),
                hash: hash.try_into().ok()?,
            })
        }
    };
    next().is_none().then_some(Entry {
        kind,
        at: Timestamp::from(at),
        subscription,
        address,
    })
}

/// Enough to tell damage; nobody is meant to be kept from forging a file of their own.
fn checksum(text: &str) -> String {
    HEXLOWER.encode(&sha256(text.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SubscriptionId;
    use crate::suppressions::journal::Kind;

    #[test]
    fn a_line_reads_back_and_shows_no_address() {
        let ring = crate::token::KeyRing::generate(&crate::id::SeededEntropy::new(1));
        for address in [Some(ring.suppression_key("ada@example.org")), None] {
            let entry = Entry {
                kind: Kind::Unsubscribe,
                at: Timestamp::from_micros(1_783_400_400_000_001),
                subscription: SubscriptionId(uuid::Uuid::from_u128(7)),
                address,
            };
            let line = write(&entry);
            assert!(line.is_ascii() && !line.contains("ada"), "{line}");
            assert_eq!(read(line.trim_end().as_bytes()), Some(entry));
        }
    }
}
