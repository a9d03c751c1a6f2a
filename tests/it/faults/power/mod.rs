//! The power fails while an issue goes out. A kill cannot show a missing sync, for the system writes what it was given;
//! here the folder is rebuilt from the record of all writes and syncs as a disk may hold it, and the program starts on it.

mod disk;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use self::disk::{Fate, Files, after_power_loss};
use self::record::{CALLS, Event, What};
use super::rig::{DEADLINE, Rig};
use crate::support::seed;
use crate::support::service::Service;
use crate::support::smtp_server::SmtpServer;

const DOT: &[u8] = b"\r\n.\r\n";
/// Rebuilt by SQLite, or of no meaning to the next start.
const NOT_KEPT: [&str; 3] = ["-shm", ".log", ".record"];

/// A run under the eyes of strace.
struct Recorded {
    rig: Rig,
    base: Files,
    events: Vec<Event>,
    dots: Vec<Dot>,
    told: Vec<Told>,
    /// Lines of the record.
    lines: usize,
}

/// The end of a mail's text left for the relay, at this line.
struct Dot {
    at: usize,
    recipient: String,
}

/// A reader was answered that they are out, at this line.
struct Told {
    at: usize,
    reader: String,
}

fn files_of(folder: &Path) -> Files {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| {
            (
                path.to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .filter(|(name, _)| !NOT_KEPT.iter().any(|end| name.ends_with(end)))
        .collect()
}

/// The folder holds these files and nothing else.
fn put(folder: &Path, files: &Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    for (name, bytes) in files {
        let mut file = paperround::files::create_private(Path::new(name)).unwrap();
        file.write_all(bytes).unwrap();
    }
}

/// An issue to so many readers, some of whom leave meanwhile.
async fn recorded(readers: usize, leavers: usize) -> Recorded {
    let rig = Rig::new(readers).await;
    rig.relay.script().pace(seed::seed(), 1..10);
    // the instance knows itself before anything happens
    assert!(rig.serve().await.terminate().await.success());
    rig.send();
    let folder = rig.data.folder();
    let base = files_of(folder);
    let record = folder.join("power.record");
    // -D: the program is our child, and strace its observer
    let strace = [
        "strace", "-D", "-f", "-yy", "-xx", "-s", "16777216", "-e", CALLS, "-o",
    ];
    let strace = strace.into_iter().chain(record.to_str());
    let program = rig.program().under(strace.map(str::to_owned).collect());
    let service = Service::of(program, folder).await;
    for (number, reader) in rig.readers.iter().rev().take(leavers).enumerate() {
        rig.accepted(number * 2 + 1).await;
        assert_eq!(service.post(&reader.link).await.unwrap(), 200);
    }
    rig.drained().await;
    let (id, port) = (
        service.id(),
        service.url("").rsplit(':').next().unwrap().to_owned(),
    );
    assert!(service.terminate().await.success());
    let text = whole(&record, id).await;
    let events: Vec<_> = record::read(&text)
        .into_iter()
        .filter(|event| !concerns_none(&event.what, folder))
        .collect();
    let dots = dots(&events, rig.relay.port());
    let told = told(&events, &port, &rig);
    assert_eq!(dots.len(), rig.relay.accepted().len());
    assert_eq!(told.len(), leavers);
    Recorded {
        lines: text.lines().count(),
        rig,
        base,
        events,
        dots,
        told,
    }
}

/// The record, when strace has written all of it.
async fn whole(record: &Path, process: u32) -> String {
    let end = format!("{process} +++ exited with");
    let written = async {
        loop {
            let text = std::fs::read_to_string(record).unwrap();
            let ended = |line: &str| {
                line.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .starts_with(&end)
            };
            if text.lines().next_back().is_some_and(ended) {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, written)
        .await
        .expect("strace comes to its end")
}

/// Whether it is about files elsewhere, or such as are not kept.
fn concerns_none(what: &What, folder: &Path) -> bool {
    let (What::Made { path, .. }
    | What::Written { path, .. }
    | What::Cut { path, .. }
    | What::Synced { path }
    | What::Removed { path }
    | What::Renamed { to: path, .. }) = what
    else {
        return false;
    };
    !path.starts_with(folder.to_str().unwrap()) || NOT_KEPT.iter().any(|end| path.ends_with(end))
}

fn dots(events: &[Event], relay: u16) -> Vec<Dot> {
    let to_relay = format!(":{relay}");
    let mut streams = HashMap::<&str, Vec<u8>>::new();
    let mut dots = Vec::new();
    for event in events {
        let What::Sent { socket, bytes } = &event.what else {
            continue;
        };
        if !socket.ends_with(&to_relay) {
            continue;
        }
        let stream = streams.entry(socket).or_default();
        stream.extend(bytes);
        while let Some(end) = memchr::memmem::find(stream, DOT) {
            let message: Vec<u8> = stream.drain(..end + DOT.len()).collect();
            let text = String::from_utf8_lossy(&message);
            let to = text.lines().find_map(|line| line.strip_prefix("To: "));
            dots.push(Dot {
                at: event.began,
                recipient: to.unwrap().trim_matches(['<', '>']).to_owned(),
            });
        }
    }
    dots
}

fn told(events: &[Event], port: &str, rig: &Rig) -> Vec<Told> {
    let ours = format!(":{port}->");
    let mut asked = HashMap::<&str, &str>::new();
    let mut told = Vec::new();
    for event in events {
        match &event.what {
            What::Received { socket, bytes } if socket.contains(&ours) => {
                let text = String::from_utf8_lossy(bytes);
                let leaver = rig
                    .readers
                    .iter()
                    .find(|reader| text.contains(&reader.link));
                if let Some(leaver) = leaver {
                    asked.insert(socket, &leaver.email);
                }
            }
            What::Sent { socket, bytes } if bytes.starts_with(b"HTTP/1.1 200") => {
                if let Some(reader) = asked.remove(socket.as_str()) {
                    let (at, reader) = (event.began, reader.to_owned());
                    told.push(Told { at, reader });
                }
            }
            _ => {}
        }
    }
    told
}

impl Recorded {
    /// A moment: anywhere, or when something has just left.
    fn moment(&self, random: &mut StdRng) -> usize {
        let left: Vec<usize> = self
            .dots
            .iter()
            .map(|dot| dot.at)
            .chain(self.told.iter().map(|told| told.at))
            .collect();
        if random.random_bool(0.3) {
            random.random_range(0..self.lines)
        } else {
            left.choose(random).unwrap() + 1
        }
    }

    fn rebuild(&self, at: usize, syncs_count: bool, fate: Fate, random: &mut StdRng) {
        let files = after_power_loss(&self.base, &self.events, at, syncs_count, fate, random);
        put(self.rig.data.folder(), &files);
    }

    /// How many mails had left for each reader.
    fn left(&self, at: usize) -> BTreeMap<&str, usize> {
        let mut left = BTreeMap::new();
        for dot in self.dots.iter().filter(|dot| dot.at < at) {
            *left.entry(dot.recipient.as_str()).or_default() += 1;
        }
        left
    }

    fn told(&self, at: usize) -> impl Iterator<Item = &str> {
        let told = self.told.iter().filter(move |told| told.at < at);
        told.map(|told| told.reader.as_str())
    }

    /// What had left and the database in the folder does not know.
    async fn unknown(&self, at: usize) -> Vec<String> {
        let (rows, active) = (self.rig.rows().await, self.rig.active().await);
        let marked = |reader: &str| {
            rows.get(reader).is_some_and(|row| {
                row.doubt > 0 || !matches!(row.state.as_str(), "pending" | "claimed")
            })
        };
        let dots = self.left(at).into_keys().filter(|reader| !marked(reader));
        let goodbyes = self
            .told(at)
            .filter(|reader| active.iter().any(|active| active == reader));
        dots.map(|reader| format!("the mail to {reader}"))
            .chain(goodbyes.map(|reader| format!("the goodbye of {reader}")))
            .collect()
    }

    /// Starts on what is in the folder, and lets everything come to its end.
    async fn start(&mut self, at: usize) {
        self.rig.relay = SmtpServer::start().await;
        let service = self.rig.serve().await;
        let rows = self.rig.drained().await;
        assert!(service.terminate().await.success());
        let (left, after) = (self.left(at), self.rig.copies());
        for (reader, row) in &rows {
            let copies = left.get(reader.as_str()).unwrap_or(&0) + after.of(reader);
            let doubt = usize::try_from(row.doubt).unwrap();
            assert!(
                row.state != "sent" || copies > 0,
                "{reader} is lost: {row:?}"
            );
            assert!(copies <= 1 + doubt, "{reader}: {copies} copies, {row:?}");
        }
        for reader in self.told(at) {
            assert!(!after.has(reader), "{reader} had left");
        }
        assert_eq!(self.rig.integrity().await, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_loss_of_power_every_dot_and_every_goodbye_that_had_left_is_known() {
    let (readers, trials) = if seed::is_long() {
        (600, 200)
    } else {
        (60, 10)
    };
    let seed = seed::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut run = recorded(readers, readers / 5).await;
    for trial in 0..trials {
        let at = run.moment(&mut random);
        let fates = [Fate::Mixed, Fate::Mixed, Fate::Dropped, Fate::Kept];
        let fate = fates[trial % fates.len()];
        run.rebuild(at, true, fate, &mut random);
        let unknown = run.unknown(at).await;
        assert!(unknown.is_empty(), "line {at}, {fate:?}: {unknown:?}");
        run.start(at).await;
    }
    // as with `synchronous = OFF`: no sync counts, and the check sees it
    let last = run.dots.iter().map(|dot| dot.at).max().unwrap() + 1;
    for fate in [Fate::Dropped, Fate::Mixed] {
        run.rebuild(last, false, fate, &mut random);
        // the file may not even be one any more
        let is_seen = run.rig.integrity().await != "ok" || !run.unknown(last).await.is_empty();
        assert!(is_seen, "{fate:?}: a missing sync is seen");
    }
    eprintln!(
        "seed {seed}: {trials} losses of power in a record of {} calls, {} dots, {} goodbyes",
        run.events.len(),
        run.dots.len(),
        run.told.len()
    );
}
