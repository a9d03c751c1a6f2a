//! The real program as a process of its own, which a test may kill.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
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
        let mut program = Program::of(app);
        for (name, value) in settings {
            program = program.with(name, value);
        }
        Self::of(program, app.folder()).await
    }

    /// Starts `program` and waits until it is ready. Its words go to `serve.log` in `folder`.
    pub(crate) async fn of(program: Program, folder: &Path) -> Self {
        let mut service = Self::begin(program, folder).await;
        let ready = async {
            while !service.is_ready().await {
                let ended = service.has_ended();
                assert!(ended.is_none(), "it ended: {}", service.words());
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

    /// Starts `program` and waits for nothing.
    pub(crate) async fn begin(program: Program, folder: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let program = program.with("PAPERROUND_SERVER__BIND", &format!("127.0.0.1:{port}"));
        let words = folder.join("serve.log");
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
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits until it has ended, and says how.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.has_ended() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 3, ended)
            .await
            .expect("it ends")
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Where it answers.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The status of its answer to this request; an error where none came.
    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str) -> reqwest::Result<u16> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.request(method, self.url(path)).send().await?;
        Ok(answer.status().as_u16())
    }

    /// The status of its answer to an empty form.
    pub(crate) async fn post(&self, path: &str) -> reqwest::Result<u16> {
        self.ask(reqwest::Method::POST, path).await
    }

    /// What it logged.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Whether it takes connections.
    pub(crate) async fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .is_ok()
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

/// Sends a process a signal. It may have ended already.
pub(crate) fn signal(process: u32, name: &str) {
    let process = process.to_string();
    let _sent = Command::new("kill")
        .args([&format!("-{name}"), &process])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

impl Drop for Service {
    fn drop(&mut self) {
        // it may have ended already
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
