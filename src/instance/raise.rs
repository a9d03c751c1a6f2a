//! The epoch rises: what an older copy of the database cannot know has happened.

use super::epoch_file::{EpochFile, FileMark};
use super::store;
use crate::app::App;
use crate::db::Tx;

/// Raises the epoch in the transaction that does what a restored copy must not do again. Gives the new one; `None` on
/// PostgreSQL, and where no worker has ever started. Follow the commit with [`publish`].
pub async fn raise_in(tx: &mut Tx<'_>) -> sqlx::Result<Option<i64>> {
    if matches!(tx, Tx::Postgres(_)) {
        return Ok(None);
    }
    let Some(mut mark) = store::mark_in(tx).await? else {
        return Ok(None);
    };
    mark.epoch += 1;
    store::save(tx, &mark).await?;
    Ok(Some(mark.epoch))
}

/// Writes a raised epoch to the file. A failure is for a person, and mended by the next one that succeeds: the database
/// may be ahead.
pub async fn publish(app: &App, epoch: Option<i64>) {
    let (Some(epoch), Some(file)) = (epoch, EpochFile::of(&app.config)) else {
        return;
    };
    let (id, entropy) = (app.keys.instance_id(), app.entropy.clone());
    let path = file.path().display().to_string();
    let written = tokio::task::spawn_blocking(move || {
        // another process may have been further, and a copied file is for the next start to judge
        match file.read()? {
            Some(known) if known.id == id && known.epoch < epoch => {
                file.write(&FileMark { epoch, ..known }, &*entropy)
            }
            _ => Ok(()),
        }
    });
    let result = written
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    if let Err(error) = result {
        tracing::error!(path, error = %error, "The epoch file {path} cannot be written: a restored database may not be known as one");
    }
}

/// Raises the epoch for itself.
pub async fn raise(app: &App) -> sqlx::Result<()> {
    let epoch = app
        .db
        .write(|tx| Box::pin(async move { raise_in(tx).await }))
        .await?;
    publish(app, epoch).await;
    Ok(())
}
