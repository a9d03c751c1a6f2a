//! Making a backup, while the service runs or not.

use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::{Engine, FORMAT, Manifest};
use super::scratch::Scratch;
use super::{BackupError, archive, at, blocking, member, postgres};
use crate::app::App;
use crate::config::DatabaseTarget;
use crate::files;
use crate::{db, instance};

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Where it stands.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Writes a backup to the new file `to`, readable by its owner alone; in a folder, to a new file named by the time.
///
/// The journal is copied after the database, so that it lacks nothing that the copied database has. The epoch rises
/// afterwards: whatever happens from now on, the copy is known as one.
pub async fn make(app: &App, to: &Path) -> Result<Made, BackupError> {
    let now = app.clock.now();
    let to = if to.is_dir() {
        to.join(format!("paperround-{}.tar", files::stamp(now)))
    } else {
        to.to_owned()
    };
    if to.exists() {
        return Err(BackupError::Exists(to));
    }
    let scratch = Scratch::beside(&to, &*app.entropy)?;
    let epoch = instance::mark(&app.db).await?.map_or(0, |mark| mark.epoch);
    let engine = match app.config.database_target() {
        DatabaseTarget::Sqlite(_) => {
            let copy = scratch.join(member::SQLITE);
            files::create_private(&copy).map_err(at(&copy))?;
            app.db.copy_into(&copy).await?;
            let faults = db::faults_of_file(&copy).await?;
            if let Some(fault) = faults.first() {
                return Err(BackupError::DamagedDatabase(fault.clone()));
            }
            Engine::Sqlite
        }
        DatabaseTarget::Postgres(url) => {
            let copy = scratch.join(member::POSTGRES);
            files::create_private(&copy).map_err(at(&copy))?;
            blocking(move || postgres::dump(&url, &copy)).await?;
            Engine::Postgres
        }
    };
    let mut manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        engine,
        instance: app.keys.instance_id(),
        epoch,
        base_url: app.config.server.base_url.as_str().to_owned(),
        files: Vec::new(),
    };
    let secrets = app.config.secrets_file();
    let journal = app
        .journal
        .as_ref()
        .map(|journal| journal.path().to_owned());
    let path = to.clone();
    let manifest = blocking(move || {
        take_along(&secrets, &scratch.join(member::SECRETS))?;
        if let Some(journal) = journal.filter(|journal| journal.exists()) {
            take_along(&journal, &scratch.join(member::JOURNAL))?;
        }
        manifest.files = archive::members(scratch.folder())?;
        let draft = scratch.join("backup.tar");
        archive::write(&draft, &manifest, scratch.folder())?;
        files::put(&draft, &path).map_err(at(&path))?;
        Ok(manifest)
    })
    .await?;
    instance::raise(app).await?;
    Ok(Made { path: to, manifest })
}

fn take_along(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut reader = fs::File::open(from).map_err(at(from))?;
    let mut writer = files::create_private(to).map_err(at(to))?;
    std::io::copy(&mut reader, &mut writer).map_err(at(to))?;
    Ok(())
}
