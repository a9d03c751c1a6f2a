//! Some worker processes, and whoever starts them again when they end.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::scene::Scene;
use crate::support::service::Service;

/// How long a worker may take to answer that it is ready.
const ANSWER: Duration = Duration::from_millis(200);

/// The processes.
pub(super) struct Crew {
    workers: Vec<Worker>,
    /// How many processes were started.
    pub(super) starts: usize,
}

struct Worker {
    service: Service,
    has_begun: bool,
    stands_still_until: Option<Instant>,
}

impl Crew {
    pub(super) async fn of(scene: &Scene, size: usize) -> Self {
        let mut crew = Self {
            workers: Vec::new(),
            starts: 0,
        };
        for _ in 0..size {
            let worker = crew.begin(scene).await;
            crew.workers.push(worker);
        }
        crew
    }

    async fn begin(&mut self, scene: &Scene) -> Worker {
        self.starts += 1;
        Worker {
            service: scene.begin().await,
            has_begun: false,
            stands_still_until: None,
        }
    }

    /// Time passes: who stood still long enough goes on, and who could not begin for want of a database begins again.
    pub(super) async fn wait(&mut self, scene: &Scene, span: Duration) {
        let until = Instant::now() + span;
        loop {
            self.look_after(scene).await;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn look_after(&mut self, scene: &Scene) {
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            if let Some(until) = worker.stands_still_until {
                if Instant::now() < until {
                    continue;
                }
                worker.service.signal("CONT");
                worker.stands_still_until = None;
            }
            if worker.service.has_ended().is_some() {
                let words = worker.service.words();
                assert!(!worker.has_begun, "a worker ended by itself: {words}");
                self.workers[number] = self.begin(scene).await;
            } else if !worker.has_begun {
                let ready = timeout(ANSWER, worker.service.is_ready()).await;
                worker.has_begun = ready.unwrap_or(false);
            }
        }
    }

    /// The numbers of those that are at work.
    pub(super) fn at_work(&self) -> Vec<usize> {
        let at_work = |worker: &Worker| worker.has_begun && worker.stands_still_until.is_none();
        let numbered = self.workers.iter().enumerate();
        numbered
            .filter(|(_, worker)| at_work(worker))
            .map(|(number, _)| number)
            .collect()
    }

    /// SIGKILL, and another one begins.
    pub(super) async fn kill(&mut self, scene: &Scene, number: usize) {
        let next = self.begin(scene).await;
        std::mem::replace(&mut self.workers[number], next)
            .service
            .kill();
    }

    /// SIGSTOP, until the time is over.
    pub(super) fn stop(&mut self, number: usize, span: Duration) {
        let worker = &mut self.workers[number];
        worker.service.signal("STOP");
        worker.stands_still_until = Some(Instant::now() + span);
    }

    /// SIGTERM to all: each ends well.
    pub(super) async fn terminate(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.stands_still_until.is_some() {
                worker.service.signal("CONT");
            }
            assert!(worker.service.terminate().await.success(), "exit code 0");
        }
    }
}
