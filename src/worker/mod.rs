//! Background work: loops without rules.
//!
//! The scheduler looks, once a second, at what the time asks for; the sender sends. Neither holds any state that the
//! database does not have: a process that dies is followed by another that goes on, and on PostgreSQL several may be at
//! work at once. Reading feeds, making issues and preparing them go on beside one another, so that a site that does not
//! answer holds up nobody else's issue.

mod appetite;
mod pacer;
mod pulse;
mod queue;
mod seat;

pub mod cleanup;
pub mod mailroom;
pub mod scheduler;
pub mod sender;
pub mod signing;

pub use pulse::Pulse;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db::{Db, LockError, WorkerLock};
use crate::deliveries::Leases;
use crate::deliveries::mailroom::Mailroom;
use crate::deliveries::worker::Worker;
use crate::instance::{self, InstanceError};
use crate::issues::render::Renderer;
use crate::smtp::channel::{Channel, ChannelError};
use crate::subscribers::replay::{self, ReplayError};

use mailroom::ServiceMailroom;
use sender::{Parts, Sender};
use signing::{Signer, SigningMailroom};

/// Between two looks of the scheduler.
const TICK: Duration = Duration::from_secs(1);
/// Between two rounds of cleaning.
const CLEANUP: Duration = Duration::from_hours(1);
/// Between two looks whether the lock is still held.
const LOCK_CHECK: Duration = Duration::from_secs(10);

/// Why a worker cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is nowhere to send mail to.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It cannot be said whether the database was restored or copied.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The suppression journal cannot be replayed.
    #[error(transparent)]
    Journal(#[from] ReplayError),
    /// The threads that sign cannot be started.
    #[error("the system has no thread for the signer")]
    Signer(#[from] std::io::Error),
    /// What workers before left behind cannot be taken back.
    #[error("the database did not answer as it should")]
    Db(#[from] sqlx::Error),
}

/// A worker that has taken back what others left behind, and has not begun.
pub struct Prepared {
    app: Arc<App>,
    sender: Sender,
    worker: Worker,
    /// Cancelled when it ends, however it ends.
    ended: CancellationToken,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Recovers what workers before left behind. Only for a holder of the lock.
pub async fn prepare(app: Arc<App>) -> Result<Prepared, WorkerError> {
    let mailroom = Arc::new(ServiceMailroom::new(app.clone()));
    prepare_with(app, mailroom).await
}

/// As [`prepare`]; each mail is signed, on so many threads.
pub async fn prepare_signed(
    app: Arc<App>,
    signer: &Arc<dyn Signer>,
    threads: usize,
) -> Result<Prepared, WorkerError> {
    let mailroom = Arc::new(ServiceMailroom::new(app.clone()));
    let mailroom = SigningMailroom::start(mailroom, signer, threads)?;
    prepare_with(app, Arc::new(mailroom)).await
}

async fn prepare_with(app: Arc<App>, mailroom: Arc<dyn Mailroom>) -> Result<Prepared, WorkerError> {
    let channel = Channel::from_settings(&app.config, app.clock.clone(), app.entropy.clone())?;
    if let Channel::Outbox(outbox) = &channel {
        let folder = outbox.folder().display();
        tracing::warn!(%folder, "NO MAIL LEAVES THIS MACHINE: smtp.url is not set, so mails are written to {folder}");
    }
    // first of all: a restored database must not send what it has forgotten to have sent
    instance::begin(&app).await?;
    replay::at_start(&app).await?;
    let leases = Leases::new(&app.config.delivery, &app.db, &*app.clock);
    let (db, clock, ids) = (app.db.clone(), app.clock.clone(), app.ids.clone());
    let worker = match &app.db {
        Db::Sqlite { .. } => Worker::start_alone(db, clock, ids, leases).await?,
        Db::Postgres(_) => Worker::start(db, clock, ids, leases).await?,
    };
    let sender = Sender::new(Parts::of(&app, worker.clone(), channel, mailroom));
    Ok(Prepared {
        app,
        sender,
        worker,
        ended: CancellationToken::new(),
    })
}

impl Prepared {
    /// Whether it lives, from now to its end.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.worker.clone(), self.ended.clone())
    }

    /// Works until `stop`, then lets what is on the wire come to its end. Ends too when the lock is lost or the database
    /// is damaged.
    pub async fn run(self, lock: WorkerLock, stop: CancellationToken) {
        let renderer = Arc::new(Renderer::of(&self.app));
        let sending = async {
            self.sender.run(stop.clone()).await;
            self.ended.cancel();
        };
        // what is on the wire is this worker's until it has ended: nobody else may take it for a dead one's before
        let over = async {
            stop.cancelled().await;
            self.ended.cancelled().await;
        };
        let keeping = async {
            tokio::select! {
                () = keep(&self.app.db, lock, &stop, &self.ended) => {}
                () = over => {}
            }
        };
        tokio::join!(
            sending,
            keeping,
            stop.run_until_cancelled(scheduler::poll_feeds(&self.app)),
            stop.run_until_cancelled(repeat(|| scheduler::make_issues_due(&self.app))),
            stop.run_until_cancelled(repeat(|| advance(&self.app, &renderer))),
            stop.run_until_cancelled(clean(&self.app)),
        );
    }

    /// Does everything that can be done now, and comes back when nothing more can. For commands and tests.
    pub async fn run_until_idle(&self) -> sqlx::Result<()> {
        let renderer = Arc::new(Renderer::of(&self.app));
        loop {
            let steps = look(&self.app, &renderer).await?;
            self.sender.run_until_idle().await;
            if steps == 0 {
                return Ok(());
            }
        }
    }
}

/// One look after another until it is dropped; a look that fails is repeated with the next.
async fn repeat<L: Future<Output = sqlx::Result<usize>>>(look: impl Fn() -> L) {
    let mut ticks = ticks(TICK);
    loop {
        ticks.tick().await;
        if let Err(error) = look().await {
            tracing::error!(error = %error, "The scheduler cannot work now; it looks again in a second");
        }
    }
}

/// One tick now, then one in each `period`. A process that stood still does not make up for those that it missed.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Everything once: feeds, articles, slots, issues, in the order in which they feed one another. How much was done.
async fn look(app: &Arc<App>, renderer: &Arc<Renderer>) -> sqlx::Result<usize> {
    let mut steps = scheduler::poll_feeds_due(app, &app.fetcher).await?;
    steps += scheduler::release_due(app).await?;
    steps += scheduler::make_issues_due(app).await?;
    Ok(steps + advance(app, renderer).await?)
}

/// Articles are released, issues go as far as they can. How much was done.
async fn advance(app: &Arc<App>, renderer: &Arc<Renderer>) -> sqlx::Result<usize> {
    let released = scheduler::release_due(app).await?;
    let advanced = scheduler::advance_issues(app, renderer).await?;
    if advanced > 0 {
        app.queued.notify_one();
    }
    Ok(released + advanced)
}

async fn clean(app: &App) {
    let mut ticks = ticks(CLEANUP);
    loop {
        ticks.tick().await;
        if let Err(error) = cleanup::run(app).await {
            tracing::warn!(error = %error, "What is outdated cannot be removed now");
        }
        // so that every copy of the database is known as one after an hour at most
        if let Err(error) = instance::raise(app).await {
            tracing::warn!(error = %error, "The epoch cannot be raised now");
        }
    }
}

/// A lock that was lost is taken again: the database may have been restarted. Where that is refused, this worker ends.
async fn keep(db: &Db, mut lock: WorkerLock, stop: &CancellationToken, ended: &CancellationToken) {
    let mut ticks = ticks(LOCK_CHECK);
    loop {
        ticks.tick().await;
        if lock.is_held().await {
            continue;
        }
        match db.lock_worker().await {
            Ok(again) => {
                lock = again;
                tracing::warn!("The worker's lock was lost with its session, and is held again");
            }
            Err(error @ (LockError::Taken { .. } | LockError::File { .. })) => {
                tracing::error!(error = %error, "The worker's lock was lost. This worker stops");
                ended.cancel();
                stop.cancel();
            }
            Err(LockError::Engine(error)) => {
                tracing::warn!(error = %error, "The worker's lock was lost; it is tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_fails_is_repeated_a_second_later() {
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            async { Err::<usize, _>(sqlx::Error::WorkerCrashed) }
        };
        let ended = timeout(Duration::from_millis(2500), repeat(look)).await;
        assert!(ended.is_err(), "it goes on");
        assert_eq!(looks.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_does_not_make_up_for_the_looks_that_it_missed() {
        let mut ticks = ticks(TICK);
        ticks.tick().await;
        advance(TICK * 10).await;
        ticks.tick().await;
        assert!(ticks.tick().now_or_never().is_none());
    }
}
