//! What befalls the workers and their database.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::crew::Crew;
use super::scene::Scene;
use crate::support::cluster::Stop;

/// How often what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    kills: usize,
    stops: usize,
    restarts: usize,
    terminations: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A worker is killed, and another one begins.
    Kill,
    /// A worker stands still for longer than its lease, and for some longer than that of its transmissions.
    Stop,
    /// The database restarts, in order or as after a crash.
    Restart,
    /// The database ends a session, whatever it is at.
    Terminate,
}

impl Faults {
    /// For each push.
    pub(super) const SHORT: Self = Self {
        kills: 20,
        stops: 10,
        restarts: 5,
        terminations: 10,
    };
    /// For each release.
    pub(super) const LONG: Self = Self {
        kills: 200,
        stops: 100,
        restarts: 50,
        terminations: 100,
    };

    pub(super) fn shuffled(self, random: &mut StdRng) -> Vec<Fault> {
        let mut faults = [
            vec![Fault::Kill; self.kills],
            vec![Fault::Stop; self.stops],
            vec![Fault::Restart; self.restarts],
            vec![Fault::Terminate; self.terminations],
        ]
        .concat();
        faults.shuffle(random);
        faults
    }
}

impl Fault {
    /// A moment later it happens, to one of those that are at work.
    pub(super) async fn happen(self, scene: &Scene, crew: &mut Crew, random: &mut StdRng) {
        let pause = Duration::from_millis(random.random_range(50..800));
        crew.wait(scene, pause).await;
        let number = loop {
            if let Some(number) = crew.at_work().choose(random) {
                break *number;
            }
            crew.wait(scene, Duration::from_millis(20)).await;
        };
        match self {
            Self::Kill => crew.kill(scene, number).await,
            Self::Stop => crew.stop(
                number,
                Duration::from_millis(random.random_range(3200..4700)),
            ),
            Self::Restart => {
                let stop = *[Stop::Fast, Stop::Immediate].choose(random).unwrap();
                scene.restart(stop).await;
            }
            Self::Terminate => scene.terminate_a_session(random).await,
        }
    }
}
