//! One dialogue: a strict reading of RFC 5321, with the script's word before each answer.

use std::io;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::script::{Act, After, Step};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes closing a reset.
    fn reset_on_close(&self) {}
}

impl Stream for TcpStream {
    fn reset_on_close(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Stream for tokio::io::Empty {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for TlsStream<T> {}
impl Stream for Box<dyn Stream> {}

struct Dialogue<'a> {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    shared: &'a Shared,
    encrypted: bool,
    logged_in: bool,
    sender: Option<String>,
    /// Whether its MAIL said SMTPUTF8.
    is_utf8: bool,
    recipient: Option<String>,
}

/// The dialogue is over.
fn over() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

pub(super) async fn run(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let implicit = shared
        .offers
        .tls
        .clone()
        .filter(|_| shared.offers.implicit_tls);
    let encrypted = implicit.is_some();
    let stream: Box<dyn Stream> = match implicit {
        Some(config) => Box::new(TlsAcceptor::from(config).accept(socket).await?),
        None => Box::new(socket),
    };
    let mut dialogue = Dialogue {
        stream,
        buffer: Vec::new(),
        shared,
        encrypted,
        logged_in: false,
        sender: None,
        is_utf8: false,
        recipient: None,
    };
    dialogue.answer(Step::Banner, "220 scripted ready").await?;
    loop {
        let line = dialogue.line().await?;
        dialogue.command(&line).await?;
    }
}

impl Dialogue<'_> {
    async fn command(&mut self, line: &str) -> io::Result<()> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let last_of_group = matches!(verb, "EHLO" | "STARTTLS" | "AUTH" | "DATA" | "QUIT");
        if !self.buffer.is_empty() && (last_of_group || self.shared.offers.no_pipelining) {
            self.violation(format!("bytes behind {verb}"));
        }
        match verb {
            "EHLO" if !rest.is_empty() => self.ehlo().await,
            "STARTTLS" if rest.is_empty() => self.start_tls().await,
            "AUTH" => self.auth(rest).await,
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" if rest.is_empty() => self.data().await,
            "RSET" if rest.is_empty() => {
                (self.sender, self.recipient) = (None, None);
                self.answer(Step::Rset, "250 2.0.0 ok").await.map(drop)
            }
            "QUIT" if rest.is_empty() => {
                self.answer(Step::Quit, "221 2.0.0 bye").await?;
                Err(over())
            }
            _ => {
                self.violation(format!("unknown command {line:?}"));
                self.write(b"500 5.5.2 what\r\n").await
            }
        }
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        let offers = &self.shared.offers;
        let mut lines = vec!["scripted greets you".to_owned()];
        if !offers.no_pipelining {
            lines.push("PIPELINING".to_owned());
        }
        if let Some(size) = offers.size {
            lines.push(format!("SIZE {size}"));
        }
        if offers.smtputf8 {
            lines.push("SMTPUTF8".to_owned());
        }
        if offers.tls.is_some() && !self.encrypted {
            lines.push("STARTTLS".to_owned());
        }
        if offers.login.is_some() && self.encrypted {
            lines.push(format!("AUTH {}", offers.mechanisms));
        }
        lines.push("ENHANCEDSTATUSCODES".to_owned());
        let last = lines.len() - 1;
        let reply: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(at, line)| format!("250{}{line}", if at == last { ' ' } else { '-' }))
            .collect();
        self.answer(Step::Ehlo, &reply.join("\r\n")).await.map(drop)
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        let Some(config) = self.shared.offers.tls.clone().filter(|_| !self.encrypted) else {
            self.violation("STARTTLS that was not offered".to_owned());
            return self.write(b"502 5.5.1 no\r\n").await;
        };
        if self.answer(Step::StartTls, "220 2.0.0 go ahead").await? != 220 {
            return Ok(());
        }
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.stream = Box::new(TlsAcceptor::from(config).accept(plain).await?);
        self.encrypted = true;
        Ok(())
    }

    async fn auth(&mut self, rest: &str) -> io::Result<()> {
        self.shared.counters.lock().unwrap().logins += 1;
        if !self.encrypted {
            self.violation("AUTH in clear".to_owned());
        }
        let decode = |text: &str| BASE64.decode(text.as_bytes()).unwrap_or_default();
        let said = match rest.split_once(' ') {
            Some(("PLAIN", initial)) => decode(initial),
            None if rest == "LOGIN" => {
                self.write(b"334 VXNlcm5hbWU6\r\n").await?;
                let user = decode(&self.line().await?);
                self.write(b"334 UGFzc3dvcmQ6\r\n").await?;
                let password = decode(&self.line().await?);
                [&b"\0"[..], &user, b"\0", &password].concat()
            }
            _ => Vec::new(),
        };
        let good = self
            .shared
            .offers
            .login
            .as_ref()
            .is_some_and(|(user, password)| said == format!("\0{user}\0{password}").into_bytes());
        let reply = if good {
            "235 2.7.0 welcome"
        } else {
            "535 5.7.8 wrong"
        };
        self.logged_in = self.answer(Step::Auth, reply).await? == 235;
        Ok(())
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        let needs_login = self.shared.offers.login.is_some() && !self.logged_in;
        let address = rest.strip_prefix("FROM:").and_then(path);
        let reply = match address {
            Some(_) if self.sender.is_some() => self.out_of_order("MAIL within a transaction"),
            Some(_) if needs_login => "530 5.7.0 log in first",
            Some(_) => "250 2.1.0 ok",
            None => self.out_of_order("MAIL without an address"),
        };
        if self.answer(Step::Mail, reply).await? == 250
            && let Some((address, parameters)) = address
        {
            self.sender = Some(address.to_owned());
            self.is_utf8 = parameters.split(' ').any(|one| one == "SMTPUTF8");
            self.check_letters(address);
        }
        Ok(())
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let address = rest.strip_prefix("TO:").and_then(path);
        let Some((address, "")) = address else {
            let reply = self.out_of_order("RCPT without an address, or with parameters");
            return self.write(format!("{reply}\r\n").as_bytes()).await;
        };
        // RCPT and DATA behind a refused MAIL are no fault of a client that pipelines.
        let reply = match (&self.sender, &self.recipient) {
            (None, _) => "503 5.5.1 no sender",
            (Some(_), Some(_)) => self.out_of_order("a second RCPT"),
            (Some(_), None) => "250 2.1.5 ok",
        };
        if self.sender.is_none() {
            return self.write(format!("{reply}\r\n").as_bytes()).await;
        }
        self.check_letters(address);
        if self.answer_to(Step::Rcpt, Some(address), reply).await? / 10 == 25 {
            self.recipient = Some(address.to_owned());
        }
        Ok(())
    }

    /// RFC 6531, section 3.4: an address beyond ASCII stands only behind a MAIL that says SMTPUTF8.
    fn check_letters(&self, address: &str) {
        if !address.is_ascii() && !self.is_utf8 {
            self.violation(format!("{address} without SMTPUTF8"));
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        let reply = match (&self.sender, &self.recipient) {
            (Some(_), Some(_)) => "354 go ahead",
            (Some(_), None) => "554 5.5.1 no valid recipients",
            (None, _) => "503 5.5.1 no sender",
        };
        let recipient = self.recipient.clone().unwrap_or_default();
        if self.answer_to(Step::Data, Some(&recipient), reply).await? != 354 {
            return Ok(());
        }
        let raw = self.message(&recipient).await?;
        let sender = self.sender.take().unwrap_or_default();
        self.recipient = None;
        let act = self
            .planned(Step::Dot, Some(&recipient))
            .unwrap_or(Act::reply("250 2.0.0 queued"));
        if act.accepts {
            self.shared.ledger.accept(&sender, &recipient, raw);
        }
        let pause = self.shared.script.lock().unwrap().pause();
        tokio::time::sleep(pause).await;
        self.perform(act).await.map(drop)
    }

    /// Reads up to the final dot, unstuffed.
    async fn message(&mut self, recipient: &str) -> io::Result<Vec<u8>> {
        let mut planned = self.shared.script.lock().unwrap().take_body(recipient);
        let mut message = Vec::new();
        loop {
            if let Some((_, act)) = planned.take_if(|(at, _)| message.len() >= *at) {
                self.perform(act).await?;
            }
            let line = self.raw_line().await?;
            if line == b".\r\n" {
                return Ok(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    fn planned(&self, step: Step, recipient: Option<&str>) -> Option<Act> {
        self.shared.script.lock().unwrap().take(step, recipient)
    }

    async fn answer(&mut self, step: Step, good: &str) -> io::Result<u16> {
        self.answer_to(step, None, good).await
    }

    /// Answers as planned, else `good`. Gives the code that was said.
    async fn answer_to(
        &mut self,
        step: Step,
        recipient: Option<&str>,
        good: &str,
    ) -> io::Result<u16> {
        let act = self.planned(step, recipient).unwrap_or(Act::reply(good));
        self.perform(act).await
    }

    async fn perform(&mut self, act: Act) -> io::Result<u16> {
        tokio::time::sleep(act.delay).await;
        self.write(&act.bytes).await?;
        if let Some(call) = &act.call {
            (call.0)();
        }
        match act.after {
            After::Continue => {}
            After::Close => return Err(over()),
            After::Reset => {
                self.stream.reset_on_close();
                return Err(over());
            }
            After::Stall => std::future::pending().await,
        }
        let code = act
            .bytes
            .get(..3)
            .and_then(|code| std::str::from_utf8(code).ok());
        Ok(code.and_then(|code| code.parse().ok()).unwrap_or(0))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.raw_line().await?;
        let line = String::from_utf8(line).map_err(|_| over())?;
        Ok(line.trim_end_matches("\r\n").to_owned())
    }

    /// A line with its CRLF. Bare line ends and lines over 1,000 bytes break the protocol.
    async fn raw_line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let inner = line.strip_suffix(b"\r\n").unwrap_or(&line);
                if !line.ends_with(b"\r\n") || inner.contains(&b'\r') || line.len() > 1000 {
                    self.violation("a bare CR or LF, or a line that is too long".to_owned());
                    return Err(over());
                }
                return Ok(line);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(over());
            }
        }
    }

    fn out_of_order(&self, what: &str) -> &'static str {
        self.violation(what.to_owned());
        "503 5.5.1 out of order"
    }

    fn violation(&self, what: String) {
        self.shared.ledger.violation(what);
    }
}

/// `<address>` and the parameters behind it.
fn path(text: &str) -> Option<(&str, &str)> {
    let (address, parameters) = text.strip_prefix('<')?.split_once('>')?;
    let one = !address.is_empty() && address.matches('@').count() == 1;
    let plain = !address.contains(|c: char| c.is_whitespace() || c == '<' || c == ',');
    (one && plain).then_some((address, parameters.trim_start()))
}
