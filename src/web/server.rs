//! The accept loop: header and write deadlines, a cap on connections, and a drain at the end.
//!
//! `axum::serve` gives hyper no timer, so that its header timeout never fires; hence a loop of our own.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use super::connections::{IdleConnection, IdleConnections};

/// What one server grants to its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once. Beyond it the one that has been idle longest is closed.
    pub max_connections: usize,
    /// How long a request's head may take, from the connection's start or from the last answer.
    pub header_timeout: Duration,
    /// How long one connection may live before it is asked to end after the answer at work.
    pub connection_age: Duration,
    /// How long requests at work may take to end once the server stops, or their connection is too old.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(15),
            connection_age: Duration::from_mins(10),
            drain: Duration::from_secs(30),
        }
    }
}

/// The address of the peer at the other end of the socket: the client's, or a proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `router` on `listener` until `stop`, then lets the requests at work end for at most `limits.drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    info!(
        bind = %listener.local_addr()?,
        "Serving HTTP on {}", listener.local_addr()?
    );
    let connections = TaskTracker::new();
    let idle = IdleConnections::default();
    let permits = Arc::new(Semaphore::new(limits.max_connections));

    while let Some((stream, peer)) = accept(&listener, &stop).await {
        let permit = make_room(&permits, &idle).await;
        connections.spawn(serve_connection(Connection {
            stream,
            peer,
            router: router.clone(),
            limits: limits.clone(),
            idle: idle.open(),
            stop: stop.clone(),
            _permit: permit,
        }));
    }

    drop(listener);
    connections.close();
    // A connection keeps to the drain limit by itself; the second on top is for the last of them to notice.
    let limit = limits.drain + Duration::from_secs(1);
    if tokio::time::timeout(limit, connections.wait())
        .await
        .is_err()
    {
        warn!(
            open = connections.len(),
            "Stopped with {} HTTP connections still open",
            connections.len()
        );
    }
    Ok(())
}

/// The next connection, or `None` once the server has to stop.
async fn accept(
    listener: &TcpListener,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    let mut pause = Duration::from_millis(10);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Most often no file descriptor is left. Trying at once would only burn the processor.
                warn!(error = %error, "Cannot accept HTTP connections: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

async fn make_room(permits: &Arc<Semaphore>, idle: &IdleConnections) -> OwnedSemaphorePermit {
    if let Ok(permit) = permits.clone().try_acquire_owned() {
        return permit;
    }
    if !idle.close_oldest() {
        debug!("Every HTTP connection is at work; the next one waits");
    }
    permits
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    idle: IdleConnection,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

async fn serve_connection(connection: Connection) {
    let Connection {
        stream,
        peer,
        router,
        limits,
        idle,
        stop,
        _permit,
    } = connection;
    // Small answers should leave at once; a socket that cannot do this is still served.
    let _ = stream.set_nodelay(true);

    let service = {
        let idle = idle.clone();
        hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            idle.work();
            request.extensions_mut().insert(Peer(peer));
            let answer = router.clone().oneshot(Request::from(request));
            let idle = idle.clone();
            async move {
                let answer = answer.await;
                idle.wait();
                answer
            }
        })
    };

    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(100)
        .max_buf_size(64 * 1024);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));

    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => Some(ended),
        () = idle.must_close() => None,
        () = stop.cancelled() => drain(served.as_mut(), &idle, &limits).await,
        () = tokio::time::sleep(limits.connection_age) => drain(served.as_mut(), &idle, &limits).await,
    };
    idle.work();
    if let Some(Err(error)) = ended {
        debug!(error = %error, "HTTP connection ended early: {error}");
    }
}

/// Ends an idle connection soon and one at work after its answer; `None` when that took too long.
async fn drain<F>(
    mut served: std::pin::Pin<&mut F>,
    idle: &IdleConnection,
    limits: &Limits,
) -> Option<hyper::Result<()>>
where
    F: Future<Output = hyper::Result<()>> + Graceful,
{
    served.as_mut().graceful_shutdown();
    // A request that is just arriving gets a moment; half a head that never ends holds nobody up.
    let moment = Duration::from_secs(1).min(limits.drain);
    if let Ok(ended) = tokio::time::timeout(moment, served.as_mut()).await {
        return Some(ended);
    }
    if idle.is_waiting() {
        return None;
    }
    tokio::time::timeout(limits.drain, served).await.ok()
}

/// hyper's connection, seen as a future that can be asked to end.
trait Graceful {
    fn graceful_shutdown(self: std::pin::Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: std::pin::Pin<&mut Self>) {
        http1::Connection::graceful_shutdown(self);
    }
}
