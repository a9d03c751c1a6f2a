//! Random histories of claims, marks, replies, losses, deaths, goodbyes and operators' acts, against a model that knows
//! what the relay accepted.
//!
//! - I1: no mark after the commit of an unsubscribe.
//! - I2: copies are at most one more than doubts and what an operator asked for.
//! - I3: sent was accepted.
//! - I4: under `hold` there is one copy, but for what an operator asked for.
//! - I5: no mark after the commit of a cancel.
//! - I6: failed was not accepted, unless a doubt is recorded.
//! - I7: nothing is stuck.
//! - I8: what is marked and unsettled is on a connection, or was when its process died.
//! - I9: one mark for each attempt.

mod operator;
mod promises;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::settlement::{Circumstances, Settlement};
use paperround::deliveries::worker::Worker;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{State, recover};
use paperround::id::DeliveryId;
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::senders::leases;
use super::{Edition, Press, Reader};
use crate::support::seed::seed;
use crate::support::{Engine, TestApp};

const HISTORIES: u64 = 16;
const STEPS: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_keep_the_promises_on_sqlite() {
    histories(Engine::Sqlite).await;
}

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_keep_the_promises_on_postgres() {
    histories(Engine::Postgres).await;
}

async fn histories(engine: Engine) {
    let mut app = TestApp::start(engine).await;
    let mut press = Press::new(&app).await;
    let base = seed();
    for history in 0..HISTORIES {
        // Shown when the test fails.
        eprintln!("history {history}");
        let mut machine = Machine::new(&press, base.wrapping_add(history)).await;
        for _ in 0..STEPS {
            if machine.random.random_ratio(1, 15) {
                machine.lose_the_process();
                app.restart().await;
                press.reopen(&app);
                machine.start(&press).await;
            } else {
                machine.step(&press).await;
            }
            machine.check(&press).await;
        }
        machine.drain(&press).await;
    }
}

struct Machine {
    random: StdRng,
    policy: &'static str,
    readers: Vec<Reader>,
    edition: Edition,
    worker: Worker,
    /// Claimed and not marked.
    in_hand: Vec<Ready>,
    /// Marked and not settled.
    on_the_wire: Vec<Ready>,
    /// What workers that were taken for dead still hold in their hands.
    zombies: Vec<Ready>,
    /// What was on the wire when its process was taken for dead, and whether the relay accepted it.
    unheard: Vec<(Ready, bool)>,
    /// Attempts that came to an end.
    ended: Vec<Ready>,
    copies: HashMap<DeliveryId, i64>,
    marked: HashSet<(DeliveryId, i64)>,
    left: HashSet<usize>,
    /// How often an operator asked for one more copy.
    sent_again: HashMap<DeliveryId, i64>,
    said_not_sent: HashSet<DeliveryId>,
    is_cancelled: bool,
    is_paused: bool,
    all_is_paused: bool,
}

impl Machine {
    async fn new(press: &Press, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut readers = Vec::new();
        for number in 0..4 {
            readers.push(
                press
                    .reader(&format!("reader{number}.{seed}@example.org"))
                    .await,
            );
        }
        let policy = if random.random_bool(0.5) {
            "resend"
        } else {
            "hold"
        };
        Self {
            edition: press.edition(&readers, policy).await,
            worker: press.worker().await,
            random,
            policy,
            readers,
            in_hand: Vec::new(),
            on_the_wire: Vec::new(),
            zombies: Vec::new(),
            unheard: Vec::new(),
            ended: Vec::new(),
            copies: HashMap::new(),
            marked: HashSet::new(),
            left: HashSet::new(),
            sent_again: HashMap::new(),
            said_not_sent: HashSet::new(),
            is_cancelled: false,
            is_paused: false,
            all_is_paused: false,
        }
    }

    fn ledger(press: &Press) -> Ledger {
        Ledger::new(press.db.clone(), press.time.clone(), leases())
    }

    async fn step(&mut self, press: &Press) {
        match self.random.random_range(0..31) {
            0..5 => self.claim(press).await,
            5..10 => self.mark(press).await,
            10..15 => self.reply(press).await,
            15 => self.refuse(press).await,
            16 => self.give_back(press).await,
            17 => self.zombie_comes_back(press).await,
            18 => self.somebody_leaves(press).await,
            19 => {
                press.pause(self.edition.issue).await;
                self.is_paused = !self.is_cancelled;
            }
            20 => {
                press.resume(self.edition.issue).await;
                self.is_paused = false;
            }
            21 if self.random.random_ratio(1, 3) => {
                press.cancel(self.edition.issue).await;
                self.is_cancelled = true;
            }
            22 => self.time_passes(press).await,
            23 => self.a_late_reply_is_heard(press).await,
            24 | 25 => self.an_ended_attempt_is_repeated(press).await,
            26 => self.all_sending_is_paused_or_not(press).await,
            27 => self.operator_retries(press).await,
            28 | 29 => self.operator_decides(press).await,
            _ => self.sweep(press).await,
        }
    }

    async fn claim(&mut self, press: &Press) {
        for suspects in [false, true] {
            let terms = Terms {
                owner: self.worker.id(),
                now: press.now(),
                limit: self.random.random_range(1..3),
                suspects,
            };
            let claimed = claim::digests(&press.db, self.edition.issue, terms)
                .await
                .unwrap();
            let may = !(self.is_cancelled || self.is_paused || self.all_is_paused);
            assert!(claimed.is_empty() || may);
            self.in_hand.extend(claimed);
        }
    }

    async fn mark(&mut self, press: &Press) {
        let Some(ready) = self.pick_in_hand() else {
            return;
        };
        let marked = Self::ledger(press).mark(&ready, "relay").await.unwrap();
        if let Marked::Yes { .. } = marked {
            self.has_marked(&ready);
            self.on_the_wire.push(ready);
        } else {
            self.ended.push(ready);
        }
    }

    fn has_marked(&mut self, ready: &Ready) {
        assert!(!self.is_cancelled, "I5: a mark after the cancel");
        assert!(!self.is_paused, "a mark while the issue is paused");
        assert!(!self.all_is_paused, "a mark while all sending is paused");
        for index in &self.left {
            let gone = Some(self.readers[*index].subscription);
            assert_ne!(
                ready.claimed.subscription_id, gone,
                "I1: a mark after the goodbye"
            );
        }
        let attempt = (ready.claimed.id, ready.claimed.attempt);
        assert!(self.marked.insert(attempt), "I9: two marks of one attempt");
    }

    async fn reply(&mut self, press: &Press) {
        if self.on_the_wire.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.on_the_wire.len());
        let ready = self.on_the_wire.swap_remove(index);
        let lost = || Cause::Lost("closed".to_owned());
        let (accepted, outcome) = match self.random.random_range(0..7) {
            0..3 => (true, Outcome::Accepted(reply(250))),
            3 => (false, failed(Phase::Dot, Cause::Reply(reply(451)))),
            4 => (false, failed(Phase::Dot, Cause::Reply(reply(550)))),
            5 => (false, failed(Phase::Body, lost())),
            _ => (self.random.random_bool(0.5), failed(Phase::Dot, lost())),
        };
        if accepted {
            *self.copies.entry(ready.claimed.id).or_default() += 1;
        }
        let settlement = Settlement::of_outcome(&ready.claimed, &outcome, circumstances(press));
        Self::ledger(press).settle(settlement).await;
        self.ended.push(ready);
    }

    async fn refuse(&mut self, press: &Press) {
        let Some(ready) = self.pick_in_hand() else {
            return;
        };
        let code = if self.random.random_bool(0.7) {
            451
        } else {
            550
        };
        let failure = Failure::new(Phase::Rcpt, Cause::Reply(reply(code)));
        let settlement = Settlement::of_failure(&ready.claimed, &failure, circumstances(press));
        Self::ledger(press).refuse(settlement).await;
        self.ended.push(ready);
    }

    async fn give_back(&mut self, press: &Press) {
        if let Some(ready) = self.pick_in_hand() {
            Self::ledger(press)
                .give_back(&ready.claimed, press.now())
                .await;
            self.ended.push(ready);
        }
    }

    /// The worker that was taken for dead was only slow. Its yes counts always, its no only for its own attempt.
    async fn a_late_reply_is_heard(&mut self, press: &Press) {
        let Some((ready, accepted)) = self.unheard.pop() else {
            return;
        };
        let outcome = if accepted {
            Outcome::Accepted(reply(250))
        } else {
            failed(Phase::Dot, Cause::Reply(reply(550)))
        };
        let before = press.delivery(ready.claimed.id).await;
        let settlement = Settlement::of_outcome(&ready.claimed, &outcome, circumstances(press));
        Self::ledger(press).settle(settlement).await;
        let after = press.delivery(ready.claimed.id).await;
        if before.state == State::Transmitting && before.attempt != ready.claimed.attempt {
            assert_eq!(after, before, "an old reply has settled a new attempt");
        } else if accepted {
            assert_eq!(after.state, State::Sent);
        } else if before.attempt != ready.claimed.attempt {
            assert_eq!(after, before);
        }
    }

    /// A message that was delayed, or a commit whose answer was lost: what is over changes nothing.
    async fn an_ended_attempt_is_repeated(&mut self, press: &Press) {
        if self.ended.is_empty() {
            return;
        }
        let ready = &self.ended[self.random.random_range(0..self.ended.len())];
        let before = press.delivery(ready.claimed.id).await;
        let ledger = Self::ledger(press);
        let marked = ledger.mark(ready, "relay").await.unwrap();
        assert_eq!(marked, Marked::No, "an ended attempt was marked");
        let failure = Failure::new(Phase::Rcpt, Cause::Reply(reply(550)));
        let refusal = Settlement::of_failure(&ready.claimed, &failure, circumstances(press));
        ledger.refuse(refusal).await;
        ledger.give_back(&ready.claimed, press.now()).await;
        assert_eq!(press.delivery(ready.claimed.id).await, before);
    }

    /// A worker that was taken for dead goes on with what it had claimed.
    async fn zombie_comes_back(&mut self, press: &Press) {
        for ready in std::mem::take(&mut self.zombies) {
            let marked = Self::ledger(press).mark(&ready, "relay").await.unwrap();
            assert_eq!(marked, Marked::No, "a dead worker has marked");
            self.ended.push(ready);
        }
    }

    async fn somebody_leaves(&mut self, press: &Press) {
        if self.random.random_bool(0.5) {
            let index = self.random.random_range(0..self.readers.len());
            press.unsubscribe(&self.readers[index]).await;
            self.left.insert(index);
        }
    }

    async fn time_passes(&mut self, press: &Press) {
        let spans = [1, 20, 90, 600, 1000, 7200];
        let seconds = spans[self.random.random_range(0..spans.len())];
        press.time.advance(Duration::from_secs(seconds));
        let before = self.worker.id();
        self.worker.beat().await.unwrap();
        if self.worker.id() != before {
            self.zombies.append(&mut self.in_hand);
        }
    }

    async fn sweep(&mut self, press: &Press) {
        recover::sweep(&press.db, press.now(), &leases())
            .await
            .unwrap();
        recover::expire(&press.db, press.now()).await.unwrap();
    }

    /// What was on the wire may have been accepted, or not; nobody will hear of it.
    fn lose_the_process(&mut self) {
        for ready in std::mem::take(&mut self.on_the_wire) {
            let accepted = self.random.random_bool(0.5);
            if accepted {
                *self.copies.entry(ready.claimed.id).or_default() += 1;
            }
            self.unheard.push((ready, accepted));
        }
        self.zombies.append(&mut self.in_hand);
    }

    async fn start(&mut self, press: &Press) {
        self.worker = press.worker().await;
    }

    fn pick_in_hand(&mut self) -> Option<Ready> {
        if self.in_hand.is_empty() {
            return None;
        }
        let index = self.random.random_range(0..self.in_hand.len());
        Some(self.in_hand.swap_remove(index))
    }
}

fn reply(code: u16) -> Reply {
    Reply {
        code,
        enhanced: None,
        lines: vec![String::new()],
    }
}

fn failed(phase: Phase, cause: Cause) -> Outcome {
    Outcome::Failed(Failure::new(phase, cause))
}

fn circumstances(press: &Press) -> Circumstances<'static> {
    static LEASES: std::sync::OnceLock<paperround::deliveries::Leases> = std::sync::OnceLock::new();
    Circumstances {
        now: press.now(),
        jitter: 1.0,
        leases: LEASES.get_or_init(leases),
    }
}
