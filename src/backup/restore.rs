//! Putting a backup in place. Nothing is overwritten, and nothing is sent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::manifest::{Engine, Manifest};
use super::scratch::Scratch;
use super::{BackupError, archive, at, blocking, member, postgres};
use crate::app::World;
use crate::clock::Timestamp;
use crate::config::{Config, DatabaseTarget};
use crate::db::{self, Db, WorkerLock};
use crate::suppressions::journal::{self, Journal};
use crate::token::KeyRing;
use crate::{files, instance};

/// A backup that was put in place.
#[derive(Debug)]
pub struct Restored {
    /// What the backup said of itself.
    pub manifest: Manifest,
    /// Where what was there before stands now.
    pub aside: PathBuf,
    /// No worker starts before this is dropped.
    pub lock: WorkerLock,
}

/// What the archive says of itself. The members are not looked at.
pub fn inspect(archive: &Path) -> Result<Manifest, BackupError> {
    archive::manifest(archive)
}

/// Puts the backup in the file `from` in the place that the settings name. All sending is paused in it from the first
/// moment. The journal that is there goes on, with what it lacks of the backup's.
pub async fn restore(config: &Config, world: &World, from: &Path) -> Result<Restored, BackupError> {
    let folder = &config.data_dir;
    fs::create_dir_all(folder).map_err(at(folder))?;
    let scratch = Scratch::beside(&folder.join("restore"), &*world.entropy)?;
    let (archive, unpacked) = (from.to_owned(), scratch.folder().to_owned());
    let manifest = blocking(move || archive::unpack(&archive, &unpacked)).await?;
    let now = world.clock.now();
    let place = Place {
        config,
        scratch,
        aside: folder.join(format!("before-restore-{}", files::stamp(now))),
        reason: format!("the backup of {} was restored", manifest.created_at),
        now,
    };
    let lock = match (config.database_target(), manifest.engine) {
        (DatabaseTarget::Sqlite(path), Engine::Sqlite) => place.file(&path, world).await?,
        (DatabaseTarget::Postgres(url), Engine::Postgres) => place.server(&url).await?,
        (target, backup) => {
            let settings = match target {
                DatabaseTarget::Sqlite(_) => Engine::Sqlite,
                DatabaseTarget::Postgres(_) => Engine::Postgres,
            };
            return Err(BackupError::OtherEngine { backup, settings });
        }
    };
    Ok(Restored {
        manifest,
        aside: place.aside,
        lock,
    })
}

/// What is put in place, and where.
struct Place<'a> {
    config: &'a Config,
    scratch: Scratch,
    aside: PathBuf,
    reason: String,
    now: Timestamp,
}

impl Place<'_> {
    /// SQLite: keys and journal first. A journal that knows more than the database does no harm.
    async fn file(&self, path: &Path, world: &World) -> Result<WorkerLock, BackupError> {
        let folder = files::folder_of(path);
        fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = WorkerLock::beside(path)?;
        let new = self.scratch.join(member::SQLITE);
        if let Some(fault) = db::faults_of_file(&new).await?.first() {
            return Err(BackupError::DamagedDatabase(fault.clone()));
        }
        db::pause_file(&new, &instance::restored_pause(&self.reason, self.now)).await?;
        if path.exists() {
            // one that cannot be read is kept with its log, as it is
            let _unreadable = db::settle_file(path).await;
        }
        self.make_aside()?;
        self.put_journal(world)?;
        self.put_keys()?;
        put_file(&new, path, &self.aside)?;
        Ok(lock)
    }

    /// PostgreSQL: the database that is there is dumped aside first.
    async fn server(&self, url: &SecretString) -> Result<WorkerLock, BackupError> {
        let target = DatabaseTarget::Postgres(url.clone());
        let db = Db::open(&target, self.config.database.max_connections).await?;
        let lock = db.lock_alone().await?;
        self.make_aside()?;
        let (url, new) = (url.clone(), self.scratch.join(member::POSTGRES));
        let old = self.aside.join(member::POSTGRES);
        blocking(move || {
            files::create_private(&old).map_err(at(&old))?;
            postgres::dump(&url, &old)?;
            postgres::restore(&url, &new)
        })
        .await?;
        db.migrate().await?;
        let (reason, now) = (self.reason.clone(), self.now);
        db.write(move |tx| {
            Box::pin(async move { instance::pause_restored(tx, &reason, 0, now).await })
        })
        .await?;
        self.put_keys()?;
        db.close().await;
        Ok(lock)
    }

    fn make_aside(&self) -> Result<(), BackupError> {
        files::create_private_folder(&self.aside).map_err(at(&self.aside))
    }

    /// The journal that is there goes on, with what it lacks of the backup's.
    fn put_journal(&self, world: &World) -> Result<(), BackupError> {
        let Some(journal) = Journal::of(self.config) else {
            return Ok(());
        };
        let path = journal.path();
        let merged = journal::merge(path, &self.scratch.join(member::JOURNAL)).map_err(at(path))?;
        if path.exists() {
            let old = self.aside.join(member::JOURNAL);
            fs::copy(path, &old).map_err(at(&old))?;
        }
        files::replace(path, &merged, &*world.entropy).map_err(at(path))
    }

    /// The backup's keys, unless those that are there understand all that these do.
    fn put_keys(&self) -> Result<(), BackupError> {
        let (new, path) = (
            self.scratch.join(member::SECRETS),
            self.config.secrets_file(),
        );
        let backup = KeyRing::load(&new)?;
        if path.exists() {
            if KeyRing::load(&path).is_ok_and(|current| current.covers(&backup)) {
                return Ok(());
            }
            move_aside(&path, &self.aside)?;
        }
        // the file may stand on another file system
        let text = fs::read(&new).map_err(at(&new))?;
        files::create_private(&path)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| files::sync_folder_of(&path))
            .map_err(at(&path))
    }
}

/// The log goes before its database: SQLite would play it into the new one.
fn put_file(new: &Path, path: &Path, aside: &Path) -> Result<(), BackupError> {
    for suffix in ["-wal", "-shm", ""] {
        let mut old = path.as_os_str().to_owned();
        old.push(suffix);
        let old = PathBuf::from(old);
        if old.exists() {
            move_aside(&old, aside)?;
        }
    }
    fs::rename(new, path)
        .or_else(|_| {
            // the database stands on another file system than `data_dir`
            fs::copy(new, path).and_then(|_| fs::File::open(path)?.sync_all())
        })
        .and_then(|()| files::sync_folder_of(path))
        .map_err(at(path))
}

fn move_aside(path: &Path, aside: &Path) -> Result<(), BackupError> {
    let to = aside.join(path.file_name().unwrap_or_default());
    fs::rename(path, &to)
        .or_else(|_| fs::copy(path, &to).and_then(|_| fs::remove_file(path)))
        .and_then(|()| files::sync_folder_of(&to))
        .map_err(at(path))
}
