//! What the operating system knows about a process, and processes that die with this one.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Linux counts processor time in these for every program (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// A process that ends with its handle, and with this process however that ends.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Of all children that had ended when it was started.
    others_cpu: Duration,
}

impl Process {
    /// The command for `program`; it is killed when the bench dies.
    pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let others_cpu = cpu_of_children()?;
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            others_cpu,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, of all its threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(&self.child.id().to_string(), [13, 14])
    }

    /// The most memory it ever held.
    pub(crate) fn peak_rss_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib.context("the kernel tells no peak of memory")?.parse()?;
        Ok(kib * 1024)
    }

    /// Fails if it has ended: a server should not.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended: {status}", self.name);
        }
        Ok(())
    }

    /// Fails if it has ended badly: a client may end.
    pub(crate) fn check_well(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => bail!("{} failed: {status}", self.name),
            Some(_) | None => Ok(()),
        }
    }

    /// Waits for its good end; what it cost in processor time. No other process may have ended since its start.
    pub(crate) fn wait(mut self) -> anyhow::Result<Duration> {
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.name);
        Ok(cpu_of_children()?.saturating_sub(self.others_cpu))
    }

    /// SIGTERM, and waits for the good end.
    pub(crate) fn terminate(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status()?;
        ensure!(sent.success(), "cannot stop {}", self.name);
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended badly: {status}", self.name);
        Ok(())
    }

    /// Waits until something listens on `port`.
    pub(crate) async fn listening(&mut self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            self.check_alive()?;
            ensure!(Instant::now() < deadline, "{} does not listen", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended already
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Processor time of all children that were waited for.
fn cpu_of_children() -> anyhow::Result<Duration> {
    cpu_of("self", [15, 16])
}

/// The sum of two fields of `/proc/PID/stat`, counted from 0 as proc(5) lists them.
fn cpu_of(pid: &str, fields: [usize; 2]) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the name, in parentheses, may hold spaces
    let (_, rest) = stat.rsplit_once(')').context("no such stat file")?;
    let values: Vec<_> = rest.split_whitespace().collect();
    let mut ticks = 0;
    for field in fields {
        let value = values
            .get(field - 2)
            .context("the stat file is too short")?;
        ticks += value.parse::<u32>()?;
    }
    Ok(TICK * ticks)
}
