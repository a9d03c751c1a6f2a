//! Chromium as a reader has it, driven by chromedriver: one fresh profile, and nothing but loopback to reach.
//!
//! Whatever a page asked for or complained about is written down, and [`Browser::finish`] fails the test if that is
//! more than the service itself served: see [`Browser::faults`].

mod emulation;
mod page;
mod watch;

pub(crate) use emulation::Taste;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use axum::http::Method;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

/// What the browser is started with; its profile comes on top.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    // It is led by a pipe, and ends when the driver's end of it is closed.
    "--remote-debugging-pipe",
];

/// A browser that looks at one site. Driver and browser end with this handle.
pub(crate) struct Browser {
    client: Client,
    site: SocketAddr,
    driver: Driver,
    _profile: TempDir,
}

/// A running chromedriver.
struct Driver {
    child: Child,
    port: u16,
    // It may still say something, and must not fail at it.
    _words: BufReader<ChildStdout>,
}

impl Browser {
    /// Starts it for the service at `site`.
    pub(crate) async fn start(site: SocketAddr) -> Self {
        let profile = tempfile::tempdir().expect("a folder can be made");
        let driver = Driver::start(&profile);
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|text| (*text).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is an object")
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("the browser starts");
        let browser = Self {
            client,
            site,
            driver,
            _profile: profile,
        };
        browser.resize(1280, 900).await;
        // The browser's own first page is nobody's fault.
        browser.client.goto("about:blank").await.expect("it opens");
        browser.faults().await;
        browser
    }

    /// Ends it in order; fails if a page did what it should not.
    pub(crate) async fn finish(mut self) {
        let faults = self.faults().await;
        self.client.clone().close().await.expect("it closes");
        self.driver.stop();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// A command of the `DevTools` protocol.
    async fn devtools(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.command(Method::POST, "goog/cdp/execute", Some(body))
            .await
    }

    /// A `WebDriver` command that the client does not know by name.
    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let command = Raw {
            method,
            path: path.to_owned(),
            body,
        };
        let answer = self.client.issue_cmd(command).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Driver {
    /// On a port of its own choice, which it says.
    fn start(profile: &TempDir) -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run the tests by scripts/test, which installs chromedriver");
        let mut words = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            let read = words.read_line(&mut line).expect("its words can be read");
            assert!(read > 0, "chromedriver ended before it was ready");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let port = port.trim_end().trim_end_matches('.');
                break port.parse().expect("it names its port");
            }
        };
        Self {
            child,
            port,
            _words: words,
        }
    }

    fn stop(&mut self) {
        // it may have ended already
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug)]
struct Raw {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for Raw {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _url: &Url) -> (Method, Option<String>) {
        (
            self.method.clone(),
            self.body.as_ref().map(Value::to_string),
        )
    }
}
