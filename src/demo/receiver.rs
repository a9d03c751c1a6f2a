//! An SMTP receiver (RFC 5321) that keeps what it is given in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Mails beyond this many push out the oldest.
const KEPT: usize = 500;
/// Bytes of one mail.
const LARGEST: usize = 4 * 1024 * 1024;
const IDLE: Duration = Duration::from_mins(5);

/// One mail as it came over the wire.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counts from 1 in the order of arrival.
    pub number: usize,
    /// The envelope recipient.
    pub recipient: String,
    /// The message, dots unstuffed.
    pub raw: Vec<u8>,
}

/// The mails received so far, oldest first. Cheap to clone; all clones see the same mails.
#[derive(Clone, Debug)]
pub struct Mailbox {
    mails: Arc<Mutex<Vec<Received>>>,
    count: watch::Sender<usize>,
}

impl Mailbox {
    fn new() -> Self {
        Self {
            mails: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    /// All mails, oldest first.
    pub fn all(&self) -> Vec<Received> {
        self.mails
            .lock()
            .expect("no holder of this lock can panic")
            .clone()
    }

    /// The mail with this number.
    pub fn get(&self, number: usize) -> Option<Received> {
        self.all().into_iter().find(|mail| mail.number == number)
    }

    /// Waits until a mail that `wanted` accepts is here; `None` after `patience`.
    pub async fn wait_for(
        &self,
        patience: Duration,
        wanted: impl Fn(&Received) -> bool,
    ) -> Option<Received> {
        let mut count = self.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(mail) = self.all().into_iter().find(|mail| wanted(mail)) {
                    return Some(mail);
                }
                count.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    fn put(&self, recipient: String, raw: Vec<u8>) {
        let mut mails = self.mails.lock().expect("no holder of this lock can panic");
        let number = mails.last().map_or(1, |mail| mail.number + 1);
        mails.push(Received {
            number,
            recipient,
            raw,
        });
        if mails.len() > KEPT {
            mails.remove(0);
        }
        drop(mails);
        self.count.send_replace(number);
    }
}

/// A listening receiver; it stops when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it was given.
    pub mailbox: Mailbox,
    _stop: DropGuard,
}

impl Receiver {
    /// Listens on a free port of the loopback address.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mailbox = Mailbox::new();
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(listen(
            listener,
            mailbox.clone(),
            stop.clone(),
        )));
        Ok(Self {
            address,
            mailbox,
            _stop: stop.drop_guard(),
        })
    }
}

async fn listen(listener: TcpListener, mailbox: Mailbox, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let session = Session::new(stream, mailbox.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // a peer that breaks off is its own affair
            let _ended = tokio::time::timeout(IDLE, session.run()).await;
        }));
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    mailbox: Mailbox,
    sender: bool,
    recipients: Vec<String>,
}

impl Session {
    fn new(stream: TcpStream, mailbox: Mailbox) -> Self {
        Self {
            stream: BufReader::new(stream),
            mailbox,
            sender: false,
            recipients: Vec::new(),
        }
    }

    async fn run(mut self) -> std::io::Result<()> {
        self.say("220 demo.localhost ESMTP").await?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let command = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = command
                .split([' ', ':'])
                .next()
                .unwrap_or("")
                .to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    self.say("250-demo.localhost\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES")
                        .await?;
                }
                "HELO" | "NOOP" => self.say("250 2.0.0 Ok").await?,
                "RSET" => {
                    self.reset();
                    self.say("250 2.0.0 Ok").await?;
                }
                "MAIL" => {
                    self.reset();
                    self.sender = true;
                    self.say("250 2.1.0 Ok").await?;
                }
                "RCPT" if self.sender => match address_in(&command) {
                    Some(recipient) => {
                        self.recipients.push(recipient);
                        self.say("250 2.1.5 Ok").await?;
                    }
                    None => self.say("501 5.1.3 Write RCPT TO:<address>").await?,
                },
                "DATA" if !self.recipients.is_empty() => {
                    self.say("354 End data with <CR><LF>.<CR><LF>").await?;
                    self.data().await?;
                }
                "RCPT" | "DATA" => self.say("503 5.5.1 Not in this order").await?,
                "QUIT" => return self.say("221 2.0.0 Bye").await,
                _ => self.say("500 5.5.2 Unknown command").await?,
            }
        }
    }

    async fn data(&mut self) -> std::io::Result<()> {
        let (mut raw, mut line, mut size) = (Vec::new(), Vec::new(), 0);
        loop {
            line.clear();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                break;
            }
            size += line.len();
            if size <= LARGEST {
                raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
        if size > LARGEST {
            return self.say("552 5.3.4 Too large").await;
        }
        for recipient in std::mem::take(&mut self.recipients) {
            self.mailbox.put(recipient, raw.clone());
        }
        self.reset();
        self.say("250 2.0.0 Ok: kept").await
    }

    fn reset(&mut self) {
        self.sender = false;
        self.recipients.clear();
    }

    async fn say(&mut self, reply: &str) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(reply.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await
    }
}

fn address_in(command: &str) -> Option<String> {
    let (_, rest) = command.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    Some(address.to_owned())
}
