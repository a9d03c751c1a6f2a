//! What a disk may hold when the power fails: what was synced for sure, anything of the rest.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::record::{Event, What};

/// Files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Disks keep or lose so much at a time.
const SECTOR: usize = 512;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Dropped,
    Kept,
    /// Each change has its own, and writes may be torn between sectors.
    Mixed,
}

/// A change to a file that may be lost.
#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut { length: usize },
}

/// A change of names. A file system with a journal keeps their order.
#[derive(Clone)]
enum Naming {
    Name { name: String, file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    waiting: Vec<(usize, Change)>,
    /// How long the process sees it.
    length: usize,
}

struct Disk {
    files: Vec<File>,
    /// Names as the process sees them.
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    waiting: Vec<(usize, Naming)>,
}

/// The folder at the moment of line `until`, when the power fails. Where syncs do not count, none has happened.
pub(super) fn after_power_loss(
    base: &Files,
    events: &[Event],
    until: usize,
    syncs_count: bool,
    fate: Fate,
    random: &mut StdRng,
) -> Files {
    let mut disk = Disk::of(base);
    for event in events.iter().filter(|event| event.began < until) {
        match &event.what {
            What::Synced { path } if syncs_count && event.ended < until => {
                disk.sync(path, event.began);
            }
            What::Synced { .. } | What::Sent { .. } | What::Received { .. } => {}
            change => disk.change(change, event.ended),
        }
    }
    disk.fail(fate, random)
}

impl Disk {
    fn of(base: &Files) -> Self {
        let names: BTreeMap<String, usize> = base.keys().cloned().zip(0..).collect();
        let files = base.values().map(|bytes| File {
            durable: bytes.clone(),
            waiting: Vec::new(),
            length: bytes.len(),
        });
        Self {
            files: files.collect(),
            seen: names.clone(),
            durable: names,
            waiting: Vec::new(),
        }
    }

    fn change(&mut self, what: &What, ended: usize) {
        match what {
            What::Made { path, is_emptied } => {
                if !self.seen.contains_key(path) {
                    self.files.push(File::default());
                    let file = self.files.len() - 1;
                    let name = path.clone();
                    self.seen.insert(name.clone(), file);
                    self.waiting.push((ended, Naming::Name { name, file }));
                }
                if *is_emptied {
                    self.alter(path, ended, Change::Cut { length: 0 });
                }
            }
            What::Written { path, at, bytes } => {
                let end = || {
                    self.seen
                        .get(path)
                        .map_or(0, |file| self.files[*file].length)
                };
                let at = at.unwrap_or_else(end);
                let bytes = bytes.clone();
                self.alter(path, ended, Change::Write { at, bytes });
            }
            What::Cut { path, length } => {
                self.alter(path, ended, Change::Cut { length: *length });
            }
            What::Renamed { from, to } => {
                if let Some(file) = self.seen.remove(from) {
                    self.seen.insert(to.clone(), file);
                    let (from, to) = (from.clone(), to.clone());
                    self.waiting.push((ended, Naming::Rename { from, to }));
                }
            }
            What::Removed { path } => {
                if self.seen.remove(path).is_some() {
                    let name = path.clone();
                    self.waiting.push((ended, Naming::Remove { name }));
                }
            }
            What::Synced { .. } | What::Sent { .. } | What::Received { .. } => {}
        }
    }

    fn alter(&mut self, path: &str, ended: usize, change: Change) {
        // other files, such as the log of SQLite's index, are none of ours
        let Some(file) = self.seen.get(path) else {
            return;
        };
        let file = &mut self.files[*file];
        match &change {
            Change::Write { at, bytes } => file.length = file.length.max(at + bytes.len()),
            Change::Cut { length } => file.length = *length,
        }
        file.waiting.push((ended, change));
    }

    /// A sync that began at line `began` makes durable what had ended before.
    fn sync(&mut self, path: &str, began: usize) {
        if let Some(file) = self.seen.get(path) {
            let file = &mut self.files[*file];
            let (synced, waiting) = std::mem::take(&mut file.waiting)
                .into_iter()
                .partition(|(ended, _)| *ended < began);
            file.waiting = waiting;
            for (_, change) in synced {
                apply(&mut file.durable, change, |_| true);
            }
        } else {
            let folder = format!("{path}/");
            let (synced, waiting) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|(ended, naming)| *ended < began && naming.is_in(&folder));
            self.waiting = waiting;
            for (_, naming) in synced {
                naming.apply(&mut self.durable);
            }
        }
    }

    fn fail(mut self, fate: Fate, random: &mut StdRng) -> Files {
        let kept = match fate {
            Fate::Dropped => 0,
            Fate::Kept => self.waiting.len(),
            Fate::Mixed => random.random_range(0..=self.waiting.len()),
        };
        for (_, naming) in self.waiting.drain(..kept) {
            naming.apply(&mut self.durable);
        }
        for file in &mut self.files {
            for (_, change) in std::mem::take(&mut file.waiting) {
                let own = match fate {
                    Fate::Dropped => 0,
                    Fate::Kept => 1,
                    Fate::Mixed => random.random_range(0..3),
                };
                match own {
                    0 => {}
                    1 => apply(&mut file.durable, change, |_| true),
                    _ => apply(&mut file.durable, change, |_| random.random_bool(0.5)),
                }
            }
        }
        self.durable
            .into_iter()
            .map(|(name, file)| (name, std::mem::take(&mut self.files[file].durable)))
            .collect()
    }
}

/// Changes the bytes, but for the sectors that are lost.
fn apply(durable: &mut Vec<u8>, change: Change, mut is_kept: impl FnMut(usize) -> bool) {
    match change {
        Change::Cut { length } => durable.resize(length, 0),
        Change::Write { at, bytes } => {
            let end = at + bytes.len();
            let mut from = at;
            while from < end {
                let to = ((from / SECTOR + 1) * SECTOR).min(end);
                if is_kept(from / SECTOR) {
                    durable.resize(durable.len().max(to), 0);
                    durable[from..to].copy_from_slice(&bytes[from - at..to - at]);
                }
                from = to;
            }
        }
    }
}

impl Naming {
    fn is_in(&self, folder: &str) -> bool {
        let name = match self {
            Self::Name { name, .. } | Self::Remove { name } => name,
            Self::Rename { to, .. } => to,
        };
        name.starts_with(folder)
    }

    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Name { name, file } => drop(names.insert(name, file)),
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
            Self::Remove { name } => drop(names.remove(&name)),
        }
    }
}
