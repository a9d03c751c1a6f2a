//! Postfix's load tools: `smtp-sink` takes mails and throws them away, `smtp-source` makes them. Neither keeps anything.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::process::{Process, free_port};

/// Of the counter's file: more than its longest record.
const TAIL_BYTES: u64 = 200;
/// About what smtp-source adds in headers to what it is told as the length.
const SOURCE_HEADERS_BYTES: usize = 200;

/// A running `smtp-sink` that counts.
pub(crate) struct Sink {
    process: Process,
    pub(crate) port: u16,
    counter: PathBuf,
}

impl Sink {
    /// `folder` gets the file in which it counts.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let counter = folder.join("sink.count");
        let mut command = Process::command("/usr/sbin/smtp-sink");
        if runs_as_root()? {
            command.args(["-u", "nobody"]);
        }
        command
            .args(["-c", "-m", "1000", &format!("127.0.0.1:{port}"), "1000"])
            .stdout(File::create(&counter)?)
            .stderr(Stdio::inherit());
        let mut process = Process::spawn("smtp-sink (Debian: postfix)", command)?;
        process.listening(port).await?;
        Ok(Self {
            process,
            port,
            counter,
        })
    }

    /// How many messages it has accepted.
    pub(crate) fn messages(&self) -> anyhow::Result<u64> {
        let mut file = File::open(&self.counter)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = String::new();
        file.read_to_string(&mut tail)?;
        // records end with a carriage return: sess=1 quit=0 mesg=17
        let last = tail.rsplit('\r').nth(1).unwrap_or_default();
        match last.rsplit_once("mesg=") {
            Some((_, count)) => Ok(count.trim().parse()?),
            None => Ok(0),
        }
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Starts `smtp-source`, which sends `messages` of about `bytes` each over `connections`, and keeps them open.
pub(crate) fn source(
    port: u16,
    connections: usize,
    messages: u64,
    bytes: usize,
) -> anyhow::Result<Process> {
    let length = bytes.saturating_sub(SOURCE_HEADERS_BYTES).to_string();
    let mut command = Process::command("/usr/sbin/smtp-source");
    command
        .args(["-d", "-s", &connections.to_string()])
        .args(["-m", &messages.to_string(), "-l", &length])
        .args(["-f", "news@world-review.org", "-t", "reader@example.org"])
        .arg(format!("127.0.0.1:{port}"));
    Process::spawn("smtp-source (Debian: postfix)", command)
}

fn runs_as_root() -> anyhow::Result<bool> {
    let output = Command::new("id").arg("-u").output().context("no `id`")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
