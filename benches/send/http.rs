//! A client for the one form that the benches post, over connections that stay open.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::process::Process;

pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Signs `email` up; comes back when that is answered as taken.
    pub(crate) async fn sign_up(&mut self, email: &str) -> anyhow::Result<()> {
        let body = format!("email={}", email.replace('@', "%40"));
        let mut request = "POST /subscribe/world HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n".to_owned();
        let length = body.len();
        write!(
            request,
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let status = self.ask(&request).await?;
        ensure!(status == 303, "a sign-up was answered with {status}");
        Ok(())
    }

    async fn ask(&mut self, request: &str) -> anyhow::Result<u16> {
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (None, 0);
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line).await? > 0, "no answer");
            let text = line.trim_end().to_ascii_lowercase();
            if text.is_empty() {
                break;
            }
            if status.is_none() {
                status = text
                    .split(' ')
                    .nth(1)
                    .and_then(|code| code.parse::<u16>().ok());
            } else if let Some(value) = text.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        status.context("the answer has no status")
    }
}

/// Waits until `service` says that it is ready.
pub(crate) async fn ready(service: &mut Process, port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Ok(mut connection) = Connection::open(port).await
            && let Ok(200) = connection
                .ask("GET /readyz HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n\r\n")
                .await
        {
            return Ok(());
        }
        service.check_alive()?;
        ensure!(Instant::now() < deadline, "it does not become ready");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
