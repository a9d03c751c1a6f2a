//! The verdict of every test that kills something: the relay's record against the database.

use std::collections::BTreeMap;

use super::smtp_server::SmtpServer;

/// What the relay has accepted: for each reader the hashes of their copies.
pub(crate) struct Copies(BTreeMap<String, Vec<String>>);

impl Copies {
    pub(crate) fn at(relay: &SmtpServer) -> Self {
        let mut copies = BTreeMap::<String, Vec<String>>::new();
        for accepted in relay.accepted() {
            let of_reader = copies.entry(accepted.recipient).or_default();
            of_reader.push(accepted.hash);
        }
        Self(copies)
    }

    /// Readers with a copy.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn has(&self, reader: &str) -> bool {
        self.0.contains_key(reader)
    }

    /// How many copies a reader has.
    pub(crate) fn of(&self, reader: &str) -> usize {
        self.0.get(reader).map_or(0, Vec::len)
    }

    /// Copies beyond each reader's first.
    pub(crate) fn extra(&self) -> usize {
        self.0.values().map(|hashes| hashes.len() - 1).sum()
    }

    /// A copy more than one has a doubt in the record (`doubts`, by reader), and all copies of a reader are the same bytes.
    pub(crate) fn assert_within_doubts(&self, doubts: impl Fn(&str) -> i64) {
        for (reader, hashes) in &self.0 {
            let doubt = usize::try_from(doubts(reader)).unwrap();
            assert!(
                hashes.len() <= 1 + doubt,
                "{reader} got {} copies with {doubt} doubts",
                hashes.len()
            );
            assert!(
                hashes.iter().all(|hash| hash == &hashes[0]),
                "the copies of {reader} differ"
            );
        }
    }
}
