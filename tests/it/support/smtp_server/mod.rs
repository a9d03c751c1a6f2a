//! A scripted SMTP server on loopback: strict about what it hears, obedient about how it misbehaves, and with a ledger
//! of everything it accepted, written before it answered.

pub(crate) mod authority;
pub(crate) mod ledger;
pub(crate) mod script;

mod dialogue;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use authority::Authority;
pub(crate) use ledger::{Accepted, Ledger};
pub(crate) use script::{Act, Script, Step};

/// What the server offers.
#[derive(Clone, Default)]
pub(crate) struct Offers {
    pub(crate) no_pipelining: bool,
    pub(crate) size: Option<u64>,
    pub(crate) smtputf8: bool,
    /// TLS: with this certificate.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte instead of STARTTLS.
    pub(crate) implicit_tls: bool,
    /// User and password, and the mechanisms that are offered once TLS stands.
    pub(crate) login: Option<(String, String)>,
    pub(crate) mechanisms: String,
}

/// A running server. Dies with its handle.
pub(crate) struct SmtpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

pub(crate) struct Shared {
    offers: Offers,
    script: Mutex<Script>,
    ledger: Ledger,
    counters: Mutex<Counters>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Connections ever accepted.
    pub(crate) connections: usize,
    /// Connections open now.
    pub(crate) open: usize,
    /// Most connections open at one time.
    pub(crate) most_open: usize,
    /// Log-ins tried.
    pub(crate) logins: usize,
}

impl SmtpServer {
    pub(crate) async fn start() -> Self {
        Self::with(Offers::default(), Ledger::default()).await
    }

    pub(crate) async fn offering(offers: Offers) -> Self {
        Self::with(offers, Ledger::default()).await
    }

    pub(crate) async fn with(offers: Offers, ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            offers,
            script: Mutex::new(Script::default()),
            ledger,
            counters: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it does instead of answering well.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.shared.counters.lock().unwrap()
    }

    /// Waits until so many messages were accepted, at most so long.
    pub(crate) async fn has_accepted(&self, count: usize, within: Duration) {
        let reached = async {
            while self.ledger().count() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(within, reached)
            .await
            .expect("mails arrive");
    }

    /// Everything accepted, in order. Fails when the client broke a rule of the protocol.
    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        let violations = self.shared.ledger.violations();
        assert!(
            violations.is_empty(),
            "the client broke the protocol: {violations:?}"
        );
        self.shared.ledger.accepted()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting this task drops the set, and with it every dialogue.
    let mut dialogues = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                let shared = shared.clone();
                dialogues.spawn(async move {
                    let _open = Open::count(&shared);
                    // A client that goes away ends its dialogue.
                    let _ = dialogue::run(socket, &shared).await;
                });
            }
            Some(done) = dialogues.join_next() => done.unwrap(),
        }
    }
}

struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn count(shared: &'a Shared) -> Self {
        let mut counters = shared.counters.lock().unwrap();
        counters.connections += 1;
        counters.open += 1;
        counters.most_open = counters.most_open.max(counters.open);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters.lock().unwrap().open -= 1;
    }
}
