//! `strace` beside the program: it makes chosen system calls fail or kill, or writes down what was called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::service::{Service, signal};

/// How long strace may take to begin and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running strace. It lets go of the program when it is dropped.
pub(crate) struct Strace {
    child: Child,
    record: PathBuf,
}

impl Strace {
    /// Attaches to the threads that `target` names, with what is to happen. Comes back when it watches.
    pub(crate) async fn attach(target: &[String], what: &[&str], record: &Path) -> Self {
        let words = record.with_extension("words");
        let child = Command::new("strace")
            .args(what)
            .arg("-o")
            .arg(record)
            .args(target)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&words).unwrap())
            .spawn()
            .expect("strace is installed: see scripts/test");
        let mut strace = Self {
            child,
            record: record.to_owned(),
        };
        let attached = async {
            loop {
                let said = fs::read_to_string(&words).unwrap();
                if said.contains("attached") {
                    return;
                }
                let ended = strace.child.try_wait().unwrap();
                assert!(ended.is_none(), "strace ended: {said}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, attached)
            .await
            .expect("strace attaches");
        strace
    }

    /// The thread of SQLite's writer alone.
    pub(crate) async fn writer_of(service: &Service, what: &[&str], record: &Path) -> Self {
        let target = [
            "-p".to_owned(),
            thread(service.id(), "sqlite-writer").to_string(),
        ];
        Self::attach(&target, what, record).await
    }

    /// All threads, and those that are still to come.
    pub(crate) async fn all_of(service: &Service, what: &[&str], record: &Path) -> Self {
        let target = ["-f".to_owned(), "-p".to_owned(), service.id().to_string()];
        Self::attach(&target, what, record).await
    }

    /// Lets go of the program, and gives what was written down: a line for each call.
    pub(crate) async fn end(mut self) -> Vec<String> {
        signal(self.child.id(), "TERM");
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("strace lets go");
        let text = fs::read_to_string(&self.record).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // a tracer that is killed leaves its threads as they are; one that is asked lets them go on
        signal(self.child.id(), "TERM");
        let _ended = self.child.wait();
    }
}

/// The id of the one thread of this name.
fn thread(process: u32, name: &str) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let found: Vec<u32> = tasks
        .map(|task| task.unwrap().path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    let [thread] = found.as_slice() else {
        panic!("{} threads are called {name}", found.len());
    };
    *thread
}
