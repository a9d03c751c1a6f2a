use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use paperround::smtp::outcome::{Cause, Phase};

use super::*;
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Offers, Step};

pub(super) fn servers() -> [Offers; 2] {
    let no_pipelining = Offers {
        no_pipelining: true,
        ..Offers::default()
    };
    [Offers::default(), no_pipelining]
}

#[tokio::test]
async fn many_messages_go_over_one_connection_as_they_were_written() {
    for offers in servers() {
        let server = SmtpServer::offering(offers).await;
        let mut connection = connect(&server).await;
        for id in ["one", "two", "three"] {
            assert_eq!(send(&mut connection, id).await, Verdict::Sent);
        }
        connection.quit().await;
        let accepted = server.accepted();
        assert_eq!(
            ids(&server),
            [
                "<one@news.example>",
                "<two@news.example>",
                "<three@news.example>"
            ]
        );
        assert_eq!(accepted[0].raw, wire("one", 100).unstuffed());
        assert_eq!(accepted[0].recipient, "ada@example.org");
        assert_eq!(server.counters().connections, 1);
    }
}

#[tokio::test]
async fn s3_s4_a_refusal_at_each_verb_punishes_the_right_one_and_the_next_message_goes() {
    let rest = Verdict::RelayBackOff(None);
    for (step, transient, permanent) in [
        (Step::Mail, rest, Verdict::IssuePaused),
        (Step::Rcpt, Verdict::Deferred, Verdict::Refused),
        (Step::Data, rest, Verdict::IssuePaused),
        (Step::Dot, Verdict::Deferred, Verdict::Refused),
    ] {
        for offers in servers() {
            let server = SmtpServer::offering(offers).await;
            let mut connection = connect(&server).await;
            for (reply, verdict) in [
                ("451 4.3.0 later", transient),
                ("550 5.1.1 never", permanent),
            ] {
                server.script().once(step, Act::reply(reply));
                assert_eq!(
                    send(&mut connection, "lost").await,
                    verdict,
                    "{step:?} {reply}"
                );
                assert!(connection.is_ready());
                assert_eq!(send(&mut connection, "next").await, Verdict::Sent);
            }
            assert_eq!(ids(&server), ["<next@news.example>", "<next@news.example>"]);
            assert_eq!(server.counters().connections, 1);
        }
    }
}

#[tokio::test]
async fn s3_a_421_anywhere_closes() {
    for (step, verdict) in [
        (Step::Mail, Verdict::RelayBackOff(None)),
        (Step::Rcpt, Verdict::Deferred),
        (Step::Data, Verdict::RelayBackOff(None)),
        (Step::Dot, Verdict::Deferred),
    ] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        server
            .script()
            .once(step, Act::reply("421 4.3.2 closing").then(After::Close));
        assert_eq!(send(&mut connection, "one").await, verdict, "{step:?}");
        assert!(!connection.is_ready());
        assert_eq!(ids(&server).len(), 0);
    }
}

#[tokio::test]
async fn s3_a_421_behind_a_refusal_closes_too() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    let closing = Act::reply("421 4.3.2 closing").then(After::Close);
    server
        .script()
        .once(Step::Rcpt, Act::reply("550 5.1.1 never"));
    server.script().once(Step::Data, closing);
    assert_eq!(send(&mut connection, "one").await, Verdict::Refused);
    assert!(!connection.is_ready());
}

#[tokio::test]
async fn a_recipient_whose_mail_is_forwarded_is_no_refusal() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    let forwarded = Act::reply("251 2.1.5 not local, will forward");
    server.script().once(Step::Rcpt, forwarded);
    assert_eq!(send(&mut connection, "one").await, Verdict::Sent);
    assert!(connection.is_ready());
}

#[tokio::test]
async fn s5_a_drop_in_any_verb_or_in_the_body_is_certainly_not_sent() {
    for step in [
        Step::Mail,
        Step::Rcpt,
        Step::Data,
        Step::Body(0),
        Step::Body(70_000),
    ] {
        for after in [After::Close, After::Reset] {
            for offers in servers() {
                let server = SmtpServer::offering(offers).await;
                let mut connection = connect(&server).await;
                server.script().once(step, Act::bytes("").then(after));
                // In the body, more than the buffers of both sockets take: the end is not written before the drop.
                let bytes = if matches!(step, Step::Body(_)) {
                    12_000_000
                } else {
                    100
                };
                let (verdict, failure) =
                    end(&mut connection, "one", "ada@example.org", bytes).await;
                assert_eq!(verdict, Verdict::NotSent, "{step:?} {failure:?}");
                assert!(!connection.is_ready());
                assert_eq!(ids(&server).len(), 0);
            }
        }
    }
}

#[tokio::test]
async fn s6_behind_the_dot_three_digits_that_say_yes_are_a_yes_and_all_else_is_doubt() {
    for (bytes, verdict) in [
        ("", Verdict::InDoubt),
        ("2", Verdict::InDoubt),
        ("25", Verdict::InDoubt),
        ("250", Verdict::Sent),
        ("250 ok", Verdict::Sent),
        ("250-", Verdict::Sent),
        ("250-a\r\n250", Verdict::Sent),
        ("550 no", Verdict::InDoubt),
    ] {
        for after in [After::Close, After::Stall] {
            let server = SmtpServer::start().await;
            let mut connection = connect(&server).await;
            server
                .script()
                .once(Step::Dot, Act::bytes(bytes).then(after).accepted());
            let (found, failure) = end(&mut connection, "one", "ada@example.org", 100).await;
            assert_eq!(found, verdict, "{bytes:?} {failure:?}");
            assert_eq!(failure.unwrap().phase, Phase::Dot);
            assert!(!connection.is_ready());
            assert_eq!(ids(&server).len(), 1);
        }
    }
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    server
        .script()
        .once(Step::Dot, Act::bytes("").then(After::Reset).accepted());
    assert_eq!(send(&mut connection, "one").await, Verdict::InDoubt);
}

#[tokio::test]
async fn s9_a_relay_that_takes_no_byte_of_the_body_is_left_without_doubt() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    server.script().once(Step::Body(0), Act::stall());
    let (verdict, failure) = end(&mut connection, "one", "ada@example.org", 12_000_000).await;
    let failure = failure.unwrap();
    assert_eq!(
        (verdict, failure.phase, failure.cause),
        (Verdict::NotSent, Phase::Body, Cause::TimedOut)
    );
}

#[tokio::test]
async fn s9_a_relay_that_takes_the_body_slowly_gets_all_of_it() {
    let server = SmtpServer::start().await;
    let deadlines = Deadlines {
        body_stalled: Duration::from_secs(1),
        ..Deadlines::all(Duration::from_secs(30))
    };
    let connector = Connector::new(config(&server), deadlines).unwrap();
    let mut connection = connector.open(Pipelining::Full).await.unwrap();
    // more than the buffers of both sockets hold, and longer under way than it may stand still
    let (pauses, step) = (18, 2_000_000);
    for pause in 0..pauses {
        let pause = Step::Body(pause * step);
        let slow = Act::bytes("").delayed(Duration::from_millis(150));
        server.script().once(pause, slow);
    }
    let bytes = pauses * step;
    let (verdict, failure) = end(&mut connection, "large", "ada@example.org", bytes).await;
    assert_eq!(verdict, Verdict::Sent, "{failure:?}");
}

#[tokio::test]
async fn s10_odd_replies_behind_the_dot_are_doubt_with_bounded_memory() {
    let line = format!("250 {}", "x".repeat(1_000_000));
    let endless = "250-more\r\n".repeat(100_000);
    for (bytes, verdict) in [
        ("250\r\n", Verdict::Sent),
        ("250 \r\n", Verdict::Sent),
        ("250 caf\u{e9} \u{7}\r\n", Verdict::Sent),
        ("269 odd\r\n", Verdict::Sent),
        ("150 wait\r\n", Verdict::InDoubt),
        ("354 more\r\n", Verdict::InDoubt),
        ("999 what\r\n", Verdict::InDoubt),
        ("hello\r\n", Verdict::InDoubt),
        ("250-a\r\n550 b\r\n", Verdict::InDoubt),
        (&line, Verdict::InDoubt),
        (&endless, Verdict::InDoubt),
    ] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        server
            .script()
            .once(Step::Dot, Act::bytes(bytes).accepted());
        let (found, failure) = end(&mut connection, "one", "ada@example.org", 100).await;
        let start = &bytes[..bytes.len().min(20)];
        assert_eq!(found, verdict, "{start:?} {failure:?}");
        let kept = failure
            .and_then(|failure| failure.partial)
            .unwrap_or_default();
        assert!(kept.len() <= 1024 && kept.is_ascii());
        assert_eq!(
            connection.is_ready(),
            bytes.starts_with("250") && found == Verdict::Sent
        );
    }
}

#[tokio::test]
async fn s10_impossible_replies_before_the_dot_close_and_send_nothing() {
    for (step, reply) in [
        (Step::Mail, "354 odd"),
        (Step::Rcpt, "252 odd"),
        (Step::Rcpt, "350 odd"),
        (Step::Data, "250 odd"),
        (Step::Data, "350 odd"),
        (Step::Data, "999 odd"),
    ] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        server.script().once(step, Act::reply(reply));
        assert_eq!(
            send(&mut connection, "one").await,
            Verdict::NotSent,
            "{step:?} {reply}"
        );
        assert!(!connection.is_ready());
        assert_eq!(ids(&server).len(), 0);
    }
}

#[tokio::test]
async fn s11_a_reply_nobody_asked_for_is_never_credited_to_a_message() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    // Behind the 354: as if the message had been accepted before it was written.
    server
        .script()
        .once(Step::Data, Act::bytes("354 go\r\n250 2.0.0 queued\r\n"));
    assert_eq!(send(&mut connection, "one").await, Verdict::NotSent);
    assert!(!connection.is_ready());
    // Behind the reply to the dot: as if the next message's sender had been taken already.
    let mut connection = connect(&server).await;
    server.script().once(
        Step::Dot,
        Act::bytes("250 2.0.0 queued\r\n250 2.1.0 ok\r\n"),
    );
    assert_eq!(send(&mut connection, "two").await, Verdict::Sent);
    assert!(!connection.is_quiet().await);
    let next = send(&mut connection, "three").await;
    assert_eq!(next, Verdict::NotSent);
    assert_eq!(ids(&server), ["<two@news.example>"]);
}

#[tokio::test]
async fn s11_an_early_refusal_stops_the_body() {
    for (reply, verdict) in [
        ("552 5.3.4 too big", Verdict::IssuePaused),
        ("554 5.6.0 bad content", Verdict::Refused),
        ("451 4.3.0 later", Verdict::Deferred),
        ("250 2.0.0 already", Verdict::NotSent),
    ] {
        let server = SmtpServer::start().await;
        let mut connection = connect(&server).await;
        server
            .script()
            .once(Step::Body(1000), Act::reply(reply).then(After::Stall));
        let (found, failure) = end(&mut connection, "one", "ada@example.org", 12_000_000).await;
        assert_eq!(found, verdict, "{reply} {failure:?}");
        assert!(!connection.is_ready());
    }
}

#[tokio::test]
async fn a_354_behind_a_refused_recipient_closes_without_the_dot() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    server
        .script()
        .once(Step::Rcpt, Act::reply("550 5.1.1 unknown"));
    server
        .script()
        .once(Step::Data, Act::reply("354 go ahead anyway"));
    assert_eq!(send(&mut connection, "one").await, Verdict::Refused);
    assert!(connection.answered_data_after_refusal() && !connection.is_ready());
    assert_eq!(ids(&server).len(), 0);
}

#[tokio::test]
async fn s15_a_message_over_the_size_limit_pauses_the_issue_before_anything_is_said() {
    let offers = Offers {
        size: Some(50_000),
        ..Offers::default()
    };
    let server = SmtpServer::offering(offers).await;
    let mut connection = connect(&server).await;
    let (verdict, failure) = end(&mut connection, "big", "ada@example.org", 60_000).await;
    assert_eq!(verdict, Verdict::IssuePaused, "{failure:?}");
    assert_eq!(send(&mut connection, "small").await, Verdict::Sent);
    assert_eq!(ids(&server), ["<small@news.example>"]);
}

#[tokio::test]
async fn s15_a_message_of_exactly_the_size_limit_goes() {
    let size = wire("large", 60_000).len_bytes();
    for (limit, verdict) in [(size, Verdict::Sent), (size - 1, Verdict::IssuePaused)] {
        let offers = Offers {
            size: Some(limit),
            ..Offers::default()
        };
        let server = SmtpServer::offering(offers).await;
        let mut connection = connect(&server).await;
        let (found, failure) = end(&mut connection, "large", "ada@example.org", 60_000).await;
        assert_eq!(found, verdict, "{failure:?}");
    }
}

#[tokio::test]
async fn s15_what_the_relay_does_not_take_does_not_go_along_with_the_message_before_it() {
    let offers = Offers {
        size: Some(50_000),
        ..Offers::default()
    };
    let server = SmtpServer::offering(offers).await;
    let connection = connect(&server).await;
    for (recipient, bytes, expected) in [
        ("ada@example.org", 100, true),
        ("ada@example.org", 60_000, false),
        ("jos\u{e9}@example.org", 100, false),
    ] {
        let next = envelope(recipient, &wire("next", bytes));
        assert_eq!(connection.may_attach(&next), expected, "{recipient}");
    }
}

#[tokio::test]
async fn s15_a_recipient_who_needs_smtputf8_fails_alone_where_it_is_missing() {
    let server = SmtpServer::start().await;
    let mut connection = connect(&server).await;
    let (verdict, failure) = end(&mut connection, "one", "jos\u{e9}@example.org", 100).await;
    assert_eq!(
        (verdict, failure.unwrap().cause),
        (Verdict::Refused, Cause::NeedsSmtpUtf8)
    );
    assert_eq!(send(&mut connection, "two").await, Verdict::Sent);

    let offers = Offers {
        smtputf8: true,
        ..Offers::default()
    };
    let server = SmtpServer::offering(offers).await;
    let mut connection = connect(&server).await;
    let (verdict, _) = end(&mut connection, "one", "jos\u{e9}@example.org", 100).await;
    assert_eq!(verdict, Verdict::Sent);
    assert_eq!(server.accepted().len(), 1);
}

#[tokio::test]
async fn s18_a_future_dropped_at_any_await_leaves_a_closed_connection() {
    let [_, no_pipelining] = servers();
    let server = SmtpServer::offering(no_pipelining).await;
    let mut cuts = 0;
    for polls in 1.. {
        let mut connection = connect(&server).await;
        let wire = wire("cut", 100);
        let envelope = envelope("ada@example.org", &wire);
        let both = async {
            connection.envelope(&envelope).await.unwrap();
            connection.transmit(&wire, None).await
        };
        if polled(both, polls).await {
            break;
        }
        cuts += 1;
        assert!(!connection.is_ready());
        assert_eq!(
            send(&mut connection, "after").await,
            Verdict::NotSent,
            "{polls}"
        );
    }
    assert!(cuts >= 4, "only {cuts} places were cut");
    assert!(!ids(&server).contains(&"<after@news.example>".to_owned()));
}

/// Polls `future` so often, then drops it when it could go on. Whether it came to its end.
async fn polled(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}
