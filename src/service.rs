//! Web and worker in one process: how they start together, and how they drain.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db::LockError;
use crate::web::{self, ServeError, Web};
use crate::worker::{self, WorkerError};

/// Which of the two roles this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// One process does everything.
    All,
    /// Pages and API.
    Web,
    /// Feeds, issues, mails.
    Worker,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens; `None` without the web role.
    pub address: Option<SocketAddr>,
    stop: CancellationToken,
    web: Option<JoinHandle<Result<(), ServeError>>>,
    worker: Option<JoinHandle<()>>,
}

/// Why the service does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another worker is at work, where there can be one, or a restore.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The address is in use, or not ours.
    #[error("cannot listen on {0} (server.bind): is another program there already?")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// The worker cannot begin.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The pages do not compile, or the web role broke off.
    #[error(transparent)]
    Web(#[from] ServeError),
    /// A part of the service ended by a panic.
    #[error("a part of the service ended by a panic, which is logged above")]
    Panic,
}

impl Roles {
    fn has_web(self) -> bool {
        matches!(self, Self::All | Self::Web)
    }

    fn has_worker(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

impl Service {
    /// Starts the roles. The worker's lock comes first: a process that cannot do its work must not answer readers as
    /// if it could.
    pub async fn start(app: Arc<App>, roles: Roles) -> Result<Self, ServiceError> {
        let stop = CancellationToken::new();
        let lock = if roles.has_worker() {
            Some(app.db.lock_worker().await?)
        } else {
            None
        };
        let mut prepared = None;
        if let Some(lock) = lock {
            prepared = Some((worker::prepare(app.clone()).await?, lock));
        }
        let (mut address, mut web) = (None, None);
        if roles.has_web() {
            let bind = app.config.server.bind;
            let listener = TcpListener::bind(bind)
                .await
                .map_err(|error| ServiceError::Bind(bind, error))?;
            address = Some(
                listener
                    .local_addr()
                    .map_err(|error| ServiceError::Bind(bind, error))?,
            );
            // compiled before anything answers: a broken page stops the start
            let mut pages = Web::new(app)?;
            if let Some((worker, _)) = &prepared {
                pages = pages.beside(worker.pulse());
            }
            web = Some(tokio::spawn(web::serve(pages, listener, stop.clone())));
        }
        let worker =
            prepared.map(|(prepared, lock)| tokio::spawn(prepared.run(lock, stop.clone())));
        Ok(Self {
            address,
            stop,
            web,
            worker,
        })
    }

    /// Resolves when a part of the service ended by itself, which it never should.
    pub async fn broken(&mut self) {
        let web = async {
            match &mut self.web {
                Some(task) => drop(task.await),
                None => std::future::pending().await,
            }
        };
        let worker = async {
            match &mut self.worker {
                Some(task) => drop(task.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = web => self.web = None,
            () = worker => self.worker = None,
        }
    }

    /// Stops taking work, lets what is on the wire end, and waits for it.
    pub async fn stop(self) -> Result<(), ServiceError> {
        self.stop.cancel();
        if let Some(web) = self.web {
            web.await.map_err(|_| ServiceError::Panic)??;
        }
        if let Some(worker) = self.worker {
            worker.await.map_err(|_| ServiceError::Panic)?;
        }
        Ok(())
    }
}
