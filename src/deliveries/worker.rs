//! A worker's life: every start, and every life after a missed heartbeat, has an id of its own.
//!
//! Others take a worker for dead when it has given no sign of life for the length of its lease. The worker itself stops
//! a little earlier, by its own clocks: it may have stood still, or may not reach the database. That fence spares
//! second copies; safety rests on the states and attempts that every statement compares.

use std::sync::{Arc, Mutex, MutexGuard};

use super::store::workers;
use super::{Leases, recover};
use crate::clock::{Clock, Deadline};
use crate::db::Db;
use crate::id::{Ids, WorkerId};

/// Leases after which a silent worker is not remembered.
const FORGOTTEN_AFTER: u32 = 60;

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
    /// From before its last sign of life was written.
    fence: Deadline,
    /// It was given up: no sign of life goes on with it.
    is_over: bool,
}

impl Life {
    fn is_alive(&self, clock: &dyn Clock) -> bool {
        !self.is_over && !self.fence.is_over(clock)
    }
}

impl Worker {
    /// Begins a life, and takes back what workers before it left behind, as far as their leases are over.
    pub async fn start(
        db: Db,
        clock: Arc<dyn Clock>,
        ids: Ids,
        leases: Leases,
    ) -> sqlx::Result<Self> {
        let worker = Self::begin(db, clock, ids, leases).await?;
        worker.sweep().await?;
        Ok(worker)
    }

    /// The same for the holder of a lock that admits nobody else: all others are dead, by any clock.
    pub async fn start_alone(
        db: Db,
        clock: Arc<dyn Clock>,
        ids: Ids,
        leases: Leases,
    ) -> sqlx::Result<Self> {
        let worker = Self::begin(db, clock, ids, leases).await?;
        let id = worker.id();
        worker
            .db
            .write(move |tx| Box::pin(async move { workers::bury_others(tx, id).await }))
            .await?;
        worker.sweep().await?;
        Ok(worker)
    }

    async fn begin(db: Db, clock: Arc<dyn Clock>, ids: Ids, leases: Leases) -> sqlx::Result<Self> {
        let life = Life {
            id: ids.next(),
            fence: Deadline::after(&*clock, leases.own_worker_lease()),
            is_over: false,
        };
        let worker = Self {
            db,
            clock,
            ids,
            leases,
            current: Arc::new(Mutex::new(life)),
        };
        worker.register(life).await?;
        Ok(worker)
    }

    async fn sweep(&self) -> sqlx::Result<()> {
        recover::sweep(&self.db, self.clock.now(), &self.leases)
            .await
            .map(drop)
    }

    /// Who it is now.
    pub fn id(&self) -> WorkerId {
        self.life().id
    }

    /// Whether its last sign of life is young enough to begin something.
    pub fn is_alive(&self) -> bool {
        self.life().is_alive(&*self.clock)
    }

    /// Whether it may go on with what `owner` claimed: it is in the same life, and alive.
    pub fn is_still(&self, owner: WorkerId) -> bool {
        let life = self.life();
        life.id == owner && life.is_alive(&*self.clock)
    }

    /// A sign of life. A life that was missed is over: the worker begins a new one, and what it had claimed is not its
    /// own any more.
    pub async fn beat(&self) -> sqlx::Result<()> {
        let Life { id, is_over, .. } = self.life();
        if is_over {
            return self.begin_life().await;
        }
        let fence = self.fence();
        let (now, lease) = (self.leases.now(self.clock.now()), self.leases.worker);
        let alive = self
            .db
            .write(move |tx| Box::pin(async move { workers::beat(tx, id, now, lease).await }))
            .await?;
        if alive {
            self.extend(id, fence);
            return Ok(());
        }
        tracing::warn!(worker.id = %id, "Worker {id} was taken for dead and begins anew");
        self.begin_life().await
    }

    /// Ends this life and begins a new one, after something failed in a way that nobody foresaw: what the old one holds
    /// is taken back when its lease is over.
    pub async fn begin_anew(&self) {
        let id = self.id();
        tracing::error!(worker.id = %id, "Worker {id} failed at something and begins anew");
        self.lock().is_over = true;
        if let Err(error) = self.begin_life().await {
            tracing::error!(error = %error, "The new life cannot be written down; the next sign of life tries again");
        }
    }

    async fn begin_life(&self) -> sqlx::Result<()> {
        let life = Life {
            id: self.ids.next(),
            fence: self.fence(),
            is_over: false,
        };
        self.register(life).await?;
        self.live(life);
        Ok(())
    }

    /// For a sign of life that is about to be written.
    fn fence(&self) -> Deadline {
        Deadline::after(&*self.clock, self.leases.own_worker_lease())
    }

    async fn register(&self, life: Life) -> sqlx::Result<()> {
        let host = host_name();
        let now = self.leases.now(self.clock.now());
        let silence = self.leases.worker * FORGOTTEN_AFTER;
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    workers::forget(tx, now, silence).await?;
                    workers::register(tx, life.id, &host, now).await
                })
            })
            .await
    }

    fn life(&self) -> Life {
        *self.lock()
    }

    fn live(&self, life: Life) {
        *self.lock() = life;
    }

    /// Unless another life has begun meanwhile.
    fn extend(&self, id: WorkerId, fence: Deadline) {
        let mut life = self.lock();
        if life.id == id {
            life.fence = fence;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.current
            .lock()
            .expect("no holder of this lock can panic")
    }
}

fn host_name() -> String {
    use lettre::transport::smtp::extension::ClientId;
    match ClientId::default() {
        ClientId::Domain(name) => name,
        other => other.to_string(),
    }
}
