//! The sender: claims what is due, notices first, and hands it over on as many lines as the channel allows.
//!
//! One feeder claims; lines send. A line keeps its connection from message to message and gives it back when nothing
//! waits. Everything that is claimed and not begun when the sender stops is given back; what is on the wire is awaited.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::appetite::Appetite;
use super::pacer::Pacer;
use super::queue::Queue;
use super::seat::Seat;
use super::ticks;
use crate::app::App;
use crate::clock::Clock;
use crate::db::{Db, is_damaged};
use crate::deliveries::claim::{self, Terms};
use crate::deliveries::mailroom::Mailroom;
use crate::deliveries::send::Sending;
use crate::deliveries::worker::Worker;
use crate::deliveries::writer::Ledger;
use crate::deliveries::{Leases, brakes, finish, recover, relays};
use crate::id::Entropy;
use crate::smtp::channel::Channel;
use crate::smtp::health::Health;
use crate::smtp::route::Standing;

/// What has waited for too long is looked for at every so manieth sweep.
const EXPIRE_EVERY: u32 = 12;

/// What a sender is made of.
pub struct Parts {
    /// The data.
    pub db: Db,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub entropy: Arc<dyn Entropy>,
    /// Who sends; holds the worker lock.
    pub worker: Worker,
    /// Where to.
    pub channel: Channel,
    /// Makes mails and decides about notices.
    pub mailroom: Arc<dyn Mailroom>,
    /// How long things last.
    pub leases: Leases,
    /// The rhythm.
    pub pace: Pace,
    /// Something was queued by this process.
    pub queued: Arc<Notify>,
}

impl Parts {
    /// A sender for `app`.
    pub fn of(app: &App, worker: Worker, channel: Channel, mailroom: Arc<dyn Mailroom>) -> Self {
        Self {
            db: app.db.clone(),
            clock: app.clock.clone(),
            entropy: app.entropy.clone(),
            worker,
            channel,
            mailroom,
            leases: Leases::new(&app.config.delivery, &app.db, &*app.clock),
            pace: Pace {
                // often enough that what is over is found within a fraction of the lease
                sweep: Pace::default()
                    .sweep
                    .min(app.config.delivery.worker_lease / 12),
                heartbeat: app.config.delivery.heartbeat,
                drain: app.config.delivery.drain,
                ..Pace::default()
            },
            queued: app.queued.clone(),
        }
    }
}

/// How often things are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks for something to claim, when nobody calls.
    pub poll: Duration,
    /// Between two sweeps.
    pub sweep: Duration,
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// For what is on the wire, when the sender stops.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            sweep: Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
            drain: Duration::from_mins(1),
        }
    }
}

/// Sends.
pub struct Sender {
    parts: Parts,
    ledger: Ledger,
    pacer: Arc<Pacer>,
    /// How the relays stood when it was written down last.
    noted: Mutex<Vec<Standing>>,
}

impl Sender {
    /// A sender that has not begun.
    pub fn new(parts: Parts) -> Self {
        let ledger = Ledger::new(parts.db.clone(), parts.clock.clone(), parts.leases);
        let allowances = parts.channel.allowances();
        let pacer = Pacer::new(parts.db.clone(), parts.clock.clone(), allowances);
        Self {
            parts,
            ledger,
            pacer: Arc::new(pacer),
            noted: Mutex::default(),
        }
    }

    /// Sends until `stop`, or until the database turns out to be damaged; then lets what is on the wire come to its end,
    /// gives back the rest and says goodbye.
    pub async fn run(&self, stop: CancellationToken) {
        let (stop, ended) = (stop.child_token(), CancellationToken::new());
        let sending = async {
            self.send(&stop, Until::Stopped).await;
            stop.cancel();
            ended.cancel();
        };
        // what is on the wire needs signs of life to the end
        let beating = ended.run_until_cancelled(self.beat());
        tokio::join!(sending, beating, self.tidy(&stop));
    }

    /// Sends everything that can be claimed now, and comes back when nothing more can. For commands and tests.
    pub async fn run_until_idle(&self) {
        self.show_life().await;
        self.sweep().await;
        self.expire().await;
        self.send(&CancellationToken::new(), Until::Idle).await;
        self.sweep().await;
    }

    async fn send(&self, stop: &CancellationToken, until: Until) {
        let queue = Arc::new(Queue::default());
        let give_up = CancellationToken::new();
        let mut lines = JoinSet::new();
        for _ in 0..self.parts.channel.max_lines() {
            let seat = Seat {
                queue: queue.clone(),
                channel: self.parts.channel.clone(),
                pacer: self.pacer.clone(),
                sending: self.sending(&give_up),
            };
            lines.spawn(seat.work());
        }
        self.feed(&queue, stop, until).await;
        let (now, waiting) = (self.parts.clock.now(), queue.close());
        // all at once, so that they share a commit: one after another they would hold up the stop
        let given_back = waiting
            .iter()
            .map(|ready| self.ledger.give_back(&ready.claimed, now));
        join_all(given_back).await;
        if timeout(self.parts.pace.drain, until_ended(&mut lines))
            .await
            .is_err()
        {
            give_up.cancel();
            // Writing down what is in doubt takes one commit each; a database that does not answer is not waited for.
            let _ = timeout(self.parts.pace.drain, until_ended(&mut lines)).await;
        }
        let counting = brakes::count(&self.parts.db, self.ledger.uncounted());
        if let Ok(Err(error)) = timeout(self.parts.pace.drain, counting).await {
            tracing::warn!(error = %error, "The last good answers are not counted for the brakes");
        }
        self.parts.channel.close().await;
    }

    fn sending(&self, give_up: &CancellationToken) -> Sending {
        Sending {
            ledger: self.ledger.clone(),
            mailroom: self.parts.mailroom.clone(),
            worker: self.parts.worker.clone(),
            clock: self.parts.clock.clone(),
            entropy: self.parts.entropy.clone(),
            leases: self.parts.leases,
            channel: self.parts.channel.clone(),
            give_up: give_up.clone(),
        }
    }

    /// Claims until `stop`. A claim that has begun is awaited: dropped, it would be made all the same, for nobody.
    async fn feed(&self, queue: &Queue, stop: &CancellationToken, until: Until) {
        let mut appetite = Appetite::new(self.parts.channel.max_lines());
        let mut turn = 0;
        while !stop.is_cancelled() {
            let called = self.parts.queued.notified();
            appetite.measure(queue.done());
            let enough = appetite.enough();
            let claimed = match self.claim(queue, &appetite, &mut turn).await {
                Ok(claimed) => claimed,
                Err(error) if is_damaged(&error) => {
                    tracing::error!(error = %error, "The database is damaged: nothing is sent any more. Stop, and restore a backup");
                    return;
                }
                Err(error) => {
                    tracing::error!(error = %error, "Nothing can be claimed; the next try is in a second");
                    0
                }
            };
            if matches!((claimed, until), (0, Until::Idle)) && queue.load() == 0 {
                return;
            }
            let look_again = timeout(self.parts.pace.poll, called);
            let waiting = async {
                match (claimed, until) {
                    // Notices are looked for even while digests wait in line.
                    _ if queue.load() > enough => tokio::select! {
                        () = queue.until_at_most(enough) => {}
                        _ = look_again => {}
                    },
                    // What is on its way may free what comes next.
                    (0, Until::Idle) => queue.until_at_most(0).await,
                    // What may have killed the process is claimed alone: the next follows as soon as it is done.
                    (0, Until::Stopped) if queue.load() > 0 => tokio::select! {
                        () = queue.until_at_most(0) => {}
                        _ = look_again => {}
                    },
                    (0, Until::Stopped) => {
                        let _ = look_again.await;
                    }
                    _ => {}
                }
            };
            let _stopped = stop.run_until_cancelled(waiting).await;
        }
    }

    /// Claims what is due: notices, then digests of one issue; of the next issue at the next turn.
    async fn claim(
        &self,
        queue: &Queue,
        appetite: &Appetite,
        turn: &mut usize,
    ) -> sqlx::Result<usize> {
        let limit = self.allowance(appetite);
        if limit == 0 {
            return Ok(0);
        }
        let enough = appetite.enough();
        let claimed = self.claim_some(queue, turn, (limit, enough), false).await?;
        if claimed > 0 || queue.load() > 0 {
            return Ok(claimed);
        }
        // A row that may have killed the process comes last, and alone.
        self.claim_some(queue, turn, (1, enough), true).await
    }

    async fn claim_some(
        &self,
        queue: &Queue,
        turn: &mut usize,
        (limit, enough): (usize, usize),
        suspects: bool,
    ) -> sqlx::Result<usize> {
        let db = &self.parts.db;
        let terms = Terms {
            owner: self.parts.worker.id(),
            now: self.parts.clock.now(),
            limit,
            suspects,
        };
        let ticket = self.ledger.ticket();
        let mut claimed = 0;
        if claim::notices_wait(db, terms.now).await? {
            let notices = claim::notices(db, &self.parts.mailroom, terms).await?;
            claimed += notices.len();
            queue.push(notices, ticket);
        }
        if claimed >= limit || queue.load() > enough {
            return Ok(claimed);
        }
        let rest = Terms {
            limit: limit - claimed,
            ..terms
        };
        let issues = claim::open_issues(db, terms.now).await?;
        // until one has something: what waits of it may all be suspect, or all of it not
        for _ in &issues {
            *turn = turn.wrapping_add(1);
            let (issue, newsletter) = issues[*turn % issues.len()];
            let health = self.parts.channel.health_for(&newsletter.to_string());
            let limit = self.share(&health, rest.limit);
            if limit == 0 {
                continue;
            }
            let digests = claim::digests(db, issue, Terms { limit, ..rest }).await?;
            if !digests.is_empty() {
                claimed += digests.len();
                queue.push(digests, ticket);
                break;
            }
        }
        Ok(claimed)
    }

    /// How much may be claimed: nothing where it could not be sent or recorded, one for a relay that is being probed.
    fn allowance(&self, appetite: &Appetite) -> usize {
        if !self.ledger.is_healthy() || !self.parts.worker.is_alive() {
            return 0;
        }
        self.share(&self.parts.channel.health(), appetite.claim())
    }

    /// Of so many, those that may be claimed: none while the relays rest, then one that probes.
    fn share(&self, health: &Health, limit: usize) -> usize {
        match health.usable_from() {
            None => limit,
            Some(until) => limit.min(usize::from(until <= self.parts.clock.now())),
        }
    }

    async fn beat(&self) {
        let mut ticks = ticks(self.parts.pace.heartbeat);
        loop {
            ticks.tick().await;
            self.show_life().await;
        }
    }

    async fn show_life(&self) {
        if let Err(error) = self.parts.worker.beat().await {
            tracing::error!(error = %error, "The sign of life cannot be written");
        }
    }

    async fn tidy(&self, stop: &CancellationToken) {
        let mut ticks = ticks(self.parts.pace.sweep);
        let mut turn = 0;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sweep().await;
            // It looks at everything that waits, and nothing is urgent about it: a claim leaves out what is over.
            if turn % EXPIRE_EVERY == 0 {
                self.expire().await;
            }
            turn += 1;
            self.parts.channel.close_idle().await;
        }
    }

    async fn sweep(&self) {
        let (db, now) = (&self.parts.db, self.parts.clock.now());
        if let Err(error) = recover::sweep(db, now, &self.parts.leases).await {
            tracing::error!(error = %error, "What was left behind cannot be taken back now");
        }
        self.look_at_brakes().await;
        self.note_relays().await;
        if let Err(error) = finish::finish_issues(db, now).await {
            tracing::error!(error = %error, "Issues cannot be finished now");
        }
    }

    async fn look_at_brakes(&self) {
        let (db, now) = (&self.parts.db, self.parts.clock.now());
        let (uncounted, worker) = (self.ledger.uncounted(), self.parts.worker.id());
        if let Err(error) = brakes::check_all(db, uncounted, worker, now).await {
            tracing::error!(error = %error, "The brakes cannot be looked at now");
        }
    }

    async fn note_relays(&self) {
        let (db, now) = (&self.parts.db, self.parts.clock.now());
        let standings = self.parts.channel.standings();
        let mut noted = self.noted.lock().await;
        if let Err(error) = relays::note(db, &standings, &mut noted, now).await {
            tracing::error!(error = %error, "How the relays stand cannot be written down now");
        }
    }

    async fn expire(&self) {
        let (db, now) = (&self.parts.db, self.parts.clock.now());
        if let Err(error) = recover::expire(db, now).await {
            tracing::error!(error = %error, "What is over cannot be given up now");
        }
    }
}

/// When a sender comes to its end.
#[derive(Clone, Copy)]
enum Until {
    /// When it is told to.
    Stopped,
    /// When there is nothing to do.
    Idle,
}

async fn until_ended(lines: &mut JoinSet<()>) {
    while let Some(ended) = lines.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = %error, "A line ended in a panic");
        }
    }
}
