use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::clock::TestClock;
use paperround::config::RelayTls;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::send::Sending;
use paperround::deliveries::worker::Worker;
use paperround::deliveries::writer::Ledger;
use paperround::deliveries::{Reason, State, operate, recover};
use paperround::smtp::channel::Channel;
use paperround::smtp::connection::Connector;
use paperround::smtp::deadlines::Deadlines;
use paperround::smtp::relay::{Relay, Reuse};
use paperround::smtp::relay_config::{EhloName, RelayConfig};
use paperround::smtp::route::{Route, Wish};
use paperround::worker::sender::Parts;
use paperround::{instance, worker};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Press;
use super::leases::claim as claim_one;
use super::senders::{To, leases};
use super::sending::one;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, TestApp, db_test};

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);

db_test!(
    a_mail_whose_time_is_over_is_given_up_while_the_sender_runs,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let id = edition.deliveries[0];
        press.time.advance(Duration::from_hours(48));
        let sender = press.sender(&server).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let given_up = async {
                while press.state(id).await == State::Pending {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, given_up)
                .await
                .expect("it is given up");
            stop.cancel();
        });
        let delivery = press.delivery(id).await;
        let end = (delivery.state, delivery.reason);
        assert_eq!(end, (State::Failed, Some(Reason::Expired)));
    }
);

db_test!(
    a_mail_whose_time_is_over_long_after_the_start_is_given_up_too,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let id = edition.deliveries[0];
        let later = Act::reply("451 4.7.1 later");
        server.script().always(Step::Rcpt, later);
        let to = To {
            sweep: Duration::from_millis(5),
            ..To::port(server.port())
        };
        let sender = press.sender_to(to).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let given_up = async {
                while press.delivery(id).await.tries == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                press.time.advance(Duration::from_hours(48));
                while press.state(id).await == State::Pending {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, given_up)
                .await
                .expect("it is given up");
            stop.cancel();
        });
        let delivery = press.delivery(id).await;
        let end = (delivery.state, delivery.reason);
        assert_eq!(end, (State::Failed, Some(Reason::Expired)));
    }
);

db_test!(
    how_long_a_stop_waits_and_how_often_is_swept_is_as_the_settings_say,
    [
        ("delivery.drain", "7s"),
        ("delivery.worker_lease", "36s"),
        ("delivery.heartbeat", "11s")
    ],
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let channel =
            Channel::from_settings(&app.config, app.clock.clone(), app.entropy.clone()).unwrap();
        let worker = press.worker().await;
        let pace = Parts::of(app, worker, channel, press.desk.clone()).pace;
        assert_eq!(pace.drain, Duration::from_secs(7));
        assert_eq!(pace.sweep, Duration::from_secs(36) / 12);
        assert_eq!(pace.heartbeat, Duration::from_secs(11));
    }
);

db_test!(
    an_envelope_that_is_not_answered_before_the_end_of_the_drain_is_given_back,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        // the first of a connection, and one that went along with a message
        for answered in [0, 1] {
            let domain = format!("after{answered}.example");
            let readers = press.readers_at(&domain, 2).await;
            let edition = press.edition(&readers, "resend").await;
            let server = SmtpServer::start().await;
            let stop = CancellationToken::new();
            let stopping = stop.clone();
            let stalls = Act::stall().calling(move || stopping.cancel());
            for _ in 0..answered {
                let good = Act::reply("250 2.1.5 ok");
                server.script().once(Step::Rcpt, good);
            }
            server.script().always(Step::Rcpt, stalls);
            let to = To {
                max_connections: 1,
                drain: Duration::from_millis(200),
                ..To::port(server.port())
            };
            let sender = press.sender_to(to).await;
            sender.run(stop).await;
            let mut found = Vec::new();
            for id in &edition.deliveries {
                let delivery = press.delivery(*id).await;
                found.push((delivery.state, delivery.crashes));
            }
            let count = |state| found.iter().filter(|found| **found == (state, 0)).count();
            let ends = (count(State::Sent), count(State::Pending));
            assert_eq!(ends, (answered, 2 - answered), "{found:?}");
            press.cancel(edition.issue).await;
        }
    }
);

/// A line of its own takes what `worker` has claimed, by this clock, and what `next` gives along with it.
pub(super) async fn send(
    press: &Press,
    server: &SmtpServer,
    worker: Worker,
    ready: Ready,
    clock: Arc<TestClock>,
    next: impl FnMut() -> Option<Ready>,
) {
    let never = CancellationToken::new();
    send_until(press, server, worker, ready, (clock, never), next).await;
}

/// The same, until nothing is awaited any more.
async fn send_until(
    press: &Press,
    server: &SmtpServer,
    worker: Worker,
    ready: Ready,
    (clock, give_up): (Arc<TestClock>, CancellationToken),
    next: impl FnMut() -> Option<Ready>,
) {
    let route = press.route(&[("scripted", server, None)], press.time.clone());
    let channel = Channel::Smtp(route);
    let wish = Wish {
        sender: "world",
        relay: None,
    };
    let mut line = channel.open(&wish).await.unwrap();
    let sending = Sending {
        ledger: Ledger::new(press.db.clone(), press.time.clone(), leases()),
        mailroom: press.desk.clone(),
        worker,
        clock,
        entropy: press.entropy.clone(),
        leases: leases(),
        channel,
        give_up,
    };
    let left = sending.send(&mut line, ready, next).await;
    assert!(left.is_none());
}

db_test!(
    what_was_claimed_in_an_earlier_life_is_given_back_without_an_envelope,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let worker = press.worker().await;
        let ready = claim_one(&press, &edition, &worker).await;
        worker.begin_anew().await;
        let envelopes = Arc::new(AtomicUsize::new(0));
        let counted = envelopes.clone();
        let sender_ok = Act::reply("250 2.1.0 ok").calling(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        server.script().always(Step::Mail, sender_ok);
        let clock = press.time.clone();
        send(&press, &server, worker, ready, clock, || None).await;
        assert_eq!(envelopes.load(Ordering::Relaxed), 0);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    }
);

db_test!(
    what_became_of_a_message_is_recorded_though_the_next_envelope_is_awaited_no_longer,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let (give_up, stalled) = (CancellationToken::new(), Arc::new(Notify::new()));
        let asked = stalled.clone();
        let stalls = Act::stall().calling(move || asked.notify_one());
        server.script().once(Step::Rcpt, Act::reply("250 2.1.5 ok"));
        server.script().once(Step::Rcpt, stalls);
        let worker = press.worker().await;
        let terms = Terms {
            owner: worker.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let mut claimed = claimed.unwrap();
        let (first, second) = (claimed.remove(0), claimed[0].claimed.id);
        let id = first.claimed.id;
        let until = (press.time.clone(), give_up.clone());
        let next = || claimed.pop();
        let sending = send_until(&press, &server, worker, first, until, next);
        tokio::join!(sending, async {
            stalled.notified().await;
            // the message before was answered, and that is not recorded by itself yet
            tokio::time::sleep(Duration::from_millis(10)).await;
            give_up.cancel();
        });
        assert_ne!(press.state(id).await, State::Transmitting);
        assert_eq!(press.state(second).await, State::Pending);
    }
);

db_test!(
    a_message_whose_lease_is_over_before_it_begins_is_not_written_though_its_worker_lives,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let worker = press.worker().await;
        let ready = claim_one(&press, &edition, &worker).await;
        // the line gets to it only now
        let late = press.now() + leases().own_transmission_lease();
        let clock = Arc::new(TestClock::at(late));
        let same = worker.clone();
        send(&press, &server, same, ready, clock, || None).await;
        assert!(worker.is_alive());
        assert!(server.accepted().is_empty());
        let row = press.delivery(edition.deliveries[0]).await;
        assert_eq!((row.state, row.doubt), (State::Pending, 0));
    }
);

db_test!(
    a_connection_that_nothing_is_sent_over_is_closed_while_the_sender_runs,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let config = RelayConfig {
            name: "scripted".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            tls: RelayTls::None,
            login: None,
            max_connections: 1,
            ehlo_name: EhloName::of_this_machine(),
            extra_roots: None,
        };
        let connector = Connector::new(config, Deadlines::all(SOON)).unwrap();
        let reuse = Reuse {
            idle: Duration::from_millis(20),
            ..Reuse::default()
        };
        let clock = press.time.clone();
        let relay = Relay::new(connector, reuse, clock.clone(), press.entropy.clone());
        let route = Route::to(relay, clock.clone());
        let sender = press.sender_over(route, press.worker().await, clock);
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let closed = async {
                let id = edition.deliveries[0];
                while press.state(id).await != State::Sent || server.counters().open > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, closed)
                .await
                .expect("it is given back and closed");
            stop.cancel();
        });
    }
);

db_test!(
    what_became_of_a_message_is_recorded_while_the_relay_thinks_about_the_next,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let ok = Act::reply("250 2.1.5 ok");
        let thinks = ok.clone().delayed(SOON);
        server.script().once(Step::Rcpt, ok);
        server.script().once(Step::Rcpt, thinks);
        // over one connection: the second envelope goes out with the first message
        let sender = press.sender_with(&server, 1).await;
        let recorded = async {
            let counts = || operate::counts(&press.db, edition.issue);
            while counts().await.unwrap().sent == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let recorded = tokio::time::timeout(SOON / 2, recorded);
        tokio::select! {
            () = sender.run_until_idle() => panic!("the second is under way"),
            recorded = recorded => recorded.expect("the first is recorded"),
        }
    }
);

db_test!(
    a_sign_of_life_counts_from_before_it_was_written,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let worker = press.worker_beside_others().await;
        let its_write = Duration::from_secs(30);
        let (beaten, ()) = tokio::join!(worker.beat(), async {
            press.time.advance(its_write);
        });
        beaten.unwrap();
        assert!(worker.is_alive());
        press
            .time
            .advance(leases().own_worker_lease().saturating_sub(its_write));
        assert!(!worker.is_alive());
    }
);

db_test!(
    a_life_counts_from_before_it_was_written_down,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let its_write = Duration::from_secs(30);
        let rest = leases().own_worker_lease().saturating_sub(its_write);
        let passes = async || press.time.advance(its_write);
        let (worker, ()) = tokio::join!(press.worker_beside_others(), passes());
        assert!(worker.is_alive());
        press.time.advance(rest);
        assert!(!worker.is_alive(), "its first life is over");
        tokio::join!(worker.begin_anew(), passes());
        assert!(worker.is_alive());
        press.time.advance(rest);
        assert!(!worker.is_alive(), "its second life is over");
    }
);

db_test!(
    a_signup_whose_link_has_expired_is_removed_and_an_open_one_stays,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        press.sign_up("ada@example.org").await;
        press.time.advance(Duration::from_hours(49));
        recover::expire(&press.db, press.now()).await.unwrap();
        press.sign_up("eve@example.org").await;
        worker::cleanup::run(app).await.unwrap();
        let left = app.rows_of("signup").await;
        assert_eq!(left, ["signup eve@example.org open"]);
    }
);

db_test!(
    a_signup_that_was_confirmed_or_whose_mail_is_under_way_stays_beyond_its_link,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (ada, _) = press.sign_up("ada@example.org").await;
        press.confirm(ada).await;
        press.time.advance(Duration::from_hours(49));
        recover::expire(&press.db, press.now()).await.unwrap();
        press.sign_up("ben@example.org").await;
        press.time.advance(Duration::from_hours(49));
        let (confirmed, open) = (
            "signup ada@example.org confirmed",
            "signup ben@example.org open",
        );
        worker::cleanup::run(app).await.unwrap();
        assert_eq!(app.rows_of("signup").await, [confirmed, open]);
        recover::expire(&press.db, press.now()).await.unwrap();
        worker::cleanup::run(app).await.unwrap();
        assert_eq!(app.rows_of("signup").await, [confirmed]);
    }
);

db_test!(
    what_was_counted_for_limits_is_removed_when_none_counts_it_any_more,
    [("signup.client_limits", "5/1h")],
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let form = [("email", "ada@example.org")];
        site.post("/subscribe/world", &form)
            .await
            .assert_status(303);
        site.stop().await;
        assert!(!app.rows_of("limit").await.is_empty());
        app.time.advance(Duration::from_hours(24 * 400));
        worker::cleanup::run(app).await.unwrap();
        assert!(app.rows_of("limit").await.is_empty());
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_rises_while_a_worker_is_at_work_without_any_release() {
    let app = TestApp::start(Engine::Sqlite).await;
    let prepared = worker::prepare(app.app.clone()).await.unwrap();
    let epoch = async || -> i64 {
        let mark = instance::mark(&app.db).await.unwrap();
        mark.expect("it has begun").epoch
    };
    let at_its_start = epoch().await;
    let lock = app.db.lock_worker().await.unwrap();
    let stop = CancellationToken::new();
    let work = tokio::spawn(prepared.run(lock, stop.clone()));
    let raised = async {
        while epoch().await == at_its_start {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, raised).await.expect("it rises");
    stop.cancel();
    work.await.unwrap();
    app.finish().await;
}
