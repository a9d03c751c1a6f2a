use paperround::smtp::relay::Health;

use super::pool::{later, send_over};
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
