//! SMTP servers that others wrote: Postfix's `smtp-sink` and Python's aiosmtpd, on loopback. They die with their handles.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A program that listens on a port.
pub(crate) struct Foreign {
    child: Child,
    pub(crate) port: u16,
    /// The folder in which each mail that it took is a file, its envelope's recipients in `X-Rcpt-Args` lines first.
    pub(crate) record: PathBuf,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Foreign {
    /// `smtp-sink`, which writes what it takes into files of the folder `record`.
    pub(crate) async fn smtp_sink(folder: &Path) -> Self {
        let port = free_port();
        let record = folder.join("sink");
        std::fs::create_dir(&record).unwrap();
        // started by root it changes to another user, who must be able to write
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if runs_as_root() {
            let open = |path: &Path, mode: &str| {
                assert!(
                    Command::new("chmod")
                        .arg(mode)
                        .arg(path)
                        .status()
                        .unwrap()
                        .success()
                );
            };
            open(folder, "0711");
            open(&record, "0777");
            command.args(["-u", "nobody"]);
        }
        command
            .arg("-d")
            .arg(record.join("%H%M%S."))
            .arg(format!("127.0.0.1:{port}"))
            .arg("1000");
        Self::started(command, port, record).await
    }

    /// aiosmtpd by the script beside this file. `mode` is `starttls` or `tls`; both want to be signed in to.
    pub(crate) async fn aiosmtpd(
        folder: &Path,
        mode: &str,
        certificate: &Path,
        key: &Path,
    ) -> Self {
        let port = free_port();
        let record = folder.join(mode);
        std::fs::create_dir(&record).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/receiver.py");
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(script)
            .arg(port.to_string())
            .arg(mode)
            .arg(certificate)
            .arg(key)
            .arg(&record);
        Self::started(command, port, record).await
    }

    async fn started(mut command: Command, port: u16, record: PathBuf) -> Self {
        // a server that outlives its test would notice that its standard input is closed
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("run the tests by scripts/test, which installs what they need");
        let mut foreign = Self {
            child,
            port,
            record,
        };
        let listens = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                assert!(
                    foreign.child.try_wait().unwrap().is_none(),
                    "the receiver ended"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), listens)
            .await
            .expect("the receiver listens");
        foreign
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn runs_as_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0")
}
