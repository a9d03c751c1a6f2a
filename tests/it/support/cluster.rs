//! A PostgreSQL of a test's own, which it may restart.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use paperround::config::DatabaseTarget;
use tempfile::TempDir;

/// Shut down by the signals that PostgreSQL calls so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// Sessions are ended, then a checkpoint.
    Fast,
    /// As a crash: the next start recovers.
    Immediate,
}

/// A running server, on loopback and on a socket in its folder. It ends with this handle, or with the test's process.
pub(crate) struct Cluster {
    folder: TempDir,
    tools: PathBuf,
    port: u16,
    guard: Option<Child>,
}

impl Cluster {
    /// Makes one and starts it.
    pub(crate) fn start() -> Self {
        let cluster = Self::nowhere();
        let mut initdb = cluster.tool("initdb");
        initdb.arg("-D").arg(cluster.data());
        succeed(initdb.args(["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]));
        cluster.begin()
    }

    /// Makes and starts its synchronous standby: from now on a COMMIT is answered when both have it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::nowhere();
        let mut copy = standby.tool("pg_basebackup");
        copy.arg("-D")
            .arg(standby.data())
            .args(["-R", "-X", "stream"]);
        succeed(copy.args(["-c", "fast", "--no-sync"]).args(self.login()));
        let standby = standby.begin();
        let mut psql = self.tool("psql");
        psql.args(["-c", "ALTER SYSTEM SET synchronous_standby_names = '*'"]);
        psql.args(["-c", "SELECT pg_reload_conf()"]);
        succeed(psql.args(self.login()));
        standby
    }

    /// It is a standby no longer; `pg_ctl` waits until it takes writes.
    pub(crate) fn promote(&self) {
        succeed(self.pg_ctl().arg("promote"));
    }

    /// It dies, as by a crash.
    pub(crate) fn die(&self) {
        succeed(self.pg_ctl().args(["-m", "immediate", "stop"]));
    }

    fn nowhere() -> Self {
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
            tools: tools(),
            port: free_port(),
            guard: None,
        };
        if is_root() {
            // the server refuses to run as root
            let mut chown = Command::new("chown");
            succeed(chown.arg("postgres:").arg(cluster.folder.path()));
        }
        cluster
    }

    fn begin(mut self) -> Self {
        // a process that is killed loses nothing that was written; only the machine's end would
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 100\nfsync = off\n",
            self.port,
            self.folder.path().display()
        );
        let path = self.data().join("postgresql.conf");
        let usual = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, usual + &settings).unwrap();
        succeed(self.pg_ctl().arg("start"));
        self.guard = Some(self.guard());
        self
    }

    /// How PostgreSQL's own programs reach it.
    fn login(&self) -> [String; 6] {
        let folder = self.folder.path().display().to_string();
        let port = self.port.to_string();
        ["-h", &folder, "-p", &port, "-U", "postgres"].map(str::to_owned)
    }

    /// Its database.
    pub(crate) fn target(&self) -> DatabaseTarget {
        let folder = self.folder.path().display();
        let port = self.port;
        let url = format!("postgres://postgres@localhost:{port}/postgres?host={folder}");
        DatabaseTarget::Postgres(url.into())
    }

    /// Where it listens on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops and starts it; `pg_ctl` waits for both.
    pub(crate) fn restart(&self, stop: Stop) {
        let mode = match stop {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        succeed(self.pg_ctl().args(["-m", mode, "restart"]));
    }

    /// Stops the server when its standard input ends, as it does however this process ends.
    fn guard(&self) -> Child {
        let mut stop = self.pg_ctl();
        // nothing of it is kept
        stop.args(["-m", "immediate", "stop"]);
        let mut guard = Command::new("sh");
        guard.args(["-c", "read -r _; exec \"$@\"", "guard"]);
        guard.arg(stop.get_program()).args(stop.get_args());
        guard.current_dir(self.folder.path());
        guard.stdin(Stdio::piped());
        guard.stdout(Stdio::null()).stderr(Stdio::null());
        guard.spawn().unwrap()
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.tool("pg_ctl");
        let log = self.folder.path().join("server.log");
        command.arg("-D").arg(self.data()).arg("-l").arg(log);
        command.args(["-w", "-t", "60"]);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn tool(&self, name: &str) -> Command {
        let tool = self.tools.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(tool);
            command
        } else {
            Command::new(tool)
        };
        command.current_dir(self.folder.path());
        command.env("LC_ALL", "C");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _stopped = guard.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Debian keeps the server's tools off the PATH.
fn tools() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("pg_ctl").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| Path::new("").to_owned())
}

#[track_caller]
fn succeed(command: &mut Command) {
    // a server that was started keeps what it was given open: no pipes
    let words = tempfile::tempfile().unwrap();
    let to = |words: &std::fs::File| words.try_clone().unwrap();
    command.stdout(to(&words)).stderr(to(&words));
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {}", text(words));
}

fn text(mut words: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    words.rewind().unwrap();
    words.read_to_string(&mut text).unwrap();
    text
}
