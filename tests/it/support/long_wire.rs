//! A wire of some length: every byte is handed on after a while, each way, at any rate.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The wire. It ends with its handle.
pub(crate) struct LongWire {
    port: u16,
    task: JoinHandle<()>,
}

impl LongWire {
    /// A wire to this port, `delay` long each way.
    pub(crate) async fn to(target: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(serve(listener, target, delay));
        Self { port, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for LongWire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, delay: Duration) {
    // aborting this task drops the set, and with it every connection
    let mut wires = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        wires.spawn(async move {
            // an end that is not there, or goes away, ends the wire
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await {
                for end in [&client, &server] {
                    end.set_nodelay(true).unwrap();
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::join!(
                    carry(from_client, to_server, delay),
                    carry(from_server, to_client, delay)
                );
            }
        });
    }
}

/// One way, until an end closes; the other end hears of it after the same while.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    // what is on the way has no bound but the ends' own: each waits for answers
    let (put, mut take) = mpsc::unbounded_channel();
    let read = async move {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let arrival = Instant::now() + delay;
            if put.send((arrival, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrival, bytes)) = take.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
