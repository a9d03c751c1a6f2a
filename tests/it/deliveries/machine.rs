//! Random histories of claims, marks, replies, losses, deaths, goodbyes, pauses and cancels, against a model that knows
//! what the relay accepted.
//!
//! - I1, I5: no mark after the commit of an unsubscribe or a cancel.
//! - I2: copies are at most one more than doubts; I4: under `hold` there is one.
//! - I3: sent was accepted. I6: failed was not, unless a doubt is recorded.
//! - I7: nothing is stuck. I8: what is marked and unsettled is on a connection, or was when its process died.
//! - I9: one mark for each attempt.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::settlement::{Circumstances, Settlement};
use paperround::deliveries::worker::Worker;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State, finish, operate, recover};
use paperround::id::DeliveryId;
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::senders::leases;
use super::{Edition, Press, Reader};
use crate::support::{Engine, TestApp};

const SEEDS: std::ops::Range<u64> = 0..16;
const STEPS: usize = 70;

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
    for seed in SEEDS {
        // Shown when the test fails.
        eprintln!("seed {seed}");
        let mut machine = Machine::new(&press, seed).await;
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
    is_cancelled: bool,
    is_paused: bool,
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
            is_cancelled: false,
            is_paused: false,
        }
    }

    fn ledger(press: &Press) -> Ledger {
        Ledger::new(press.db.clone(), press.time.clone(), leases())
    }

    async fn step(&mut self, press: &Press) {
        match self.random.random_range(0..27) {
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
            assert!(claimed.is_empty() || !(self.is_cancelled || self.is_paused));
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

    async fn check(&self, press: &Press) {
        let mut transmitting = 0;
        for id in &self.edition.deliveries {
            let row = press.delivery(*id).await;
            let copies = self.copies.get(id).copied().unwrap_or(0);
            assert!(copies <= 1 + row.doubt, "I2: {copies} copies, {row:?}");
            assert!(
                self.policy == "resend" || copies <= 1,
                "I4: {copies} copies, {row:?}"
            );
            match row.state {
                State::Sent => assert!(copies >= 1, "I3: {row:?}"),
                State::Failed => assert!(copies == 0 || row.doubt > 0, "I6: {row:?}"),
                State::Transmitting => transmitting += 1,
                State::Pending | State::Claimed | State::InDoubt | State::Skipped | State::Held => {
                }
            }
        }
        assert!(
            transmitting <= self.on_the_wire.len(),
            "I8: {transmitting} rows"
        );
    }

    /// From here on everything works: nothing may be left.
    async fn drain(&mut self, press: &Press) {
        press.resume(self.edition.issue).await;
        self.is_paused = false;
        self.lose_the_process();
        self.start(press).await;
        for _ in 0..30 {
            self.sweep(press).await;
            self.claim(press).await;
            while let Some(ready) = self.in_hand.pop() {
                if let Marked::Yes { .. } = Self::ledger(press).mark(&ready, "relay").await.unwrap()
                {
                    self.has_marked(&ready);
                    *self.copies.entry(ready.claimed.id).or_default() += 1;
                    let accepted = Outcome::Accepted(reply(250));
                    let settlement =
                        Settlement::of_outcome(&ready.claimed, &accepted, circumstances(press));
                    Self::ledger(press).settle(settlement).await;
                }
            }
            self.check(press).await;
            press.time.advance(Duration::from_hours(2));
            self.worker.beat().await.unwrap();
        }
        finish::finish_issues(&press.db, press.now()).await.unwrap();
        let counts = operate::counts(&press.db, self.edition.issue)
            .await
            .unwrap();
        assert_eq!(counts.open(), 0, "I7: {counts:?}");
        let expected = if self.is_cancelled {
            "cancelled"
        } else {
            "finished"
        };
        assert_eq!(press.issue_state(self.edition.issue).await, expected);
        self.nobody_was_forgotten(press).await;
    }

    /// Every reader has a copy, or the row says why not.
    async fn nobody_was_forgotten(&self, press: &Press) {
        for (index, id) in self.edition.deliveries.iter().enumerate() {
            let row = press.delivery(*id).await;
            match row.state {
                State::Sent => {}
                State::Failed => assert!(row.reason.is_some()),
                State::Held => assert!(row.doubt > 0 || row.crashes > 3, "{row:?}"),
                State::Skipped => match row.reason {
                    Some(Reason::Unsubscribed) => assert!(self.left.contains(&index), "{row:?}"),
                    Some(Reason::Cancelled) => assert!(self.is_cancelled, "{row:?}"),
                    other => panic!("skipped because {other:?}"),
                },
                State::Pending | State::Claimed | State::Transmitting | State::InDoubt => {
                    panic!("I7: {row:?}")
                }
            }
            let given = press.given_seq(&self.readers[index]).await;
            let articles_come_again =
                matches!(row.reason, Some(Reason::Cancelled | Reason::Expired)) && row.doubt == 0;
            let expected = self.edition.cutoff - if articles_come_again { 10 } else { 0 };
            assert_eq!(given, expected, "{row:?}");
        }
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
