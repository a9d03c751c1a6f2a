//! Commands that are killed at a write, and the journal's writer: what they had begun is completed or was never begun.

use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::rig::Rig;
use crate::support::strace::Strace;
use crate::support::{Program, seed};

/// Under strace, which writes down these calls in `record` and does with them as `inject` says.
fn traced(program: Program, record: &Path, calls: &str, inject: Option<&str>) -> Program {
    let trace = format!("trace={calls}");
    let mut command = vec!["strace", "-f", "-o", record.to_str().unwrap(), "-e", &trace];
    if let Some(inject) = inject {
        command.extend(["-e", inject]);
    }
    program.under(command.into_iter().map(str::to_owned).collect())
}

/// The most writes of one thread in a run that nothing disturbs.
fn writes(program: Program, record: &Path, arguments: &[&str]) -> usize {
    let program = traced(program, record, "pwrite64", None);
    program.run(arguments).expect(0);
    let text = std::fs::read_to_string(record).unwrap();
    let mut by_thread = std::collections::HashMap::<&str, usize>::new();
    for line in text.lines().filter(|line| line.contains("pwrite64(")) {
        let thread = line.split_whitespace().next().unwrap();
        *by_thread.entry(thread).or_default() += 1;
    }
    by_thread.into_values().max().unwrap()
}

/// Which of so many writes are struck: all in the long run, else some by chance.
fn taken(writes: usize, samples: usize) -> Vec<usize> {
    let numbers: Vec<usize> = (1..=writes).collect();
    if seed::is_long() {
        return numbers;
    }
    let mut random = StdRng::seed_from_u64(seed::seed());
    numbers.sample(&mut random, samples).copied().collect()
}

/// Whether it was killed: how SQLite spreads its writes over threads differs between runs, so the last may not come.
fn killed_at(program: Program, record: &Path, write: usize, arguments: &[&str]) -> bool {
    let inject = format!("inject=pwrite64:signal=KILL:when={write}");
    let run = traced(program, record, "pwrite64", Some(&inject)).run(arguments);
    assert!(matches!(run.code, None | Some(0)), "{write}: {run:?}");
    run.code.is_none()
}

#[test]
fn k11_a_migration_that_is_killed_goes_on_where_it_was() {
    let fresh = || {
        let folder = tempfile::tempdir().unwrap();
        let program = || {
            Program::in_folder(folder.path())
                .with("PAPERROUND_SERVER__BASE_URL", "http://localhost:8080")
        };
        (program(), program(), folder)
    };
    let (program, _, folder) = fresh();
    let writes = writes(program, &folder.path().join("record"), &["migrate"]);
    let (mut kills, taken) = (0, taken(writes, 6));
    for write in taken.iter().copied() {
        let (killed, program, folder) = fresh();
        let record = folder.path().join("record");
        kills += usize::from(killed_at(killed, &record, write, &["migrate"]));
        program.run(&["migrate"]).expect(0);
        let again = program.run(&["migrate"]).expect(0);
        assert!(again.err.contains("up to date"), "{again:?}");
        let status = program.run(&["migrate", "--status", "--json"]).expect(0);
        let status = status.json();
        let applied = status.as_array().unwrap().iter();
        assert!(applied.clone().count() > 0);
        assert!(
            applied.clone().all(|step| step["applied"] == true),
            "{write}"
        );
        program.run(&["newsletter", "list"]).expect(0);
    }
    eprintln!("killed at {kills} of {} writes", taken.len());
    assert!(kills * 2 >= taken.len(), "{kills} of {}", taken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_an_import_that_is_killed_can_be_repeated() {
    let template = Rig::new(20).await;
    // two transactions
    let list: Vec<_> = (0..700).map(|n| format!("import{n}@example.org")).collect();
    let file = template.data.folder().join("more.csv");
    std::fs::write(&file, format!("email\n{}\n", list.join("\n"))).unwrap();
    let arguments = ["import", file.to_str().unwrap()];
    let clean = template.copy().await;
    let record = clean.data.folder().join("record");
    let writes = writes(clean.program(), &record, &arguments);
    assert_eq!(clean.active().await.len(), 720);
    let (mut kills, taken) = (0, taken(writes, 4));
    for write in taken.iter().copied() {
        let rig = template.copy().await;
        let record = rig.data.folder().join("record");
        kills += usize::from(killed_at(rig.program(), &record, write, &arguments));
        let half = rig.active().await.len();
        assert!([20, 520, 720].contains(&half), "{write}: {half}");
        rig.program().run(&arguments).expect(0);
        assert_eq!(rig.active().await.len(), 720, "{write}");
        assert_eq!(rig.integrity().await, "ok");
    }
    eprintln!("killed at {kills} of {} writes", taken.len());
    assert!(kills * 2 >= taken.len(), "{kills} of {}", taken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_killed_at_the_journal_the_goodbye_stands_and_the_next_start_completes_it() {
    let template = Rig::new(3).await;
    for call in ["write", "fdatasync"] {
        let rig = template.copy().await;
        let journal = rig.data.folder().join("suppressions.journal");
        let service = rig.serve().await;
        let path = journal.to_str().unwrap();
        let inject = format!("inject={call}:signal=KILL:when=1");
        let trace = format!("trace={call}");
        let what = ["-P", path, "-e", trace.as_str(), "-e", inject.as_str()];
        let strace = Strace::all_of(&service, &what, &rig.data.folder().join("record")).await;
        let answer = service.post(&rig.readers[0].link).await;
        assert!(answer.is_err(), "{call}: {answer:?}");
        assert!(!service.ended().await.success());
        strace.end().await;
        assert!(rig.serve().await.terminate().await.success());
        assert!(
            !rig.active().await.contains(&rig.readers[0].email),
            "{call}"
        );
        let lines = std::fs::read_to_string(&journal).unwrap();
        assert_eq!(lines.lines().count(), 1, "{call}: {lines}");
    }
}
