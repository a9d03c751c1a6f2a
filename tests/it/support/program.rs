//! The `paperround` program as an operator runs it, on a test's database, beside the service.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use paperround::config::DatabaseTarget;
use secrecy::ExposeSecret as _;

use super::TestApp;

const PROGRAM: &str = env!("CARGO_BIN_EXE_paperround");

/// How to start the program.
pub(crate) struct Program {
    variables: Vec<(String, String)>,
    folder: std::path::PathBuf,
    /// What runs the program, with its arguments; empty where it runs by itself.
    under: Vec<String>,
}

/// What one run said.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Data.
    pub(crate) out: String,
    /// Words.
    pub(crate) err: String,
}

impl Program {
    /// On the data of `app`.
    pub(crate) fn of(app: &TestApp) -> Self {
        let mut program = Self::in_folder(app.folder()).with(
            "PAPERROUND_SERVER__BASE_URL",
            app.config.server.base_url.as_str(),
        );
        if let DatabaseTarget::Postgres(url) = app.config.database_target() {
            program = program.with("PAPERROUND_DATABASE__URL", url.expose_secret());
        }
        let secrets = app.config.secrets_file();
        program.with(
            "PAPERROUND_SECRETS__FILE",
            secrets.to_str().expect("a test's folder is UTF-8"),
        )
    }

    /// In an empty world: nothing is set but the data folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let program = Self {
            variables: Vec::new(),
            folder: folder.to_path_buf(),
            under: Vec::new(),
        };
        program.with(
            "PAPERROUND_DATA_DIR",
            folder.to_str().expect("a test's folder is UTF-8"),
        )
    }

    /// With this environment variable too.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a user to whom the modes of files apply: root, whom they do not hold up, becomes `nobody`.
    pub(crate) fn run_by_nobody(mut self) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let ours = std::fs::metadata("/proc/self").expect("Linux tells who we are");
        if ours.uid() == 0 {
            let setpriv = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ];
            self.under = setpriv.map(str::to_owned).to_vec();
        }
        self
    }

    /// Run by this command, which is given the program and its arguments behind its own.
    #[cfg(feature = "test-strace")]
    pub(crate) fn under(mut self, command: Vec<String>) -> Self {
        self.under = command;
        self
    }

    /// Runs it to its end without a terminal and with nothing on standard input.
    pub(crate) fn run<I: AsRef<OsStr>>(&self, arguments: &[I]) -> Run {
        let output = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        Run::of(output)
    }

    /// The same with `input` on standard input.
    pub(crate) fn run_with_input<I: AsRef<OsStr>>(&self, arguments: &[I], input: &[u8]) -> Run {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // a program that reads nothing closes its end
        let _closed = stdin.write_all(input);
        drop(stdin);
        Run::of(child.wait_with_output().expect("the program ends"))
    }

    /// Starts it without waiting for its end; its words go to `words`.
    pub(crate) fn spawn(&self, arguments: &[&str], words: std::fs::File) -> std::process::Child {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words);
        command.spawn().expect("the program starts")
    }

    fn command<I: AsRef<OsStr>>(&self, arguments: &[I]) -> Command {
        let mut words = self.under.iter().map(String::as_str);
        let mut command = Command::new(words.next().unwrap_or(PROGRAM));
        command.args(words);
        if !self.under.is_empty() {
            command.arg(PROGRAM);
        }
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("data is UTF-8"),
            err: String::from_utf8(output.stderr).expect("words are UTF-8"),
        }
    }

    /// Fails the test unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Its data as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
