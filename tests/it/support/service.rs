//! The real program as a process of its own, which a test may kill.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Program, TestApp};

/// How long a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `paperround serve`. It dies with this handle.
pub(crate) struct Service {
    child: Child,
    port: u16,
    words: std::path::PathBuf,
}

impl Service {
    /// Starts it on the data of `app` with these settings, and waits until it is ready.
    pub(crate) async fn start(app: &TestApp, settings: &[(&str, &str)]) -> Self {
        let mut service = Self::begin(app, settings).await;
        let ready = async {
            while !service.is_ready().await {
                assert!(!service.has_ended(), "it ended: {}", service.words());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        assert!(
            ready.is_ok(),
            "it does not become ready: {}",
            service.words()
        );
        service
    }

    /// Starts it and does not wait.
    pub(crate) async fn begin(app: &TestApp, settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut program =
            Program::of(app).with("PAPERROUND_SERVER__BIND", &format!("127.0.0.1:{port}"));
        for (name, value) in settings {
            program = program.with(name, value);
        }
        let words = app.folder().join("serve.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&words)
            .unwrap();
        let child = program.spawn(&["serve"], log);
        Self { child, port, words }
    }

    /// SIGKILL, and what is left is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 3, ended)
            .await
            .expect("it ends")
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Whether it has come to an end, by whatever cause.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Where it answers.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it logged.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Whether it says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await else {
            return false;
        };
        let request = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        let mut answer = Vec::new();
        stream.write_all(request).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // it may have ended already
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
