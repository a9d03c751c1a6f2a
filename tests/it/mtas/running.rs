//! A program in a folder of its own that listens on loopback. It ends with its handle, or with the test's process.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::guard::guard;

/// Where an MTA will run.
pub(super) struct Place {
    folder: TempDir,
    pub(super) port: u16,
}

impl Place {
    pub(super) fn new() -> Self {
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        assert!(is_root, "an MTA changes between users: run as root");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        // its users go through it
        succeed(Command::new("chmod").arg("0711").arg(folder.path()));
        Self { folder, port }
    }

    /// With a root folder that `scripts/mtas` has made.
    pub(super) fn with_root_of(name: &str) -> Self {
        let place = Self::new();
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mtas");
        let made = made.join(name);
        assert!(
            made.exists(),
            "{} is missing: run scripts/mtas, or all tests by scripts/test",
            made.display()
        );
        succeed(Command::new("cp").arg("-a").arg(made).arg(place.root()));
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the program takes for the whole file system.
    pub(super) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A program that runs in [`Self::root`].
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(self.root()).arg(name);
        command
    }

    /// Starts `command`, which does not go into the background, and waits until it listens.
    pub(super) async fn start(self, command: Command) -> Running {
        let words = File::create(self.path("words")).unwrap();
        // in a session, and so in a process group, of its own
        let mut child = Command::new("setsid")
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .spawn()
            .unwrap();
        let guard = guard(child.id()).unwrap();
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
                let ended = child.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "it ended; scripts/test installs what the tests need: {}{}",
                    self.read("words"),
                    self.read("log")
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let listens = tokio::time::timeout(Duration::from_secs(30), listens).await;
        assert!(listens.is_ok(), "it does not listen");
        Running {
            place: self,
            child,
            guard,
        }
    }

    /// What stands in a file; nothing where it is missing.
    pub(super) fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// An MTA that runs.
pub(super) struct Running {
    pub(super) place: Place,
    child: Child,
    guard: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ended = self.child.wait();
        let _ended = self.guard.wait();
    }
}

/// What a command that has to succeed says.
#[track_caller]
pub(super) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}
