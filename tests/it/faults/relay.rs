//! Relays and the way to them: what breaks where, and what becomes of the readers.

use std::time::Duration;

use paperround::deliveries::{State, operate};
use paperround::smtp::deadlines::Deadlines;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::deliveries::{Press, Reader, To, leases};
use crate::support::proxy::{Break, Fault, Proxy, Way};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, TestApp, db_test, seed};

/// How long a wire that carries nothing is listened to.
const PATIENCE: Duration = Duration::from_millis(300);

/// One issue to these readers over a wire that breaks once.
async fn over_a_broken_wire(
    press: &Press,
    readers: &[Reader],
    planned: Option<Break>,
) -> [usize; 2] {
    let server = SmtpServer::start().await;
    let proxy = Proxy::to(server.port()).await;
    if let Some(planned) = planned {
        proxy.breaks(planned);
    }
    let edition = press.edition(readers, "resend").await;
    let sender = press
        .sender_to(To {
            max_connections: 1,
            deadlines: Deadlines::all(PATIENCE),
            ..To::port(proxy.port())
        })
        .await;
    for _ in 0..6 {
        sender.run_until_idle().await;
        // over the grace of a doubt, and the rest of a relay
        press.time.advance(leases().grace);
    }
    let accepted = server.accepted();
    for (id, reader) in edition.deliveries.iter().zip(readers) {
        let delivery = press.delivery(*id).await;
        assert_eq!(delivery.state, State::Sent, "{planned:?}: {delivery:?}");
        let copies: Vec<_> = accepted
            .iter()
            .filter(|mail| mail.recipient == reader.email)
            .collect();
        let doubt = usize::try_from(delivery.doubt).unwrap();
        assert!(
            (1..=1 + doubt).contains(&copies.len()),
            "{planned:?}: {} copies, {doubt} doubts",
            copies.len()
        );
        assert!(copies.iter().all(|copy| copy.raw == copies[0].raw));
        assert!(doubt <= 1, "{planned:?}: the wire broke once");
    }
    proxy.carried()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_s6_wherever_the_wire_breaks_everybody_gets_the_mail_and_a_second_copy_is_a_doubt() {
    let app = TestApp::start(Engine::Sqlite).await;
    let press = Press::new(&app).await;
    let readers = press.readers(3).await;
    let carried = over_a_broken_wire(&press, &readers, None).await;
    let faults = [
        Fault::Cut,
        Fault::Reset,
        Fault::Hole,
        Fault::Delay(Duration::from_millis(5)),
        Fault::Trickle(Duration::from_millis(1)),
    ];
    let mut random = StdRng::seed_from_u64(seed::seed());
    for (way, bytes) in [Way::Out, Way::Back].into_iter().zip(carried) {
        let step = if seed::is_long() { 1 } else { bytes / 20 };
        for start in (0..bytes).step_by(step) {
            let planned = Break {
                way,
                at: start + random.random_range(0..step),
                fault: faults[random.random_range(0..faults.len())],
            };
            over_a_broken_wire(&press, &readers, Some(planned)).await;
        }
    }
    app.finish().await;
}

db_test!(
    s1_a_relay_that_cannot_be_found_or_reached_uses_up_no_try,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(5).await;
        let edition = press.edition(&readers, "resend").await;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = nobody.local_addr().unwrap().port();
        drop(nobody);
        // a name that never exists (RFC 6761, section 6.4), an address that never answers, a closed port
        for host in ["relay.invalid", "240.0.0.1", "127.0.0.1"] {
            let to = To {
                host,
                deadlines: Deadlines::all(Duration::from_secs(1)),
                ..To::port(refused)
            };
            press.sender_to(to).await.run_until_idle().await;
            for id in &edition.deliveries {
                let delivery = press.delivery(*id).await;
                assert_eq!(
                    (delivery.state, delivery.tries, delivery.doubt),
                    (State::Pending, 0, 0),
                    "{host}"
                );
            }
        }
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 5);
    }
);

db_test!(
    s3_an_error_at_the_goodbye_changes_nothing_about_what_was_sent,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().always(Step::Quit, Act::reply("451 no"));
        press.sender(&server).await.run_until_idle().await;
        for id in &edition.deliveries {
            assert_eq!(press.state(*id).await, State::Sent);
        }
        assert_eq!(server.accepted().len(), 3);
    }
);

/// A reply to the dot after `delay`, where `deadline` is waited for it. The state then, and after the grace.
async fn a_late_reply(delay: Duration, deadline: Duration) -> [(State, i64, usize); 2] {
    let app = TestApp::start(Engine::Sqlite).await;
    let press = Press::new(&app).await;
    let readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    let server = SmtpServer::start().await;
    let late = Act::reply("250 2.0.0 queued").accepted().delayed(delay);
    server.script().once(Step::Dot, late);
    let deadlines = Deadlines {
        dot: deadline,
        ..Deadlines::default()
    };
    let to = To {
        deadlines,
        ..To::port(server.port())
    };
    let sender = press.sender_to(to).await;
    let seen = async || {
        sender.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        (delivery.state, delivery.doubt, server.accepted().len())
    };
    let first = seen().await;
    press.time.advance(leases().grace);
    let then = seen().await;
    let accepted = server.accepted();
    assert!(accepted.iter().all(|copy| copy.raw == accepted[0].raw));
    app.finish().await;
    [first, then]
}

/// The reply's deadline in these tests: in the long run the real one.
fn reply_deadline() -> Duration {
    if seed::is_long() {
        Deadlines::default().dot
    } else {
        Duration::from_secs(3)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_a_reply_just_before_the_deadline_counts() {
    let deadline = reply_deadline();
    // the real ten minutes less ten seconds, or half a second less
    let early = Duration::from_millis(500).max(deadline / 60);
    let delay = deadline.saturating_sub(early);
    let seen = a_late_reply(delay, deadline).await;
    assert_eq!(seen, [(State::Sent, 0, 1); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_a_reply_that_does_not_come_is_a_doubt_at_the_deadline_and_one_more_copy() {
    let deadline = reply_deadline();
    let seen = a_late_reply(deadline * 2, deadline).await;
    assert_eq!(seen, [(State::InDoubt, 1, 1), (State::Sent, 1, 2)]);
}

db_test!(
    s17_in_a_storm_of_pauses_and_a_cancel_the_totals_agree,
    async |app: &TestApp| {
        let seed = seed::seed();
        let mut random = StdRng::seed_from_u64(seed);
        let press = Press::new(app).await;
        let readers = press.readers(120).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().pace(seed, 1..6);
        let sender = press.sender(&server).await;
        let stop = CancellationToken::new();
        let storm = async {
            // half of the mails in pauses, then the end of the issue
            while server.ledger().count() < 60 {
                press.pause(edition.issue).await;
                if random.random_bool(0.5) {
                    tokio::task::yield_now().await;
                }
                press.resume(edition.issue).await;
                let so_far = server.ledger().count();
                let more = so_far + random.random_range(1..5);
                while server.ledger().count() < more {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            press.cancel(edition.issue).await;
            stop.cancel();
        };
        let whole = async { tokio::join!(sender.run(stop.clone()), storm) };
        tokio::time::timeout(Duration::from_mins(2), whole)
            .await
            .expect("the issue goes on after each pause");
        press.sender(&server).await.run_until_idle().await;
        let counts = operate::counts(&press.db, edition.issue).await.unwrap();
        let sent = i64::try_from(server.accepted().len()).unwrap();
        assert_eq!((counts.sent, counts.total(), counts.open()), (sent, 120, 0));
        assert_eq!((counts.in_doubt, counts.held), (0, 0));
        assert_eq!(counts.skipped, 120 - sent);
        let mut recipients: Vec<_> = server
            .accepted()
            .into_iter()
            .map(|mail| mail.recipient)
            .collect();
        recipients.sort();
        recipients.dedup();
        assert_eq!(i64::try_from(recipients.len()).unwrap(), sent);
    }
);
