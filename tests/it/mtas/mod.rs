//! An issue of the real program through mail transfer agents that the world runs, each with a queue of its own.
//!
//! `scripts/mtas` unpacks Exim and OpenSMTPD, which cannot be installed beside Postfix. With `PAPERROUND_TEST_LONG=1`
//! the issue goes to 20,000 readers instead of 300, and the mails per second are printed.

mod exim;
mod guard;
mod opensmtpd;
mod postfix;
mod postfix_folder;
mod running;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use self::exim::EXIM;
use self::opensmtpd::OPENSMTPD;
use self::postfix::POSTFIX;
use self::running::Running;
use crate::faults::rig::{Rig, Row, tally};
use crate::support::long_wire::LongWire;
use crate::support::seed;
use crate::support::service::Service;

/// Each way.
const FAR: Duration = Duration::from_millis(25);
/// How long an issue may take, by the slowest MTA over a long wire.
const DEADLINE: Duration = Duration::from_mins(20);

/// A mail transfer agent.
struct Mta {
    name: &'static str,
    start: fn(Setup) -> Pin<Box<dyn Future<Output = Running>>>,
    /// The recipient of each mail in its queue.
    queue: fn(&Running) -> Vec<String>,
    log: fn(&Running) -> String,
    /// What its log says of a client that breaks the rules.
    violations: &'static [&'static str],
}

/// What it does not take.
#[derive(Clone, Copy, Debug, Default)]
struct Setup {
    refused: Option<&'static str>,
    size_limit: Option<u64>,
    /// So many mails over one connection, where it has a limit at all. Else its own limit: OpenSMTPD takes 100, Exim 1,000.
    per_connection: Option<u32>,
}

/// An issue of the real program on its way to an MTA, by twenty connections.
struct Scene {
    mta: Mta,
    running: Running,
    rig: Rig,
    service: Service,
    _wire: Option<LongWire>,
}

impl Scene {
    /// The wire is `delay` long each way.
    async fn new(mta: Mta, setup: Setup, readers: usize, delay: Option<Duration>) -> Self {
        let running = (mta.start)(setup).await;
        let mut rig = Rig::new(readers).await;
        let wire = match delay {
            Some(delay) => Some(LongWire::to(running.place.port, delay).await),
            None => None,
        };
        let port = wire.as_ref().map_or(running.place.port, LongWire::port);
        rig.set("PAPERROUND_SMTP__URL", &format!("smtp://127.0.0.1:{port}"));
        rig.set("PAPERROUND_SMTP__MAX_CONNECTIONS", "20");
        let service = rig.serve().await;
        rig.send();
        Self {
            mta,
            running,
            rig,
            service,
            _wire: wire,
        }
    }

    /// Ends the service. How the rows stand, and the recipients in the queue, in order.
    async fn end(self) -> (BTreeMap<String, Row>, Vec<String>) {
        let words = self.service.words();
        assert!(
            !words.contains(" rests until "),
            "it had no reason: {words}"
        );
        assert!(self.service.terminate().await.success());
        let log = (self.mta.log)(&self.running);
        for violation in self.mta.violations {
            let line = log.lines().find(|line| line.contains(violation));
            assert_eq!(line, None, "{} complains", self.mta.name);
        }
        let mut queue = (self.mta.queue)(&self.running);
        queue.sort();
        (self.rig.rows().await, queue)
    }
}

async fn each_mail_once(mta: Mta, delay: Option<Duration>) {
    let readers = if seed::is_long() { 20_000 } else { 300 };
    let setup = Setup {
        per_connection: (!seed::is_long()).then_some(10),
        ..Setup::default()
    };
    let scene = Scene::new(mta, setup, readers, delay).await;
    scene.rig.ended(readers, DEADLINE).await;
    let (name, pace) = (scene.mta.name, scene.rig.mails_per_second().await);
    let (rows, queue) = scene.end().await;
    assert_eq!(tally(&rows), BTreeMap::from([("sent", readers)]));
    assert!(rows.values().all(|row| row.doubt == 0), "no reply was lost");
    let list: Vec<_> = rows.into_keys().collect();
    assert!(queue == list, "{} mails for {readers}", queue.len());
    eprintln!("{name}, {delay:?} each way: {readers} mails, {pace:.0} a second");
}

/// The checks are on: EHLO has to be the last command of a group (RFC 2920, section 3.1).
async fn hasty_client(mta: Mta) {
    let running = (mta.start)(Setup::default()).await;
    let port = running.place.port;
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    client
        .write_all(b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\n")
        .await
        .unwrap();
    let noticed = async {
        let is_violation = |line: &str| mta.violations.iter().any(|words| line.contains(words));
        while !(mta.log)(&running).lines().any(is_violation) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let noticed = tokio::time::timeout(Duration::from_secs(30), noticed).await;
    assert!(noticed.is_ok(), "{}", (mta.log)(&running));
}

async fn one_is_refused(mta: Mta) {
    let refused = "reader7@example.org";
    let setup = Setup {
        refused: Some(refused),
        ..Setup::default()
    };
    let scene = Scene::new(mta, setup, 100, None).await;
    scene.rig.ended(100, DEADLINE).await;
    let (mut rows, queue) = scene.end().await;
    let row = rows.remove(refused).unwrap();
    assert_eq!((row.state.as_str(), row.doubt), ("failed", 0), "{row:?}");
    assert_eq!(row.reason.as_deref(), Some("refused"));
    let said = row.reply_text.unwrap();
    let own_words = ["not here", "Invalid recipient"];
    assert!(own_words.iter().any(|own| said.contains(own)), "{said}");
    assert_eq!(tally(&rows), BTreeMap::from([("sent", 99)]));
    let list: Vec<_> = rows.into_keys().collect();
    assert_eq!(queue, list, "the others each once");
}

async fn all_are_too_large(mta: Mta) {
    let setup = Setup {
        size_limit: Some(1000),
        ..Setup::default()
    };
    let scene = Scene::new(mta, setup, 30, None).await;
    let paused = async {
        loop {
            let list = scene.rig.program().run(&["issue", "list", "--json"]);
            let issue = &list.expect(0).json()["issues"][0];
            if let Some(reason) = issue["pause_reason"].as_str() {
                return reason.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let reason = tokio::time::timeout(DEADLINE, paused).await.unwrap();
    assert!(reason.contains("the relay takes at most 1000"), "{reason}");
    let (rows, queue) = scene.end().await;
    assert_eq!(queue, Vec::<String>::new());
    assert_eq!(tally(&rows), BTreeMap::from([("pending", 30)]));
}

macro_rules! mta_tests {
    ($module:ident, $mta:expr) => {
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn each_mail_is_in_its_queue_once() {
                each_mail_once($mta, None).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn each_mail_is_in_its_queue_once_over_a_long_wire() {
                each_mail_once($mta, Some(FAR)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn it_complains_of_a_client_that_does_not_wait() {
                hasty_client($mta).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn one_recipient_that_it_refuses_fails_and_the_others_arrive() {
                one_is_refused($mta).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn an_issue_larger_than_its_size_pauses_and_nobody_fails() {
                all_are_too_large($mta).await;
            }
        }
    };
}

mta_tests!(by_postfix, POSTFIX);
mta_tests!(by_exim, EXIM);
mta_tests!(by_opensmtpd, OPENSMTPD);
