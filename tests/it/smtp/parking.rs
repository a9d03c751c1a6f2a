use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use paperround::smtp::relay::{Health, Unavailable};

use super::pool::{later, rest_of, send_over};
use super::*;
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Step};

#[tokio::test]
async fn what_is_idle_is_closed_wherever_it_is_parked() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 3, clock());
    let mut lent = Vec::new();
    for _ in 0..3 {
        lent.push(relay.open().await.unwrap());
    }
    drop(lent);
    later(Duration::from_secs(20)).await;
    // goes over the one that was parked last
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    later(Duration::from_secs(10)).await;
    relay.close_idle().await;
    assert_eq!(relay.open_connections(), 1);
    assert_eq!(server.counters().connections, 3);
}

#[tokio::test]
async fn a_good_connection_is_found_behind_those_that_are_not_used_again() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 3, clock());
    let mut good = relay.open().await.unwrap();
    let idle = [relay.open().await.unwrap(), relay.open().await.unwrap()];
    later(Duration::from_secs(20)).await;
    let wire = wire("one", 100);
    let envelope = envelope("ada@example.org", &wire);
    good.envelope(&envelope).await.unwrap();
    let outcome = good.transmit(&wire, None).await;
    assert_eq!(outcome.verdict(), Verdict::Sent);
    drop(good);
    drop(idle);
    later(Duration::from_secs(10)).await;
    assert_eq!(send_over(&relay, "two").await.unwrap(), Verdict::Sent);
    assert_eq!(server.counters().connections, 3);
}

#[tokio::test]
async fn three_messages_in_a_row_without_an_answer_let_the_relay_rest() {
    let server = SmtpServer::start().await;
    let deadlines = Deadlines {
        dot: Duration::from_millis(50),
        ..Deadlines::all(Duration::from_secs(20))
    };
    let relay = relay_over(Connector::new(config(&server), deadlines).unwrap(), clock());
    server.script().always(Step::Dot, Act::stall());
    for _ in 0..3 {
        assert_eq!(relay.health(), Health::Ok);
        let verdict = send_over(&relay, "one").await.unwrap();
        assert_eq!(verdict, Verdict::InDoubt);
    }
    assert!(matches!(relay.health(), Health::BackingOff { .. }));
}

#[tokio::test]
async fn a_relay_may_say_that_a_connection_has_carried_enough_to_what_goes_along() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let mut lease = relay.open().await.unwrap();
    let wire = wire("one", 100);
    let envelope = envelope("ada@example.org", &wire);
    lease.envelope(&envelope).await.unwrap();
    let enough = Act::reply("452 4.5.3 Too many messages sent");
    server.script().once(Step::Mail, enough);
    let outcome = lease.transmit(&wire, Some(&envelope)).await;
    assert_eq!(outcome.verdict(), Verdict::Sent);
    assert!(lease.is_attached() && lease.addressed().await.is_err());
    assert!(!lease.is_usable(), "it is given no more");
    assert_eq!(relay.health(), Health::Ok);
}

#[tokio::test]
async fn nothing_but_not_now_to_a_sender_says_that_a_connection_has_carried_enough() {
    for (step, reply, verdict) in [
        (Step::Rcpt, "451 4.7.1 greylisted", Verdict::Deferred),
        (Step::Mail, "550 5.7.1 not you", Verdict::IssuePaused),
    ] {
        let server = SmtpServer::start().await;
        let relay = relay_with(&server, 1, clock());
        assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
        server.script().once(step, Act::reply(reply));
        assert_eq!(send_over(&relay, "two").await.unwrap(), verdict);
        assert_eq!(send_over(&relay, "three").await.unwrap(), Verdict::Sent);
        assert_eq!(server.counters().connections, 1, "{reply}");
    }
}

#[tokio::test]
async fn a_relay_that_fails_anew_is_tried_though_whoever_tried_it_before_still_has_a_connection() {
    for (answer, verdict) in [
        ("250 2.0.0 ok", Verdict::Sent),
        ("451 4.7.1 later", Verdict::Deferred),
    ] {
        let server = SmtpServer::start().await;
        let clock = clock();
        let relay = relay_with(&server, 2, clock.clone());
        let not_now = Act::reply("451 4.3.2 not now");
        server.script().once(Step::Mail, not_now.clone());
        send_over(&relay, "early").await.unwrap();
        clock.advance(rest_of(&relay, &clock));
        let mut probe = relay.open().await.unwrap();
        let wire = wire("one", 100);
        let envelope = envelope("ada@example.org", &wire);
        probe.envelope(&envelope).await.unwrap();
        server.script().once(Step::Dot, Act::reply(answer));
        let outcome = probe.transmit(&wire, None).await;
        assert_eq!(outcome.verdict(), verdict);
        assert_eq!(relay.health(), Health::Ok);
        server.script().once(Step::Mail, not_now);
        send_over(&relay, "again").await.unwrap();
        clock.advance(rest_of(&relay, &clock));
        assert!(relay.open().await.is_ok(), "{answer}");
        drop(probe);
    }
}

#[tokio::test]
async fn relays_that_fail_together_do_not_come_back_together() {
    let (server, clock) = (SmtpServer::start().await, clock());
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    server.script().always(Step::Banner, busy);
    let mut rests = Vec::new();
    for seed in 1..=4 {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let relay = Relay::new(connector(&server), Reuse::default(), clock.clone(), entropy);
        assert!(relay.open().await.is_err());
        rests.push(rest_of(&relay, &clock));
    }
    rests.dedup();
    assert!(rests.len() > 1, "{rests:?}");
}

#[tokio::test]
async fn a_connection_counts_until_its_goodbye_is_answered() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    let mut closing = pin!(relay.close());
    assert!(closing.as_mut().now_or_never().is_none());
    assert_eq!(relay.open_connections(), 1);
    closing.await;
    assert_eq!(relay.open_connections(), 0);
}

#[tokio::test]
async fn whatever_is_said_of_a_message_its_connection_has_carried_it() {
    let server = SmtpServer::start().await;
    let full = Act::reply("452 4.2.2 full");
    server.script().always(Step::Dot, full);
    let reuse = Reuse {
        messages: 3,
        ..Reuse::default()
    };
    let entropy = Arc::new(SeededEntropy::new(7));
    let relay = Relay::new(connector(&server), reuse, clock(), entropy);
    // never idle for half a minute
    for connections in [1, 1, 1, 2] {
        later(Duration::from_secs(20)).await;
        let verdict = send_over(&relay, "one").await.unwrap();
        assert_eq!(verdict, Verdict::Deferred);
        assert_eq!(server.counters().connections, connections);
    }
}

#[tokio::test]
async fn a_relay_that_takes_no_message_now_rests_though_its_connection_has_carried_one() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
    let not_now = Act::reply("451 4.3.0 not now");
    server.script().once(Step::Data, not_now);
    let verdict = send_over(&relay, "two").await.unwrap();
    assert_eq!(verdict, Verdict::RelayBackOff(None));
    assert!(matches!(relay.health(), Health::BackingOff { .. }));
}

#[tokio::test]
async fn s14_where_several_are_too_many_at_once_those_that_stay_are_the_limit() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 5, clock());
    let _stays = relay.open().await.unwrap();
    let many = Act::reply("421 4.7.0 too many connections").then(After::Close);
    let late = many.delayed(Duration::from_millis(20));
    server.script().always(Step::Banner, late);
    for open in join_all((0..3).map(|_| relay.open())).await {
        assert!(matches!(open, Err(Unavailable::Busy)));
    }
    assert_eq!(server.counters().connections, 1 + 3);
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
    assert_eq!(server.counters().connections, 1 + 3, "no more are tried");
}

#[tokio::test]
async fn a_connection_that_was_greeted_makes_room_for_the_next() {
    let server = SmtpServer::start().await;
    server.script().always(Step::Ehlo, Act::stall());
    let relay = relay_with(&server, 6, clock());
    let opens = join_all((0..6).map(|_| relay.open()));
    let greeted = async {
        while server.counters().connections < 6 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let greeted = tokio::time::timeout(Duration::from_secs(2), greeted);
    tokio::select! {
        _ = opens => panic!("nobody said hello"),
        all = greeted => all.expect("more than four are open"),
    }
}

#[tokio::test]
async fn s14_a_connection_that_is_parked_while_another_is_one_too_many_is_the_limit() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 5, clock());
    let first = relay.open().await.unwrap();
    let many = Act::reply("421 4.7.0 too many connections").then(After::Close);
    let late = many.delayed(Duration::from_millis(50));
    server.script().always(Step::Banner, late);
    let (second, ()) = tokio::join!(relay.open(), async {
        while server.counters().connections < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(first);
    });
    assert!(matches!(second, Err(Unavailable::Busy)));
    assert_eq!(relay.health(), Health::Ok);
}

/// Postfix writes 421 after so many refusals, and it is read as the answer to the next command.
#[tokio::test]
async fn a_connection_that_has_heard_enough_refusals_is_no_fault_of_its_relay() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let enough = Act::reply("421 4.7.0 too many errors").then(After::Close);
    let wire = wire("one", 100);
    for _ in 0..3 {
        let unknown = Act::reply("550 5.1.1 unknown");
        server.script().once(Step::Rcpt, unknown);
        server.script().once(Step::Rset, enough.clone());
        let mut lease = relay.open().await.unwrap();
        let envelope = envelope("ada@example.org", &wire);
        let refused = lease.envelope(&envelope).await.unwrap_err();
        assert_eq!(refused.verdict(), Verdict::Refused);
        let ended = lease.envelope(&envelope).await.unwrap_err();
        assert_eq!(ended.verdict(), Verdict::NotSent);
        assert!(!lease.is_usable());
        drop(lease);
        assert_eq!(relay.health(), Health::Ok);
    }
    assert_eq!(server.counters().connections, 3);
}

#[tokio::test]
async fn a_connection_that_is_not_used_again_is_closed_with_a_goodbye() {
    let (idle, messages) = (Duration::ZERO, 1);
    let usual = Reuse::default;
    for reuse in [
        Reuse { idle, ..usual() },
        Reuse {
            messages,
            ..usual()
        },
    ] {
        let server = SmtpServer::start().await;
        let goodbyes = Arc::new(AtomicUsize::new(0));
        let counted = goodbyes.clone();
        let bye = Act::reply("221 2.0.0 bye").calling(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        server.script().always(Step::Quit, bye);
        let entropy = Arc::new(SeededEntropy::new(7));
        let relay = Relay::new(connector(&server), reuse, clock(), entropy);
        for id in ["one", "two"] {
            assert_eq!(send_over(&relay, id).await.unwrap(), Verdict::Sent);
        }
        assert_eq!(goodbyes.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_connection_that_is_given_back_serves_who_waits_for_the_turn_to_open_one() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 6, clock());
    let lent = relay.open().await.unwrap();
    server.script().always(Step::Banner, Act::stall());
    let mut opening: Vec<_> = (0..4).map(|_| Box::pin(relay.open())).collect();
    for open in &mut opening {
        assert!(open.as_mut().now_or_never().is_none());
    }
    let mut waiting = pin!(relay.open());
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(lent);
    // one of the four is given up, which makes room
    drop(opening.pop());
    let found = tokio::time::timeout(Duration::from_secs(2), waiting).await;
    assert!(found.is_ok_and(|lease| lease.is_ok()), "no other is opened");
}

#[tokio::test]
async fn s14_not_now_beside_open_connections_is_a_failure_where_it_is_not_421() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 5, clock());
    let _first = relay.open().await.unwrap();
    let not_now = Act::reply("450 4.3.2 not now").then(After::Close);
    server.script().once(Step::Banner, not_now);
    assert!(matches!(relay.open().await, Err(Unavailable::Failed(_))));
    assert!(matches!(relay.health(), Health::BackingOff { .. }));
}
