//! Reading the whole journal.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _};

use super::{Kind, line};
use crate::clock::Timestamp;
use crate::id::SubscriptionId;

/// What a journal says.
#[derive(Debug, Default)]
pub struct Loaded {
    /// When each subscription was ended, the last time.
    pub latest: HashMap<SubscriptionId, Timestamp>,
    /// The numbers of lines that are not as they were written.
    pub damaged: Vec<u64>,
}

pub(super) fn load(file: &mut File) -> io::Result<Loaded> {
    file.rewind()?;
    let mut loaded = Loaded::default();
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(loaded);
        }
        number += 1;
        match line::read(line.strip_suffix(b"\n").unwrap_or(&line)) {
            Some(entry) => match entry.kind {
                Kind::Unsubscribe => {
                    let latest = loaded.latest.entry(entry.subscription).or_insert(entry.at);
                    *latest = entry.at.max(*latest);
                }
            },
            None => loaded.damaged.push(number),
        }
    }
}
