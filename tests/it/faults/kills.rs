//! The program is killed or stopped while it sends: nobody is lost, and a second copy only where a reply was lost.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::rig::{CONNECTIONS, Rig, Row, tally};
use crate::support::seed;
use crate::support::service::signal;
use crate::support::smtp_server::{Act, Step};

/// Kills of one issue, and its readers. After two crashes a row is claimed alone, over one connection: with more kills
/// of one issue the others would not be tested.
const ROUND: usize = 8;
const READERS: usize = 800;

/// How often the program is killed: `PAPERROUND_TEST_KILLS`, else 56, or 1,000 in the long run.
fn kills() -> usize {
    let usual = if seed::is_long() { 1000 } else { 56 };
    let kills = seed::number("PAPERROUND_TEST_KILLS").unwrap_or(usual);
    usize::try_from(kills).unwrap()
}

/// The operator asks the relay about each mail that is held, and decides. How many there were.
fn decide(rig: &Rig, rows: &BTreeMap<String, Row>) -> usize {
    let copies = rig.copies();
    let held: Vec<_> = rows.values().filter(|row| row.state == "held").collect();
    for row in &held {
        let arrived = copies.has(&row.recipient);
        let decision = if arrived { "--sent" } else { "--again" };
        rig.program()
            .run(&[
                "issue",
                "decide",
                &row.issue_id.to_string(),
                "--delivery",
                &row.id.to_string(),
                decision,
            ])
            .expect(0);
    }
    held.len()
}

/// What became of an issue whose program was killed again and again.
#[derive(Debug, Default)]
struct Toll {
    kills: usize,
    /// Those between the first and the last acceptance.
    within: usize,
    extra: usize,
    doubts: i64,
    held: usize,
}

/// An issue to [`READERS`], killed [`ROUND`] times.
async fn killed_again_and_again(random: &mut StdRng) -> Toll {
    let rig = Rig::new(READERS).await;
    rig.send();
    rig.relay.script().pace(random.random(), 5..21);
    let share = READERS / (ROUND + 1);
    let mut within = 0;
    for kill in 0..ROUND {
        let service = rig.serve().await;
        // somewhere in this kill's share of the list
        rig.accepted(share * kill + random.random_range(1..share))
            .await;
        within += usize::from((1..READERS).contains(&rig.relay.ledger().count()));
        service.kill();
    }
    let service = rig.serve().await;
    let rows = rig.drained().await;
    let held = decide(&rig, &rows);
    let after = rig.drained().await;
    assert!(after.values().all(|row| row.state == "sent"));
    assert!(service.terminate().await.success());
    let extra = rig.nobody_is_lost_and_copies_are_doubts(&rows);
    assert_eq!(rig.copies().readers().count(), READERS, "nobody is lost");
    assert!(
        extra <= ROUND * CONNECTIONS,
        "{extra} second copies: more than were open at the kills"
    );
    assert_eq!(rig.integrity().await, "ok");
    Toll {
        kills: ROUND,
        within,
        extra,
        doubts: rows.values().map(|row| row.doubt).sum(),
        held,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost() {
    let seed = seed::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = Toll::default();
    while all.kills < kills() {
        let toll = killed_again_and_again(&mut random).await;
        all.kills += toll.kills;
        all.within += toll.within;
        all.extra += toll.extra;
        all.doubts += toll.doubts;
        all.held += toll.held;
    }
    eprintln!("seed {seed}: {all:?}, 0 lost");
    assert!(
        all.within * 5 >= all.kills * 4,
        "the kills fell outside: {all:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_under_hold_no_kill_makes_a_second_copy() {
    let seed = seed::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let kills = if seed::is_long() { 100 } else { 5 };
    // what is held without having arrived is missing in the count
    let mut rig = Rig::new(kills * (40 + CONNECTIONS) + 40).await;
    rig.set("PAPERROUND_DELIVERY__IN_DOUBT", "hold");
    rig.send();
    rig.relay.script().pace(seed, 5..21);
    for kill in 0..kills {
        let service = rig.serve().await;
        rig.accepted(40 * kill + random.random_range(1..30)).await;
        service.kill();
    }
    let service = rig.serve().await;
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    assert_eq!(rig.copies().extra(), 0);
    let lost = rows
        .values()
        .filter(|row| row.state == "sent" && !rig.copies().has(&row.recipient));
    assert_eq!(lost.count(), 0);
    assert!(
        rows.values()
            .all(|row| (row.state == "held") == (row.doubt > 0))
    );
}

/// The relay kills the program at this step of a message, after the bytes of `act` are out. How many second copies.
async fn killed_at(step: Step, act: Act) -> usize {
    let rig = Rig::new(12).await;
    let service = rig.serve().await;
    let process = service.id();
    rig.relay
        .script()
        .once(step, act.calling(move || signal(process, "KILL")));
    rig.send();
    assert!(!service.ended().await.success());
    let service = rig.serve().await;
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    let extra = rig.nobody_is_lost_and_copies_are_doubts(&rows);
    assert_eq!(rig.copies().readers().count(), 12, "{step:?}");
    assert_eq!(rig.integrity().await, "ok");
    extra
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_killed_before_any_dot_nobody_gets_a_second_copy() {
    // its rows are claimed, its group is written
    for step in [Step::Banner, Step::Mail] {
        assert_eq!(killed_at(step, Act::stall()).await, 0, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_killed_at_the_354_within_the_body_at_the_dot_and_behind_its_reply() {
    for (step, act) in [
        (Step::Data, Act::reply("354 go ahead")),
        (Step::Body(500), Act::stall()),
        (Step::Dot, Act::stall().accepted()),
        (Step::Dot, Act::reply("250 2.0.0 queued")),
    ] {
        assert!(killed_at(step, act).await <= CONNECTIONS, "{step:?}");
    }
}

/// The program is started again as often as it dies, at most so often.
async fn survives(rig: &Rig, most: usize) -> BTreeMap<String, Row> {
    for _ in 0..most {
        let mut service = rig.serve().await;
        let (process, ended) = (service.id(), rig.drained());
        rig.victim.store(process, Ordering::SeqCst);
        let died = async {
            while service.has_ended().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let rows = tokio::select! {
            rows = ended => Some(rows),
            () = died => None,
        };
        if let Some(rows) = rows {
            assert!(service.terminate().await.success());
            return rows;
        }
    }
    panic!("it died {most} times: {:?}", tally(&rig.rows().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k9_a_message_that_kills_the_program_is_held_and_the_others_go_on() {
    for (step, reason, deaths) in [(Step::Dot, "doubt", 2), (Step::Rcpt, "crashed", 4)] {
        let mut rig = Rig::new(12).await;
        // over one connection, whatever was before the poison is settled when it kills
        rig.set("PAPERROUND_SMTP__MAX_CONNECTIONS", "1");
        let (poison, victim) = ("reader5@example.org", rig.victim.clone());
        let kill = move || signal(victim.load(Ordering::SeqCst), "KILL");
        let act = Act::stall().accepted().calling(kill);
        rig.relay.script().always_for(poison, step, act);
        rig.send();
        let rows = survives(&rig, deaths + 1).await;
        let held = &rows[poison];
        assert_eq!(
            (held.state.as_str(), held.reason.as_deref()),
            ("held", Some(reason)),
            "{step:?}"
        );
        assert_eq!(tally(&rows)["sent"], 11, "{rows:?}");
        rig.nobody_is_lost_and_copies_are_doubts(&rows);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_a_stop_while_sending_leaves_no_doubt_and_no_second_copy() {
    let stops = if seed::is_long() { 200 } else { 4 };
    let seed = seed::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let rig = Rig::new(60 * (stops + 1)).await;
    rig.send();
    rig.relay.script().pace(seed, 5..21);
    for stop in 0..stops {
        let service = rig.serve().await;
        rig.accepted(60 * stop + random.random_range(1..60)).await;
        assert!(service.terminate().await.success(), "exit code 0");
        let rows = rig.rows().await;
        assert!(
            rows.values()
                .all(|row| matches!(row.state.as_str(), "sent" | "pending") && row.doubt == 0),
            "{:?}",
            tally(&rows)
        );
    }
    let service = rig.serve().await;
    rig.drained().await;
    assert!(service.terminate().await.success());
    let copies = rig.copies();
    assert_eq!(copies.readers().count(), rig.readers.len());
    assert_eq!(copies.extra(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_a_second_stop_ends_at_once_and_what_was_on_the_wire_is_in_doubt() {
    let rig = Rig::new(12).await;
    let service = rig.serve().await;
    let late = Act::stall().accepted();
    rig.relay.script().always(Step::Dot, late);
    rig.send();
    rig.accepted(1).await;
    service.signal("TERM");
    let mut service = service;
    // the relay does not answer: it waits
    rig.stopping(&service).await;
    assert!(service.has_ended().is_none());
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(130));
    rig.relay.script().clear();
    let service = rig.serve().await;
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    assert_eq!(rig.copies().readers().count(), 12);
    let extra = rig.nobody_is_lost_and_copies_are_doubts(&rows);
    assert!((1..=CONNECTIONS).contains(&extra), "{extra}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c5_a_machine_that_sleeps_beyond_its_leases_wakes_up_and_goes_on() {
    let mut rig = Rig::new(200).await;
    rig.set("PAPERROUND_DELIVERY__HEARTBEAT", "300ms");
    rig.set("PAPERROUND_DELIVERY__WORKER_LEASE", "1200ms");
    rig.set("PAPERROUND_DELIVERY__TRANSMISSION_LEASE", "1500ms");
    rig.set("PAPERROUND_DELIVERY__BODY_DEADLINE", "500ms");
    rig.set("PAPERROUND_DELIVERY__REPLY_DEADLINE", "900ms");
    rig.relay.script().pace(seed::seed(), 5..21);
    rig.send();
    let service = rig.serve().await;
    for mails in [20, 100] {
        rig.accepted(mails).await;
        service.signal("STOP");
        let asleep = rig.relay.ledger().count();
        // what is waited for is that time passes: the leases of a process that does not run
        tokio::time::sleep(Duration::from_secs(2)).await;
        let meanwhile = rig.relay.ledger().count();
        assert!(meanwhile <= asleep + CONNECTIONS);
        service.signal("CONT");
    }
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    rig.nobody_is_lost_and_copies_are_doubts(&rows);
    assert_eq!(rig.copies().readers().count(), 200);
}
