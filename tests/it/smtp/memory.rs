use futures_util::FutureExt as _;
use paperround::smtp::relay::{Health, Unavailable};

use super::pool::{later, rest_of, send_over};
use super::*;
use crate::support::smtp_server::{Act, Step};

#[tokio::test]
async fn the_second_answer_that_nobody_may_give_there_halts_the_relay() {
    for (step, answer, verdict) in [
        (Step::Mail, "hello", Verdict::NotSent),
        (Step::Rcpt, "350 odd", Verdict::NotSent),
        (Step::Dot, "hello", Verdict::InDoubt),
    ] {
        let server = SmtpServer::start().await;
        let relay = relay_with(&server, 1, clock());
        server.script().always(step, Act::reply(answer));
        for works in [true, false] {
            let found = send_over(&relay, "odd").await.unwrap();
            assert_eq!(found, verdict, "{step:?}");
            assert_eq!(relay.health() == Health::Ok, works, "{step:?}");
        }
        let health = relay.health();
        assert!(matches!(health, Health::Halted { .. }), "{health:?}");
    }
}

#[tokio::test]
async fn a_connection_is_used_for_an_hour_at_most() {
    let server = SmtpServer::start().await;
    let reuse = Reuse {
        idle: Duration::from_hours(2),
        ..Reuse::default()
    };
    let entropy = Arc::new(SeededEntropy::new(7));
    let relay = Relay::new(connector(&server), reuse, clock(), entropy);
    for (minutes, connections) in [(0, 1), (59, 1), (1, 2)] {
        later(Duration::from_mins(minutes)).await;
        assert_eq!(send_over(&relay, "one").await.unwrap(), Verdict::Sent);
        let opened = server.counters().connections;
        assert_eq!(opened, connections, "{minutes} minutes later");
    }
}

#[tokio::test]
async fn a_connection_that_has_carried_enough_is_given_no_more_while_it_is_held() {
    let server = SmtpServer::start().await;
    let reuse = Reuse {
        messages: 2,
        ..Reuse::default()
    };
    let entropy = Arc::new(SeededEntropy::new(7));
    let relay = Relay::new(connector(&server), reuse, clock(), entropy);
    let mut lease = relay.open().await.unwrap();
    let wire = wire("one", 100);
    let envelope = envelope("ada@example.org", &wire);
    for is_usable in [true, false] {
        lease.envelope(&envelope).await.unwrap();
        let outcome = lease.transmit(&wire, None).await;
        assert_eq!(outcome.verdict(), Verdict::Sent);
        assert_eq!(lease.is_usable(), is_usable);
    }
}

#[tokio::test]
async fn a_halted_relay_is_tried_by_one_connection_alone() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let relay = relay_with(&server, 2, clock.clone());
    for _ in 0..2 {
        server.script().once(Step::Data, Act::reply("250 odd"));
        send_over(&relay, "odd").await.unwrap();
    }
    assert!(matches!(relay.health(), Health::Halted { .. }));
    clock.advance(rest_of(&relay, &clock));
    let _probe = relay.open().await.unwrap();
    assert!(matches!(relay.open().await, Err(Unavailable::Busy)));
}

#[tokio::test]
async fn nobody_waits_for_a_connection_to_a_relay_that_rests() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let mut failing = relay.open().await.unwrap();
    let not_now = Act::reply("451 4.3.2 not now");
    server.script().once(Step::Mail, not_now);
    let envelope = envelope("ada@example.org", &wire("one", 100));
    assert!(failing.envelope(&envelope).await.is_err());
    let answer = relay.open().now_or_never();
    let resting = matches!(answer, Some(Err(Unavailable::Resting { .. })));
    assert!(resting, "it is said at once");
}
