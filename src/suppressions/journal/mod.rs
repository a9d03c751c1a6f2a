//! The suppression journal: what a restored SQLite database must not forget.
//!
//! An append-only file beside the database with a line for each unsubscribe. The database commits first, then the line
//! is written and synced, then the answer is given. The journal is a copy, never a substitute: what the database does
//! not take is not done. At every start of the worker it is replayed, so that a restored older database ends again what
//! it had forgotten to have ended, and is completed from the tables.
//!
//! It holds no address: a line names the subscription, the time, and a keyed hash.

mod line;
mod load;
mod merge;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::clock::Timestamp;
use crate::config::{Config, DatabaseTarget};
use crate::files;
use crate::id::SubscriptionId;
use crate::text_enum;
use crate::token::PepperedHash;

pub use load::Loaded;
pub use merge::merge;

/// Longer than any line: where a torn one begins is looked for in as many bytes.
const LONGEST_LINE: u64 = 1024;

text_enum! {
    /// What happened.
    pub enum Kind {
        /// A subscription was ended by its reader, or for them.
        Unsubscribe = "unsubscribe",
    }
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// To which subscription.
    pub subscription: SubscriptionId,
    /// Whose it is; unknown where the database had no such subscription.
    pub address: Option<PepperedHash>,
}

/// The journal of an instance. Cheap to clone; all clones write to one file.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Lines that are not known to be on disk.
    waiting: Mutex<String>,
    /// Held by the one that writes.
    writing: Mutex<()>,
}

impl Journal {
    /// The journal of the instance with these settings, in `data_dir`; `None` on PostgreSQL.
    pub fn of(config: &Config) -> Option<Self> {
        match config.database_target() {
            DatabaseTarget::Sqlite(_) => {
                Some(Self::at(config.data_dir.join("suppressions.journal")))
            }
            DatabaseTarget::Postgres(_) => None,
        }
    }

    /// The journal in this file, which is made when the first line is written.
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(Inner {
            path,
            waiting: Mutex::default(),
            writing: Mutex::default(),
        }))
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Answers after the entries are on disk. Those that could not be written go out with the next that are.
    pub async fn append(&self, entries: &[Entry]) -> io::Result<()> {
        let lines: String = entries.iter().map(line::write).collect();
        self.0
            .waiting
            .lock()
            .expect("no holder of this lock can panic")
            .push_str(&lines);
        self.blocking(Inner::write_waiting).await
    }

    /// What it says. A torn end, which a crash or a full disk leaves, is cut off first; a missing file is made.
    pub async fn load(&self) -> io::Result<Loaded> {
        self.blocking(|inner| {
            let mut file = inner.open()?;
            load::load(&mut file)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }
}

impl Inner {
    /// Writes what waits and syncs it: one sync for all that came while the one before was at work.
    fn write_waiting(&self) -> io::Result<()> {
        let _one_at_a_time = self
            .writing
            .lock()
            .expect("no holder of this lock can panic");
        let waiting = || {
            self.waiting
                .lock()
                .expect("no holder of this lock can panic")
        };
        let lines = std::mem::take(&mut *waiting());
        if lines.is_empty() {
            // another's sync covered ours
            return Ok(());
        }
        let written = self.open().and_then(|mut file| {
            file.write_all(lines.as_bytes())?;
            file.sync_data()
        });
        if written.is_err() {
            waiting().insert_str(0, &lines);
        }
        written
    }

    /// The file, locked against other processes until it is dropped, without a torn end.
    fn open(&self) -> io::Result<File> {
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        if is_new {
            file.sync_all()?;
            files::sync_folder_of(&self.path)?;
        }
        file.lock()?;
        cut_torn_end(&mut file)?;
        Ok(file)
    }
}

/// Cuts off what stands behind the last line end: it was never answered for.
fn cut_torn_end(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut end)?;
    let whole = match end.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        // longer than any line of ours: not torn but damaged, and left for a person to look at
        None if from > 0 => return file.write_all(b"\n"),
        None => 0,
    };
    if whole < end.len() {
        file.set_len(from + whole as u64)?;
        file.sync_data()?;
        tracing::warn!("The suppression journal ended in the middle of a line, which was cut off");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(number: u128) -> Entry {
        Entry {
            kind: Kind::Unsubscribe,
            at: Timestamp::from_micros(1_783_400_400_000_001),
            subscription: SubscriptionId(uuid::Uuid::from_u128(number)),
            address: None,
        }
    }

    fn known(loaded: &Loaded) -> usize {
        loaded.latest.len()
    }

    #[tokio::test]
    async fn entries_from_many_tasks_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().join("journal"));
        let appends = (0..200).map(|number| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(&[entry(number)]).await })
        });
        for append in futures_util::future::join_all(appends).await {
            append.unwrap().unwrap();
        }
        let loaded = journal.load().await.unwrap();
        assert_eq!((known(&loaded), loaded.damaged.len()), (200, 0));
    }

    #[tokio::test]
    async fn a_line_torn_anywhere_costs_nothing_but_itself() {
        let folder = tempfile::tempdir().unwrap();
        let whole = line::write(&entry(2));
        for cut in 0..whole.len() {
            let path = folder.path().join(format!("journal-{cut}"));
            let text = format!("{}{}", line::write(&entry(1)), &whole[..cut]);
            fs::write(&path, text).unwrap();
            let journal = Journal::at(path);
            journal.append(&[entry(3)]).await.unwrap();
            let loaded = journal.load().await.unwrap();
            assert_eq!((known(&loaded), loaded.damaged.len()), (2, 0), "{cut}");
        }
    }

    #[tokio::test]
    async fn what_is_written_behind_an_end_too_long_to_be_a_torn_line_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let damage = "x".repeat(2000);
        fs::write(&path, line::write(&entry(1)) + &damage).unwrap();
        let journal = Journal::at(path);
        journal.append(&[entry(2)]).await.unwrap();
        let loaded = journal.load().await.unwrap();
        assert_eq!((known(&loaded), loaded.damaged), (2, vec![2]));
    }

    #[tokio::test]
    async fn damage_is_reported_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let lines: Vec<_> = (1..=3).map(|number| line::write(&entry(number))).collect();
        for at in 0..lines[1].len() - 1 {
            let mut bytes = lines.concat().into_bytes();
            bytes[lines[0].len() + at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let loaded = Journal::at(path.clone()).load().await.unwrap();
            assert_eq!((known(&loaded), loaded.damaged), (2, vec![2]), "{at}");
        }
    }

    #[tokio::test]
    async fn of_two_goodbyes_the_later_counts_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let (first, later) = (entry(1), {
            let entry = entry(1);
            let at = entry.at + std::time::Duration::from_secs(5);
            Entry { at, ..entry }
        });
        for lines in [[&first, &later], [&later, &first]] {
            let path = folder.path().join("journal");
            fs::write(&path, lines.map(line::write).concat()).unwrap();
            let loaded = Journal::at(path).load().await.unwrap();
            assert_eq!(loaded.latest[&first.subscription], later.at);
        }
    }

    #[test]
    fn a_journal_with_a_torn_end_is_merged_without_what_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let (current, backup) = (folder.path().join("journal"), folder.path().join("backup"));
        let [one, two, three] = [1, 2, 3].map(|number| line::write(&entry(number)));
        fs::write(&current, format!("{one}{}", &two[..two.len() / 2])).unwrap();
        fs::write(&backup, format!("{one}{three}")).unwrap();
        let merged = merge(&current, &backup).unwrap();
        assert_eq!(String::from_utf8(merged).unwrap(), format!("{one}{three}"));
    }

    #[tokio::test]
    async fn what_could_not_be_written_goes_out_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("gone");
        let journal = Journal::at(missing.join("journal"));
        assert!(journal.append(&[entry(1)]).await.is_err());
        fs::create_dir(&missing).unwrap();
        journal.append(&[entry(2)]).await.unwrap();
        assert_eq!(known(&journal.load().await.unwrap()), 2);
    }

    #[test]
    fn what_is_damaged_in_a_backups_journal_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (current, backup) = (folder.path().join("journal"), folder.path().join("backup"));
        let [one, two, three] = [1, 2, 3].map(|number| line::write(&entry(number)));
        let damaged = two.replacen("unsubscribe", "Unsubscribe", 1);
        fs::write(&current, &one).unwrap();
        fs::write(&backup, format!("{damaged}{three}")).unwrap();
        let merged = merge(&current, &backup).unwrap();
        assert_eq!(String::from_utf8(merged).unwrap(), format!("{one}{three}"));
    }

    #[tokio::test]
    async fn a_torn_end_of_a_long_journal_costs_no_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let whole: String = (1..=40).map(|number| line::write(&entry(number))).collect();
        assert!(whole.len() as u64 > 2 * LONGEST_LINE);
        fs::write(&path, format!("{whole}v1 unsubscribe 2026-07-0")).unwrap();
        let journal = Journal::at(path);
        journal.append(&[entry(41)]).await.unwrap();
        let loaded = journal.load().await.unwrap();
        assert_eq!((known(&loaded), loaded.damaged.len()), (41, 0));
    }

    #[tokio::test]
    async fn nobody_but_its_owner_reads_who_left() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::at(path.clone());
        journal.append(&[entry(1)]).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_line_that_another_process_is_writing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let theirs = line::write(&entry(1));
        let (begun, rest) = theirs.split_at(20);
        let mut other = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        other.lock().unwrap();
        other.write_all(begun.as_bytes()).unwrap();
        let journal = Journal::at(path);
        let ours = journal.clone();
        let appending = tokio::spawn(async move { ours.append(&[entry(2)]).await });
        // who does not wait has cut it off by then
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        other.write_all(rest.as_bytes()).unwrap();
        drop(other);
        appending.await.unwrap().unwrap();
        let loaded = journal.load().await.unwrap();
        assert_eq!((known(&loaded), loaded.damaged.len()), (2, 0));
    }

    #[tokio::test]
    async fn a_journal_of_which_nothing_but_a_torn_line_is_there_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("journal"), folder.path().join("backup"));
        let [one, two] = [1, 2].map(|number| line::write(&entry(number)));
        fs::write(&path, &one[..one.len() / 2]).unwrap();
        fs::write(&backup, &two).unwrap();
        let merged = merge(&path, &backup).unwrap();
        assert_eq!(String::from_utf8(merged).unwrap(), two);
        let journal = Journal::at(path.clone());
        journal.append(&[entry(2)]).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), two);
    }
}
