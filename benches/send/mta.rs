//! Debian's Postfix as a relay: it keeps each mail on its disk before it answers, and forwards it to the sink.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use anyhow::ensure;
use tempfile::TempDir;

use super::guard::guard;
use super::postfix_folder::set_up;
use super::process::{Process, free_port};

/// A running Postfix; it ends with its handle.
pub(crate) struct Postfix {
    pub(crate) port: u16,
    guard: Child,
    master: Process,
    _folder: TempDir,
}

impl Postfix {
    /// What it takes goes on to `sink`.
    pub(crate) async fn start(sink: u16) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("postfix-", env!("CARGO_TARGET_TMPDIR"))?;
        let port = free_port()?;
        let opened = Command::new("chmod")
            .arg("0711")
            .arg(folder.path())
            .status()?;
        ensure!(opened.success(), "Postfix's users cannot go to its folder");
        let forwards = format!("relay_transport = smtp:[127.0.0.1]:{sink}\n");
        let master = set_up(folder.path(), port, &forwards)?;
        let words = File::create(folder.path().join("words"))?;
        // a process group of its own
        let mut command = Command::new("setsid");
        command
            .arg(master.get_program())
            .args(master.get_args())
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words);
        let master = Process::spawn("Postfix (Debian: postfix; as root)", command)?;
        let guard = guard(master.id())?;
        let mut postfix = Self {
            port,
            guard,
            master,
            _folder: folder,
        };
        postfix.master.listening(port).await?;
        Ok(postfix)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // there is nobody to tell
        let _ended = self.guard.wait();
    }
}
