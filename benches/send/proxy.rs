//! A wire of some length: a TCP proxy that hands on every byte after a while, each way, at any rate.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::options::ProxyArgs;
use super::process::{Process, free_port};

/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on the way: far more than one window of TCP.
const CHUNKS: usize = 1024;

/// Starts it as a process of its own, in front of `to`. Where it listens.
pub(crate) async fn spawn(to: u16, delay: Duration) -> anyhow::Result<(Process, u16)> {
    let listen = free_port()?;
    let mut command = Process::command(std::env::current_exe()?);
    command
        .arg("proxy")
        .args(["--listen", &listen.to_string(), "--to", &to.to_string()])
        .args(["--delay-ms", &delay.as_millis().to_string()]);
    let mut process = Process::spawn("the delaying proxy", command)?;
    process.listening(listen).await?;
    Ok((process, listen))
}

/// What that process does, until it is killed.
pub(crate) async fn run(proxy: &ProxyArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, proxy.listen)).await?;
    let delay = Duration::from_millis(proxy.delay_ms);
    loop {
        let (near, _) = listener.accept().await?;
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.to)).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        carry(near_read, far_write, delay);
        carry(far_read, near_write, delay);
    }
}

/// One way. An end that closes closes the other one, after the same while.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    tokio::spawn(async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            let due_at = Instant::now() + delay;
            if put.send((due_at, chunk[..count].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due_at, bytes)) = take.recv().await {
            sleep_until(due_at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
}
