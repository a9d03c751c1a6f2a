//! A receiver that knows when each recipient's mail came: for what `smtp-sink` cannot tell.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::ensure;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// On a thread of its own; it ends with the bench.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    ledger: Ledger,
}

/// When each recipient's mails were accepted.
type Ledger = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

impl Receiver {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let ledger = Ledger::default();
        let theirs = ledger.clone();
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(dialogue(stream, theirs.clone()));
                }
            })
        });
        Ok(Self { port, ledger })
    }

    /// When this recipient's one mail was accepted; `None` before.
    pub(crate) fn accepted_at(&self, recipient: &str) -> anyhow::Result<Option<Instant>> {
        match lock(&self.ledger).get(recipient).map(Vec::as_slice) {
            None => Ok(None),
            Some([at]) => Ok(Some(*at)),
            Some(many) => {
                ensure!(many.len() < 2, "{recipient} got {} mails", many.len());
                Ok(None)
            }
        }
    }

    /// When mails were accepted, in no order.
    pub(crate) fn times(&self) -> Vec<Instant> {
        lock(&self.ledger).values().flatten().copied().collect()
    }

    /// How many mails were accepted, and for how many recipients.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ledger = lock(&self.ledger);
        (ledger.values().map(Vec::len).sum(), ledger.len())
    }
}

fn lock(ledger: &Ledger) -> MutexGuard<'_, HashMap<String, Vec<Instant>>> {
    ledger.lock().expect("no holder of this lock can panic")
}

/// As little of SMTP as a sender needs. Replies go out when nothing more has come in.
async fn dialogue(stream: TcpStream, ledger: Ledger) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let mut replies = b"220 bench\r\n".to_vec();
    let (mut recipient, mut in_message) = (String::new(), false);
    let mut line = Vec::new();
    loop {
        if stream.buffer().is_empty() && !replies.is_empty() {
            stream.get_mut().write_all(&replies).await?;
            replies.clear();
        }
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if in_message {
            if line == b".\r\n" {
                in_message = false;
                let at = Instant::now();
                lock(&ledger)
                    .entry(std::mem::take(&mut recipient))
                    .or_default()
                    .push(at);
                replies.extend_from_slice(b"250 2.0.0 taken\r\n");
            }
            continue;
        }
        let text = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let reply: &[u8] = match text.get(..4).unwrap_or_default() {
            "EHLO" => b"250-bench\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
            "RCPT" => {
                let address = text.split(['<', '>']).nth(1).unwrap_or_default();
                recipient = address.to_ascii_lowercase();
                b"250 2.1.5 ok\r\n"
            }
            "DATA" => {
                in_message = true;
                b"354 go on\r\n"
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        replies.extend_from_slice(reply);
    }
}
