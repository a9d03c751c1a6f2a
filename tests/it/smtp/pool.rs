use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use paperround::smtp::relay::{Health, Unavailable};

use super::*;
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Step};

pub(super) async fn send_over(relay: &Arc<Relay>, id: &str) -> Result<Verdict, Unavailable> {
    let mut lease = relay.open().await?;
    let wire = wire(id, 100);
    if let Err(failure) = lease.envelope(&envelope("ada@example.org", &wire)).await {
        return Ok(failure.verdict());
    }
    Ok(lease.transmit(&wire, None).await.verdict())
}

pub(super) fn rest_of(relay: &Relay, clock: &TestClock) -> Duration {
    relay
        .health()
        .usable_from()
        .expect("it rests")
        .since(clock.now())
}

#[tokio::test]
async fn open_connections_never_exceed_the_cap() {
    let server = SmtpServer::start().await;
    server.script().always(
        Step::Dot,
        Act::reply("250 ok").delayed(Duration::from_millis(2)),
    );
    let relay = relay_with(&server, 3, clock());
    let sends = (0..40).map(|number| {
        let relay = relay.clone();
        tokio::spawn(async move { send_over(&relay, &number.to_string()).await.unwrap() })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.unwrap(), Verdict::Sent);
    }
    assert_eq!(ids(&server).len(), 40);
    assert_eq!(server.counters().connections, 3);
    assert_eq!(relay.open_connections(), 3);
    relay.close().await;
    assert_eq!(relay.open_connections(), 0);
}

#[tokio::test]
async fn a_connection_that_the_relay_closed_while_parked_is_not_used() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let farewell = Act::bytes("250 ok\r\n421 4.4.2 idle for too long\r\n").then(After::Close);
    server.script().once(Step::Dot, farewell);
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    assert_eq!(send_over(&relay, "two").await.unwrap(), Verdict::Sent);
    assert_eq!(server.counters().connections, 2);
    assert_eq!(relay.health(), Health::Ok);
}

#[tokio::test]
async fn a_connection_that_was_parked_or_open_for_too_long_is_not_used_again() {
    let (idle, age) = (Duration::ZERO, Duration::ZERO);
    let usual = Reuse::default;
    for reuse in [Reuse { idle, ..usual() }, Reuse { age, ..usual() }] {
        let server = SmtpServer::start().await;
        let entropy = Arc::new(SeededEntropy::new(7));
        let relay = Relay::new(connector(&server), reuse, clock(), entropy);
        assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
        assert_eq!(send_over(&relay, "two").await.unwrap(), Verdict::Sent);
        assert_eq!(server.counters().connections, 2);
    }
}

/// So much later by the clock that connections go by.
pub(super) async fn later(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_that_carried_nothing_for_half_a_minute_is_closed_with_a_goodbye() {
    let server = SmtpServer::start().await;
    let goodbyes = Arc::new(AtomicUsize::new(0));
    let counted = goodbyes.clone();
    let bye = Act::reply("221 2.0.0 bye").calling(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    server.script().always(Step::Quit, bye);
    let relay = relay_with(&server, 1, clock());
    for id in ["one", "two"] {
        assert_eq!(send_over(&relay, id).await.unwrap(), Verdict::Sent);
        later(Duration::from_secs(20)).await;
        relay.close_idle().await;
        assert_eq!(relay.open_connections(), 1, "behind {id}");
    }
    later(Duration::from_secs(10)).await;
    relay.close_idle().await;
    assert_eq!(relay.open_connections(), 0);
    assert_eq!(server.counters().connections, 1);
    assert_eq!(goodbyes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_carries_so_many_messages_and_no_more() {
    let server = SmtpServer::start().await;
    let reuse = Reuse {
        messages: 2,
        ..Reuse::default()
    };
    let relay = Relay::new(
        connector(&server),
        reuse,
        clock(),
        Arc::new(SeededEntropy::new(7)),
    );
    for (id, connections) in [("one", 1), ("two", 1), ("three", 2), ("four", 2)] {
        assert_eq!(send_over(&relay, id).await.unwrap(), Verdict::Sent);
        assert_eq!(server.counters().connections, connections, "{id}");
    }
}

#[tokio::test]
async fn nothing_is_attached_to_the_last_message_of_a_connection() {
    let server = SmtpServer::start().await;
    let reuse = Reuse {
        messages: 2,
        ..Reuse::default()
    };
    let entropy = Arc::new(SeededEntropy::new(7));
    let relay = Relay::new(connector(&server), reuse, clock(), entropy);
    for expected in [true, false] {
        let mut lease = relay.open().await.unwrap();
        let wire = wire("one", 100);
        let envelope = envelope("ada@example.org", &wire);
        lease.envelope(&envelope).await.unwrap();
        assert_eq!(lease.takes_groups(), expected);
        let sent = lease.transmit(&wire, None).await;
        assert_eq!(sent.verdict(), Verdict::Sent);
    }
    assert_eq!(server.counters().connections, 1);
}

#[tokio::test]
async fn a_relay_that_fails_rests_longer_each_time_and_one_connection_probes() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 5, clock.clone());
    server.script().always(
        Step::Banner,
        Act::reply("421 4.3.2 busy").then(After::Close),
    );
    for expected in [30, 60, 120] {
        assert!(matches!(
            send_over(&relay, "x").await,
            Err(Unavailable::Failed(_))
        ));
        let rest = rest_of(&relay, &clock).as_secs_f64();
        assert!(
            (0.79..1.21).contains(&(rest / f64::from(expected))),
            "{rest} of {expected}"
        );
        assert!(matches!(
            send_over(&relay, "x").await,
            Err(Unavailable::Resting { .. })
        ));
        clock.advance(rest_of(&relay, &clock));
    }
    assert_eq!(server.counters().connections, 3);
    server.script().clear();
    let probe = relay.open().await.unwrap();
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    drop(probe);
    assert_eq!(send_over(&relay, "healed").await.unwrap(), Verdict::Sent);
    assert_eq!(relay.health(), Health::Ok);
}

#[tokio::test]
async fn a_relay_that_answers_for_a_recipient_after_its_rest_works() {
    let half_a_yes = Act::bytes("250 2.0.0 que").then(After::Close);
    for (step, answer, verdict) in [
        (
            Step::Rcpt,
            Act::reply("550 5.1.1 unknown"),
            Verdict::Refused,
        ),
        (Step::Dot, Act::reply("451 4.7.1 later"), Verdict::Deferred),
        (Step::Dot, half_a_yes, Verdict::Sent),
    ] {
        let server = SmtpServer::start().await;
        let clock = clock();
        let relay = relay_with(&server, 1, clock.clone());
        let busy = Act::reply("451 4.3.2 not now");
        server.script().once(Step::Mail, busy);
        send_over(&relay, "early").await.unwrap();
        clock.advance(rest_of(&relay, &clock));
        server.script().once(step, answer);
        assert_eq!(send_over(&relay, "probe").await.unwrap(), verdict);
        assert_eq!(relay.health(), Health::Ok, "{step:?}");
    }
}

#[tokio::test]
async fn whoever_waited_while_the_relay_began_to_rest_tries_it_alone() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 2, clock.clone());
    let (mut failing, other) = (relay.open().await.unwrap(), relay.open().await.unwrap());
    let mut waiting = pin!(relay.open());
    assert!(waiting.as_mut().now_or_never().is_none());
    let closing = Act::reply("421 4.3.2 closing").then(After::Close);
    server.script().once(Step::Mail, closing);
    let envelope = envelope("ada@example.org", &wire("one", 100));
    assert!(failing.envelope(&envelope).await.is_err());
    clock.advance(rest_of(&relay, &clock));
    drop(failing);
    let _probe = waiting.await.unwrap();
    drop(other);
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
}

#[tokio::test]
async fn whoever_waited_while_the_relay_began_to_rest_gets_no_connection_that_was_given_back() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 1, clock.clone());
    let mut failing = relay.open().await.unwrap();
    let waiting = relay.open();
    let failing = async {
        server
            .script()
            .once(Step::Mail, Act::reply("451 4.3.2 not now"));
        let envelope = envelope("ada@example.org", &wire("one", 100));
        assert!(failing.envelope(&envelope).await.is_err());
        drop(failing);
    };
    let (lent, ()) = tokio::join!(waiting, failing);
    assert!(matches!(lent, Err(Unavailable::Resting { .. })));
}

#[tokio::test]
async fn a_relay_that_rests_is_given_nothing_more_over_connections_that_are_open() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 2, clock());
    let (mut failing, other) = (relay.open().await.unwrap(), relay.open().await.unwrap());
    assert!(other.is_usable() && other.takes_groups());
    server
        .script()
        .once(Step::Mail, Act::reply("451 4.3.2 not now"));
    let envelope = envelope("ada@example.org", &wire("one", 100));
    assert!(failing.envelope(&envelope).await.is_err());
    assert!(!other.is_usable(), "no next message");
    assert!(!other.takes_groups(), "and none along with a message");
}

#[tokio::test]
async fn a_wrong_sender_lets_nobody_rest_and_a_halted_relay_is_tried_once_an_hour() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 1, clock.clone());
    server
        .script()
        .once(Step::Mail, Act::reply("550 5.7.1 not you"));
    assert_eq!(
        send_over(&relay, "one").await.unwrap(),
        Verdict::IssuePaused
    );
    assert_eq!(relay.health(), Health::Ok);
    for _ in 0..2 {
        server.script().once(Step::Data, Act::reply("250 odd"));
        assert_eq!(send_over(&relay, "odd").await.unwrap(), Verdict::NotSent);
    }
    assert!(matches!(relay.health(), Health::Halted { .. }));
    assert_eq!(rest_of(&relay, &clock), Duration::from_hours(1));
    clock.advance(Duration::from_hours(1));
    assert_eq!(send_over(&relay, "two").await.unwrap(), Verdict::Sent);
    assert_eq!(relay.health(), Health::Ok);
}

#[tokio::test]
async fn s14_too_many_connections_means_fewer_connections_and_no_failure() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 5, clock.clone());
    let first = relay.open().await.unwrap();
    server.script().always(
        Step::Banner,
        Act::reply("421 4.7.0 too many connections").then(After::Close),
    );
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    assert_eq!(server.counters().connections, 2, "the limit is remembered");
    assert_eq!(relay.health(), Health::Ok);
    drop(first);
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    server.script().clear();
    clock.advance(Duration::from_secs(59));
    let _first = relay.open().await.unwrap();
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    clock.advance(Duration::from_secs(2));
    assert!(relay.open().await.is_ok());
}

#[tokio::test]
async fn s14_too_many_connections_may_be_said_to_ehlo_too() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 5, clock());
    let _first = relay.open().await.unwrap();
    server.script().always(
        Step::Ehlo,
        Act::reply("421 4.7.0 too many connections").then(After::Close),
    );
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    assert_eq!(relay.health(), Health::Ok);
}

#[tokio::test]
async fn s14_any_other_refusal_beside_open_connections_is_a_failure() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 5, clock());
    let _first = relay.open().await.unwrap();
    let refusal = Act::reply("554 5.3.2 go away").then(After::Close);
    server.script().once(Step::Banner, refusal);
    assert!(matches!(relay.open().await, Err(Unavailable::Failed(_))));
    assert!(matches!(relay.health(), Health::BackingOff { .. }));
}

#[tokio::test]
async fn few_connections_are_opened_at_one_time_and_where_those_fail_no_more_are() {
    let server = SmtpServer::start().await;
    let refused = Act::reply("554 no").delayed(Duration::from_millis(50));
    server
        .script()
        .always(Step::Banner, refused.then(After::Close));
    let relay = relay_with(&server, 20, clock());
    let opens = (0..20).map(|_| {
        let relay = relay.clone();
        tokio::spawn(async move { relay.open().await.is_ok() })
    });
    for open in opens.collect::<Vec<_>>() {
        assert!(!open.await.unwrap());
    }
    assert_eq!(server.counters().connections, 4);
}

#[tokio::test]
async fn a_connection_that_has_carried_all_that_its_relay_takes_is_followed_by_another() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    for enough in [
        "452 4.5.3 Too many messages sent",
        "421 too many messages in this connection",
    ] {
        assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
        server.script().once(Step::Mail, Act::reply(enough));
        let told = send_over(&relay, "again").await.unwrap();
        assert_eq!(told, Verdict::RelayBackOff(None));
        assert_eq!(relay.health(), Health::Ok, "{enough}");
    }
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    assert_eq!(server.counters().connections, 3);
    // at the first message of a connection it means the relay
    relay.close().await;
    server
        .script()
        .once(Step::Mail, Act::reply("452 4.3.1 no space"));
    send_over(&relay, "again").await.unwrap();
    assert!(matches!(relay.health(), Health::BackingOff { .. }));
}

#[tokio::test]
async fn three_messages_lost_in_a_row_let_the_relay_rest() {
    for (step, verdict) in [
        (Step::Rcpt, Verdict::NotSent),
        (Step::Dot, Verdict::InDoubt),
    ] {
        let server = SmtpServer::start().await;
        let relay = relay_with(&server, 1, clock());
        server.script().always(step, Act::close());
        for _ in 0..3 {
            assert_eq!(send_over(&relay, "x").await.unwrap(), verdict);
        }
        assert!(matches!(
            send_over(&relay, "x").await,
            Err(Unavailable::Resting { .. })
        ));
    }
}

#[tokio::test]
async fn messages_that_were_broken_off_by_their_fence_say_nothing_about_the_relay() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let wire = wire("late", 100);
    let envelope = envelope("ada@example.org", &wire);
    for _ in 0..3 {
        let mut lease = relay.open().await.unwrap();
        lease.envelope(&envelope).await.unwrap();
        lease.set_fence(Box::new(|| true));
        let outcome = lease.transmit(&wire, None).await;
        assert_eq!(outcome.verdict(), Verdict::NotSent);
    }
    assert_eq!(relay.health(), Health::Ok);
    assert_eq!(ids(&server).len(), 0);
}

#[tokio::test]
async fn five_lost_replies_among_five_hundred_messages_do_not_halt_the_relay() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    for number in 1..=500 {
        let is_lost = number > 490 && number % 2 == 0;
        let expected = if is_lost {
            server.script().once(Step::Dot, Act::close().accepted());
            Verdict::InDoubt
        } else if number % 3 == 0 {
            let refusal = Act::reply("550 5.1.1 unknown");
            server.script().once(Step::Dot, refusal);
            Verdict::Refused
        } else if number % 3 == 1 {
            let full = Act::reply("452 4.2.2 full");
            server.script().once(Step::Dot, full);
            Verdict::Deferred
        } else {
            Verdict::Sent
        };
        assert_eq!(send_over(&relay, "one").await.unwrap(), expected);
    }
    assert_eq!(relay.health(), Health::Ok);
    assert_eq!(ids(&server).len(), 500 - 164 - 166, "what was taken");
}

#[tokio::test]
async fn a_message_that_was_not_transmitted_costs_the_connection_and_nothing_else() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let mut lease = relay.open().await.unwrap();
    let wire = wire("never", 100);
    lease
        .envelope(&envelope("ada@example.org", &wire))
        .await
        .unwrap();
    drop(lease);
    assert_eq!(relay.open_connections(), 0);
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    assert_eq!(ids(&server), ["<one@news.example>"]);
}
