//! One journal of two: a restored backup's, and the one that went on after it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::line;

/// All lines of `current`, as they are, then those entries of `backup` that it lacks. Either may be missing.
pub fn merge(current: &Path, backup: &Path) -> io::Result<Vec<u8>> {
    let (mut merged, backup) = (read(current)?, read(backup)?);
    if !merged.is_empty() && !merged.ends_with(b"\n") {
        // a torn end: what it would have said is in the tables, or was never answered for
        let whole = merged.iter().rposition(|byte| *byte == b'\n');
        merged.truncate(whole.map_or(0, |at| at + 1));
    }
    let known: HashSet<Vec<u8>> = merged
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for line in backup.split(|byte| *byte == b'\n') {
        if line::read(line).is_some() && !known.contains(line) {
            merged.extend_from_slice(line);
            merged.push(b'\n');
        }
    }
    Ok(merged)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}
