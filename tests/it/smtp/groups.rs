use super::message::servers;
use super::*;
use crate::support::smtp_server::{Act, Offers, Step};

#[tokio::test]
async fn nothing_goes_along_with_a_message_where_the_relay_does_not_offer_pipelining() {
    for (offers, expected) in servers().into_iter().zip([true, false]) {
        let server = SmtpServer::offering(offers).await;
        let connection = connect(&server).await;
        let next = envelope("ada@example.org", &wire("next", 100));
        assert_eq!(connection.takes_groups(), expected);
        assert_eq!(connection.may_attach(&next), expected);
    }
}

#[tokio::test]
async fn behind_a_refusal_nothing_goes_along_until_the_relay_has_begun_anew() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    let refusal = Act::reply("550 5.1.1 never");
    server.script().once(Step::Rcpt, refusal);
    let next = envelope("ada@example.org", &wire("next", 100));
    for (verdict, may_attach) in [(Verdict::Refused, false), (Verdict::Sent, true)] {
        assert_eq!(send(&mut connection, "one").await, verdict);
        assert_eq!(connection.may_attach(&next), may_attach, "{verdict:?}");
    }
}

#[tokio::test]
async fn a_refusal_stands_whatever_becomes_of_the_connection_behind_it() {
    for behind in [Act::close(), Act::stall(), Act::reply("hello")] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        let refusal = Act::reply("550 5.1.1 never");
        server.script().once(Step::Rcpt, refusal);
        server.script().once(Step::Data, behind.clone());
        let verdict = send(&mut connection, "one").await;
        assert_eq!(verdict, Verdict::Refused, "{behind:?}");
        assert!(!connection.is_ready());
    }
}

#[tokio::test]
async fn a_connection_over_which_the_relay_does_not_begin_anew_is_closed() {
    for offers in servers() {
        let server = SmtpServer::offering(offers).await;
        let mut connection = connect(&server).await;
        let refusal = Act::reply("550 5.1.1 never");
        server.script().once(Step::Rcpt, refusal);
        assert_eq!(send(&mut connection, "one").await, Verdict::Refused);
        server
            .script()
            .once(Step::Rset, Act::reply("502 5.5.1 what"));
        assert_eq!(send(&mut connection, "two").await, Verdict::NotSent);
        assert!(!connection.is_ready() && !connection.answered_data_after_refusal());
        assert_eq!(ids(&server).len(), 0);
    }
}

#[tokio::test]
async fn a_relay_that_keeps_taking_data_behind_a_refusal_hears_it_by_itself_from_then_on() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let (refusal, odd) = (Act::reply("550 5.1.1 unknown"), Act::reply("354 go on"));
    server.script().always(Step::Rcpt, refusal);
    server.script().always(Step::Data, odd);
    let envelope = envelope("ada@example.org", &wire("one", 100));
    for connections in [1, 2, 3, 4, 4] {
        let mut lease = relay.open().await.unwrap();
        let takes_groups = lease.takes_groups();
        assert_eq!(takes_groups, connections < 4, "nothing goes along either");
        let failure = lease.envelope(&envelope).await.unwrap_err();
        assert_eq!(failure.verdict(), Verdict::Refused);
        assert_eq!(server.counters().connections, connections);
    }
}

#[tokio::test]
async fn what_goes_along_with_a_message_lives_on_whatever_is_said_of_the_message_itself() {
    for (answer, lives) in [
        ("250 2.0.0 queued", true),
        ("451 4.3.0 later", true),
        ("554 5.6.0 never", true),
        ("421 4.3.2 closing", false),
        ("354 odd", false),
    ] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        let (first, next) = (wire("first", 100), wire("next", 100));
        let following = envelope("bob@example.org", &next);
        server.script().once(Step::Dot, Act::reply(answer));
        let own = envelope("ada@example.org", &first);
        connection.envelope(&own).await.unwrap();
        connection.transmit(&first, Some(&following)).await;
        assert_eq!(connection.is_attached(), lives, "{answer}");
        assert!(!connection.is_ready(), "{answer}");
        if lives {
            connection.addressed().await.unwrap();
            let sent = connection.transmit(&next, None).await;
            assert_eq!(sent.verdict(), Verdict::Sent, "{answer}");
            assert_eq!(
                server.accepted().last().unwrap().recipient,
                "bob@example.org"
            );
        }
    }
}

#[tokio::test]
async fn a_sender_is_taken_with_250_alone_and_no_reader_pays_for_another_yes() {
    for odd in ["200 odd", "251 2.1.5 odd"] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        server.script().once(Step::Mail, Act::reply(odd));
        let verdict = send(&mut connection, "one").await;
        assert_eq!(verdict, Verdict::NotSent, "{odd}");
        assert!(!connection.is_ready(), "{odd}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_may_give_behind_a_refusal_closes_too() {
    for odd in ["250 odd", "150 odd", "999 odd"] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        let refusal = Act::reply("550 5.1.1 never");
        server.script().once(Step::Rcpt, refusal);
        server.script().once(Step::Data, Act::reply(odd));
        let verdict = send(&mut connection, "one").await;
        assert_eq!(verdict, Verdict::Refused, "{odd}");
        assert!(!connection.is_ready(), "{odd}");
    }
}

#[tokio::test]
async fn a_relay_begins_anew_behind_a_refusal_though_a_message_it_does_not_take_came_between() {
    let offers = Offers {
        size: Some(50_000),
        ..Offers::default()
    };
    let server = SmtpServer::offering(offers).await;
    let mut connection = connect(&server).await;
    let refusal = Act::reply("550 5.1.1 never");
    server.script().once(Step::Rcpt, refusal);
    for (bytes, verdict) in [
        (100, Verdict::Refused),
        (60_000, Verdict::IssuePaused),
        (100, Verdict::Sent),
    ] {
        let (found, failure) = end(&mut connection, "one", "ada@example.org", bytes).await;
        assert_eq!(found, verdict, "{failure:?}");
    }
    assert_eq!(server.accepted().len(), 1);
}

#[tokio::test]
async fn a_relay_that_takes_data_behind_a_refusal_of_what_went_along_hears_it_by_itself_too() {
    let server = SmtpServer::start().await;
    let relay = relay_with(&server, 1, clock());
    let bob = "bob@example.org";
    {
        let mut script = server.script();
        script.always_for(bob, Step::Rcpt, Act::reply("550 5.1.1 unknown"));
        // where nobody is to have the message
        script.always_for("", Step::Data, Act::reply("354 go on"));
    }
    let wire = wire("one", 100);
    let (first, next) = (envelope("ada@example.org", &wire), envelope(bob, &wire));
    for _ in 0..3 {
        let mut lease = relay.open().await.unwrap();
        assert!(lease.takes_groups());
        lease.envelope(&first).await.unwrap();
        let outcome = lease.transmit(&wire, Some(&next)).await;
        assert_eq!(outcome.verdict(), Verdict::Sent);
        let failure = lease.addressed().await.unwrap_err();
        assert_eq!(failure.verdict(), Verdict::Refused);
    }
    let lease = relay.open().await.unwrap();
    assert_eq!(server.counters().connections, 4);
    assert!(!lease.takes_groups());
}
