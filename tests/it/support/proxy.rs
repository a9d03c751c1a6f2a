//! A wire that breaks at a chosen byte: between the service and a relay, or anything else that speaks TCP.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    Out,
    /// To the client.
    Back,
}

/// What happens to the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both ends see the other one close.
    Cut,
    /// Both ends see a reset.
    Reset,
    /// It stays open and carries nothing any more.
    Hole,
    /// A pause.
    Delay(Duration),
    /// A pause before each byte from now on.
    Trickle(Duration),
}

/// A fault of one connection, when so many bytes have gone that way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Break {
    pub(crate) way: Way,
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

/// The wire. It ends with its handle.
pub(crate) struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    next: Arc<Mutex<Option<Break>>>,
    carried: Arc<[AtomicUsize; 2]>,
    silent: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A wire to this port.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let (next, carried) = (
            Arc::<Mutex<_>>::default(),
            Arc::<[AtomicUsize; 2]>::default(),
        );
        let (silent, is_silent) = watch::channel(false);
        let ends = serve(
            listener,
            target.clone(),
            next.clone(),
            carried.clone(),
            is_silent,
        );
        let task = tokio::spawn(ends);
        Self {
            port,
            target,
            next,
            carried,
            silent,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next connection breaks so; those after it do not.
    pub(crate) fn breaks(&self, planned: Break) {
        *self.next.lock().unwrap() = Some(planned);
    }

    /// Connections that come from now on lead to this port.
    #[cfg(feature = "test-postgres")]
    pub(crate) fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
    }

    /// From now on nothing is carried, and nothing is lost, until it is not silent any more.
    #[cfg(feature = "test-postgres")]
    pub(crate) fn silence(&self, is_silent: bool) {
        self.silent.send_replace(is_silent);
    }

    /// Bytes carried so far by all connections, out and back.
    pub(crate) fn carried(&self) -> [usize; 2] {
        [0, 1].map(|way| self.carried[way].load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: Arc<AtomicU16>,
    next: Arc<Mutex<Option<Break>>>,
    carried: Arc<[AtomicUsize; 2]>,
    silent: watch::Receiver<bool>,
) {
    // aborting this task drops the set, and with it every connection
    let mut wires = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let planned = next.lock().unwrap().take();
        let (carried, silent) = (carried.clone(), silent.clone());
        let target = target.load(Ordering::SeqCst);
        wires.spawn(async move {
            // an end that is not there, or goes away, ends the wire
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await {
                wire(client, server, planned, &carried, silent).await;
            }
        });
    }
}

async fn wire(
    client: TcpStream,
    server: TcpStream,
    planned: Option<Break>,
    carried: &[AtomicUsize; 2],
    silent: watch::Receiver<bool>,
) {
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let on = |way| planned.filter(|planned| planned.way == way);
    let ways = [Way::Out, Way::Back].map(|way| Course {
        planned: on(way),
        carried: &carried[way as usize],
        silent: silent.clone(),
    });
    let [out, back] = ways;
    let out = carry(&mut from_client, &mut to_server, out);
    let back = carry(&mut from_server, &mut to_client, back);
    match tokio::try_join!(out, back) {
        Err(Fault::Hole) => std::future::pending().await,
        Err(Fault::Reset) => {
            for end in [&to_client, &to_server] {
                end.as_ref().set_zero_linger().unwrap();
            }
        }
        _ => {}
    }
}

/// What befalls the bytes of one way.
struct Course<'a> {
    planned: Option<Break>,
    carried: &'a AtomicUsize,
    silent: watch::Receiver<bool>,
}

/// Carries bytes one way to the end, or to a fault that is not for this way alone.
async fn carry(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    course: Course<'_>,
) -> Result<(), Fault> {
    let Course {
        mut planned,
        carried,
        mut silent,
    } = course;
    let (mut gone, mut pace) = (0, None);
    let mut buffer = [0; 4096];
    loop {
        if let Some(Break { fault, .. }) = planned.take_if(|planned| planned.at <= gone) {
            match fault {
                Fault::Delay(span) => tokio::time::sleep(span).await,
                Fault::Trickle(span) => pace = Some(span),
                other => return Err(other),
            }
        }
        let room = match (pace, planned) {
            (Some(_), _) => 1,
            (None, Some(planned)) => (planned.at - gone).min(buffer.len()),
            (None, None) => buffer.len(),
        };
        let Ok(read @ 1..) = from.read(&mut buffer[..room]).await else {
            let _gone = to.shutdown().await;
            return Ok(());
        };
        if let Some(span) = pace {
            tokio::time::sleep(span).await;
        }
        // the handle of a wire that is gone says nothing any more
        let _speaks = silent.wait_for(|silent| !silent).await.is_ok();
        if to.write_all(&buffer[..read]).await.is_err() {
            return Err(Fault::Cut);
        }
        gone += read;
        carried.fetch_add(read, Ordering::SeqCst);
    }
}
