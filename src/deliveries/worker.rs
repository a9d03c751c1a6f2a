//! A worker's life: every start, and every life after a missed heartbeat, has an id of its own.

use std::sync::{Arc, Mutex};

use super::store::workers;
use super::{Leases, recover};
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::id::{Ids, WorkerId};

/// One worker process, as the database knows it.
#[derive(Clone)]
pub struct Worker {
    db: Db,
    clock: Arc<dyn Clock>,
    ids: Ids,
    leases: Leases,
    current: Arc<Mutex<Life>>,
}

#[derive(Clone, Copy)]
struct Life {
    id: WorkerId,
    /// From before the heartbeat was written.
    beat_at: Timestamp,
}

impl Worker {
    /// Begins a life, and takes back what workers before it left behind. Only for the holder of the worker lock: all
    /// others are taken for dead, by any clock.
    pub async fn start(
        db: Db,
        clock: Arc<dyn Clock>,
        ids: Ids,
        leases: Leases,
    ) -> sqlx::Result<Self> {
        let life = Life {
            id: ids.next(),
            beat_at: clock.now(),
        };
        let worker = Self {
            db,
            clock,
            ids,
            leases,
            current: Arc::new(Mutex::new(life)),
        };
        worker.register(life).await?;
        worker
            .db
            .write(move |tx| Box::pin(async move { workers::bury_others(tx, life.id).await }))
            .await?;
        recover::sweep(&worker.db, worker.clock.now(), &worker.leases).await?;
        Ok(worker)
    }

    /// Who it is now.
    pub fn id(&self) -> WorkerId {
        self.life().id
    }

    /// Whether its last sign of life is young enough to begin something.
    pub fn is_alive(&self) -> bool {
        let until = self.life().beat_at + self.leases.own_worker_lease();
        self.clock.now() < until
    }

    /// A sign of life. A life that was missed is over: the worker begins a new one, and what it had claimed is not its
    /// own any more.
    pub async fn beat(&self) -> sqlx::Result<()> {
        let now = self.clock.now();
        let id = self.id();
        let alive_after = now - self.leases.worker;
        let alive = self
            .db
            .write(move |tx| Box::pin(async move { workers::beat(tx, id, now, alive_after).await }))
            .await?;
        if alive {
            self.live(Life { id, beat_at: now });
            return Ok(());
        }
        tracing::warn!(worker.id = %id, "Worker {id} was taken for dead and begins anew");
        self.begin_life(now).await
    }

    /// Ends this life and begins a new one, after something failed in a way that nobody foresaw: what the old one holds
    /// is taken back when its lease is over.
    pub async fn begin_anew(&self) {
        let id = self.id();
        tracing::error!(worker.id = %id, "Worker {id} failed at something and begins anew");
        if let Err(error) = self.begin_life(self.clock.now()).await {
            tracing::error!(error = %error, "The new life cannot be written down; the next sign of life tries again");
        }
    }

    async fn begin_life(&self, now: Timestamp) -> sqlx::Result<()> {
        let life = Life {
            id: self.ids.next(),
            beat_at: now,
        };
        self.register(life).await?;
        self.live(life);
        Ok(())
    }

    async fn register(&self, life: Life) -> sqlx::Result<()> {
        let host = host_name();
        let forgotten = life.beat_at - self.leases.worker * 60;
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    workers::forget(tx, forgotten).await?;
                    workers::register(tx, life.id, &host, life.beat_at).await
                })
            })
            .await
    }

    fn life(&self) -> Life {
        *self
            .current
            .lock()
            .expect("no holder of this lock can panic")
    }

    fn live(&self, life: Life) {
        *self
            .current
            .lock()
            .expect("no holder of this lock can panic") = life;
    }
}

fn host_name() -> String {
    use lettre::transport::smtp::extension::ClientId;
    match ClientId::default() {
        ClientId::Domain(name) => name,
        other => other.to_string(),
    }
}
