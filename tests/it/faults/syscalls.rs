//! Every write and sync of SQLite's writer while an issue goes out: killed at it, or with the disk full or broken.
//!
//! A clean run is counted first. Per push some calls are taken by chance, in the long run each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::rig::{CONNECTIONS, Rig, Row};
use crate::support::seed;
use crate::support::service::Service;
use crate::support::strace::Strace;

const READERS: usize = 20;
const LEAVERS: usize = 3;
/// `EX_IOERR` of sysexits.h.
const EXIT_IO: i32 = 74;

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The process is killed before it.
    Kill,
    /// It fails: no space left.
    NoSpace,
    /// It fails: the disk did not keep what was written.
    Lost,
}

/// One call of the writer's thread, by its number from 1.
#[derive(Clone, Copy, Debug)]
struct Point {
    call: &'static str,
    number: usize,
    blow: Blow,
}

impl Point {
    fn inject(self) -> String {
        let Self { call, number, blow } = self;
        let blow = match blow {
            Blow::Kill => "signal=KILL",
            Blow::NoSpace => "error=ENOSPC",
            Blow::Lost => "error=EIO",
        };
        format!("inject={call}:{blow}:when={number}")
    }
}

/// The clean run's calls by name.
type Calls = BTreeMap<&'static str, usize>;

fn record(rig: &Rig) -> PathBuf {
    rig.data.folder().join("strace.record")
}

/// Readers leave while the mails go out. How many were told that they are out.
async fn leave(rig: &Rig, service: &Service) -> Vec<String> {
    let mut left = Vec::new();
    for reader in &rig.readers[..LEAVERS] {
        if service
            .post(&reader.link)
            .await
            .is_ok_and(|status| status == 200)
        {
            left.push(reader.email.clone());
        }
    }
    left
}

/// Waits until everybody is served or the program has ended. What it left behind.
async fn drained_or_ended(rig: &Rig, service: &mut Service) -> Option<BTreeMap<String, Row>> {
    let ended = async {
        while service.has_ended().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        rows = rig.drained() => Some(rows),
        () = ended => None,
    }
}

/// Sends the issue with this point's blow. Whether it was struck.
async fn trial(rig: Rig, point: Point) -> bool {
    let inject = point.inject();
    let trace = format!("trace={}", point.call);
    let what = ["-e", trace.as_str(), "-e", inject.as_str()];
    let mut service = rig.serve().await;
    let strace = Strace::writer_of(&service, &what, &record(&rig)).await;
    rig.send();
    let left = leave(&rig, &service).await;
    let rows = drained_or_ended(&rig, &mut service).await;
    let calls = strace.end().await;
    let struck = calls.iter().any(|call| call.contains("(INJECTED)"))
        || calls
            .last()
            .is_some_and(|call| call.contains("killed by SIGKILL"));
    let rows = if let Some(rows) = rows {
        let goes_on = !struck || point.blow == Blow::NoSpace;
        assert!(goes_on, "{point:?}: it went on");
        rows
    } else {
        assert!(struck, "{point:?}: {}", service.words());
        let code = service.ended().await.code();
        let expected = (point.blow == Blow::Lost).then_some(EXIT_IO);
        assert_eq!(code, expected, "{point:?}");
        service = rig.serve().await;
        rig.drained().await
    };
    assert!(service.terminate().await.success(), "{point:?}");
    let extra = rig.nobody_is_lost_and_copies_are_doubts(&rows);
    assert!(extra <= CONNECTIONS, "{point:?}");
    if point.blow == Blow::NoSpace {
        assert_eq!(
            extra, 0,
            "{point:?}: what was sent is stored when there is room"
        );
    }
    let active = rig.active().await;
    assert!(
        left.iter().all(|reader| !active.contains(reader)),
        "{point:?}: who was told so is out"
    );
    for reader in &active {
        assert_eq!(rows[reader].state, "sent", "{point:?}");
    }
    assert_eq!(rig.integrity().await, "ok", "{point:?}");
    struck
}

/// The calls of a run that nothing disturbs.
async fn calls(rig: Rig) -> Calls {
    let service = rig.serve().await;
    let what = ["-e", "trace=pwrite64,fdatasync,fsync,ftruncate"];
    let strace = Strace::writer_of(&service, &what, &record(&rig)).await;
    rig.send();
    leave(&rig, &service).await;
    rig.drained().await;
    let lines = strace.end().await;
    assert!(service.terminate().await.success());
    let count = |call: &str| lines.iter().filter(|line| line.starts_with(call)).count();
    ["pwrite64", "fdatasync", "fsync", "ftruncate"]
        .into_iter()
        .map(|call| (call, count(&format!("{call}("))))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Each call, or some of them by chance, with each of the blows.
async fn strike(template: &Rig, calls: &[(&'static str, usize)], blows: &[(Blow, usize)]) {
    let mut random = StdRng::seed_from_u64(seed::seed());
    let mut points = Vec::new();
    for (call, count) in calls {
        let numbers: Vec<usize> = (1..=*count).collect();
        for (blow, samples) in blows {
            let taken: Vec<usize> = if seed::is_long() {
                numbers.clone()
            } else {
                numbers.sample(&mut random, *samples).copied().collect()
            };
            points.extend(taken.into_iter().map(|number| Point {
                call,
                number,
                blow: *blow,
            }));
        }
    }
    let total = points.len();
    let struck: Vec<bool> = futures_util::stream::iter(points)
        .map(|point| async move { trial(template.copy().await, point).await })
        .buffer_unordered(3)
        .collect()
        .await;
    let struck = struck.into_iter().filter(|struck| *struck).count();
    eprintln!("{struck} of {total} points were struck");
    // two runs differ in how their writes share commits: the last calls of one may not come in the next
    assert!(struck * 4 >= total * 3, "{struck} of {total} were struck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k3_killed_at_any_write_or_sync_nobody_is_lost() {
    let template = Rig::new(READERS).await;
    let calls: Vec<_> = calls(template.copy().await).await.into_iter().collect();
    eprintln!("calls of the writer: {calls:?}");
    strike(&template, &calls, &[(Blow::Kill, 4)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_a_disk_that_is_full_at_any_write_costs_nobody_anything() {
    let template = Rig::new(READERS).await;
    let calls = calls(template.copy().await).await;
    strike(
        &template,
        &[("pwrite64", calls["pwrite64"])],
        &[(Blow::NoSpace, 4)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_sync_that_fails_ends_the_process_and_the_next_start_recovers() {
    let template = Rig::new(READERS).await;
    let calls = calls(template.copy().await).await;
    let sync = if calls.contains_key("fdatasync") {
        "fdatasync"
    } else {
        "fsync"
    };
    strike(&template, &[(sync, calls[sync])], &[(Blow::Lost, 4)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_while_the_disk_is_full_nothing_new_is_sent_nobody_is_told_that_they_are_out_and_it_heals()
 {
    let rig = Rig::new(200).await;
    let seed = seed::seed();
    rig.relay.script().pace(seed, 5..21);
    let service = rig.serve().await;
    rig.send();
    rig.accepted(StdRng::seed_from_u64(seed).random_range(5..50))
        .await;
    // every write of SQLite from now on, on whatever thread
    let what = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"];
    let strace = Strace::all_of(&service, &what, &record(&rig)).await;
    let full = rig.relay.ledger().count();
    let reader = &rig.readers[199];
    let leave = async || service.post(&reader.link).await.unwrap();
    assert_eq!(leave().await, 503);
    // the results of what was on the wire are tried to be stored, again and again
    let tried = async {
        while !service.words().contains("A result cannot be stored") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::rig::DEADLINE, tried)
        .await
        .expect("a result cannot be stored");
    assert_eq!(leave().await, 503);
    let sent = rig.relay.ledger().count();
    assert!(sent <= full + 2 * CONNECTIONS, "{sent} of {full}");
    assert!(rig.active().await.contains(&reader.email));
    strace.end().await;
    assert_eq!(leave().await, 200);
    let rows = rig.drained().await;
    assert!(service.terminate().await.success());
    assert_eq!(rig.nobody_is_lost_and_copies_are_doubts(&rows), 0);
    assert!(rows.values().all(|row| row.doubt == 0));
    assert_eq!(rig.integrity().await, "ok");
}
