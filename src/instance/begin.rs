//! The start of a worker: is this still the instance that stopped here?

use std::path::PathBuf;

use super::epoch_file::{EpochFile, FileMark};
use super::judge::{self, Foreign, Here};
use super::{Mark, resume, store};
use crate::app::App;

/// Why it cannot be said whether the database is ours.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The file beside the database cannot be read or written.
    #[error(
        "cannot use the epoch file {path}: check that its folder is there and belongs to this user"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database did not answer.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// Pauses all sending where the database was restored or copied, and raises the epoch. Only for the holder of the
/// worker's lock.
///
/// A database that was never used, without readers and without a released issue, is nobody's copy.
pub async fn begin(app: &App) -> Result<(), InstanceError> {
    let file = EpochFile::of(&app.config);
    let on_disk = match &file {
        Some(file) => Some(look(app, file).await?),
        None => None,
    };
    let (id, now) = (app.keys.instance_id(), app.clock.now());
    let base_url = app.config.server.base_url.as_str().to_owned();
    let seen = on_disk.clone();
    let (epoch, paused) = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let stored = store::mark_in(tx).await?;
                let here = Here {
                    id,
                    base_url: &base_url,
                };
                let foreign = match &seen {
                    Some(disk) => {
                        let mark = disk.mark.as_ref();
                        judge::beside_file(stored.as_ref(), mark, &here, &disk.place)
                    }
                    None => judge::by_settings(stored.as_ref(), &here),
                };
                let mut paused = None;
                if let Some(foreign) = foreign
                    && store::is_used(tx).await?
                {
                    resume::pause_restored(tx, &foreign.to_string(), 0, now).await?;
                    paused = Some(foreign);
                }
                let known = stored.map_or(0, |mark| mark.epoch);
                let epoch = match &seen {
                    Some(disk) => 1 + known.max(disk.mark.as_ref().map_or(0, |mark| mark.epoch)),
                    None => 0,
                };
                let mark = Mark {
                    id,
                    epoch,
                    base_url,
                };
                store::save(tx, &mark).await?;
                Ok::<(i64, Option<Foreign>), sqlx::Error>((epoch, paused))
            })
        })
        .await?;
    if let Some(foreign) = paused {
        tracing::error!(
            "ALL SENDING IS PAUSED: {foreign}. If this is the one instance that may send, run `paperround resume`"
        );
    }
    if let (Some(file), Some(disk)) = (file, on_disk) {
        let place = disk.place;
        write(app, &file, FileMark { id, epoch, place }).await?;
    }
    Ok(())
}

/// What stands beside the database, and where.
#[derive(Clone)]
struct OnDisk {
    mark: Option<FileMark>,
    place: String,
}

/// Reads the file. Before the very first mark in a database the file is made with epoch 0: so that, whenever the
/// database has a mark, a file has been there, and a crash at the first start looks like no loss of the file.
async fn look(app: &App, file: &EpochFile) -> Result<OnDisk, InstanceError> {
    let failed = |source| InstanceError::File {
        path: file.path().to_owned(),
        source,
    };
    let mark = file.read().map_err(failed)?;
    let place = file.place().map_err(failed)?;
    let mark = if mark.is_none() && store::mark(&app.db).await?.is_none() {
        let first = FileMark {
            id: app.keys.instance_id(),
            epoch: 0,
            place: place.clone(),
        };
        write(app, file, first.clone()).await?;
        Some(first)
    } else {
        mark
    };
    Ok(OnDisk { mark, place })
}

async fn write(app: &App, file: &EpochFile, mark: FileMark) -> Result<(), InstanceError> {
    let (writer, entropy) = (file.clone(), app.entropy.clone());
    let written = tokio::task::spawn_blocking(move || writer.write(&mark, &*entropy)).await;
    written
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        .map_err(|source| InstanceError::File {
            path: file.path().to_owned(),
            source,
        })
}
