//! Three worker processes on one PostgreSQL, and what befalls them: kills, long stops, a database that restarts, sessions
//! that end. Nobody is lost, and a second copy comes only where a reply was lost and the record says so.
//!
//! `PAPERROUND_TEST_LONG=1 scripts/with-postgres cargo test --features test-postgres --test it -- --nocapture workers`
//! has ten times the faults, and one stop past the lease as it is in the field. `PAPERROUND_TEST_SEED` repeats a run's
//! faults and their order.

mod crew;
mod errors;
mod faults;
mod lock;
mod partition;
mod scene;

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::seed;
use crew::Crew;
use faults::Faults;
use scene::Scene;

/// Leases that fit into a test.
const SCALED: [(&str, &str); 6] = [
    ("PAPERROUND_DELIVERY__HEARTBEAT", "700ms"),
    ("PAPERROUND_DELIVERY__WORKER_LEASE", "3s"),
    ("PAPERROUND_DELIVERY__BODY_DEADLINE", "1900ms"),
    ("PAPERROUND_DELIVERY__REPLY_DEADLINE", "1900ms"),
    ("PAPERROUND_DELIVERY__TRANSMISSION_LEASE", "4s"),
    ("PAPERROUND_DELIVERY__GRACE", "0s"),
];

/// Faults that do not wait for the first mail.
const WHILE_PREPARING: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_k5_d6_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost() {
    let seed = seed::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (readers, counts) = if seed::is_long() {
        (25_000, Faults::LONG)
    } else {
        (2_500, Faults::SHORT)
    };
    let scene = Scene::new(readers, &SCALED).await;
    // a slow relay, so that there is something to send until the last fault
    scene.relay.script().pace(seed, 100..300);
    let mut crew = Crew::of(&scene, 3).await;
    let (mut within, mut last) = (0, 0);
    let faults = counts.shuffled(&mut random);
    for (number, fault) in faults.iter().enumerate() {
        if number == WHILE_PREPARING {
            scene.begun(&mut crew).await;
        }
        fault.happen(&scene, &mut crew, &mut random).await;
        let accepted = scene.relay.ledger().count();
        within += usize::from(last > 0 && accepted < readers);
        last = accepted;
    }
    scene.relay.script().pace(seed, 1..5);
    scene.drained(&mut crew).await;
    let rows = scene.rows().await;
    scene.assert_that_what_is_sent_was_accepted(&rows);
    let held = scene.decide().await;
    scene.drained(&mut crew).await;
    scene.assert_no_session_is_left_in_a_transaction().await;
    crew.terminate().await;
    let verdict = scene.verdict(&rows).await;
    let words = scene.words();
    scene.finish().await;
    eprintln!(
        "seed {seed}: {} faults, {within} of them between first and last acceptance ({counts:?}); {verdict}, {held} held; \
         {} starts",
        faults.len(),
        crew.starts
    );
    assert!(
        within * 5 >= faults.len() * 4,
        "the faults fell outside: {within} of {}; {words}",
        faults.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_a_worker_that_stands_still_past_the_real_lease_comes_back_as_another() {
    if !seed::is_long() {
        return;
    }
    let scene = Scene::new(2_000, &[("PAPERROUND_DELIVERY__GRACE", "0s")]).await;
    scene.relay.script().pace(seed::seed(), 5..21);
    let mut crew = Crew::of(&scene, 3).await;
    scene.accepted(300).await;
    crew.stop(0, Duration::from_secs(63));
    // what the one that stands still had claimed is retaken; what it has on the wire waits for it
    tokio::time::sleep(Duration::from_secs(66)).await;
    scene.drained(&mut crew).await;
    let rows = scene.rows().await;
    let verdict = scene.verdict(&rows).await;
    crew.terminate().await;
    let words = scene.words();
    scene.finish().await;
    eprintln!("{verdict}");
    assert_eq!((verdict.extra, verdict.doubts), (0, 0));
    assert!(words.contains("was taken for dead and begins anew"));
}
