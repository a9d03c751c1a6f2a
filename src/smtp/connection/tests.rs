//! Deadlines in their real length, over pipes and with a clock that jumps.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, DuplexStream, duplex};
use tokio::time::sleep;

use super::super::outcome::Verdict;
use super::super::relay_config::{EhloName, RelayConfig};
use super::*;
use crate::config::RelayTls;

fn connector() -> Connector {
    let config = RelayConfig {
        name: "pipe".to_owned(),
        host: "localhost".to_owned(),
        port: 25,
        tls: RelayTls::None,
        login: None,
        max_connections: 1,
        ehlo_name: EhloName::of_this_machine(),
        extra_roots: None,
    };
    Connector::new(config, Deadlines::default()).unwrap()
}

fn message() -> (Envelope, Wire) {
    let wire =
        Wire::parse("Subject: x\r\n\r\nNews.\r\n".to_owned() + &"x\r\n".repeat(100)).unwrap();
    let (from, to) = ("b@news.example", "ada@example.org");
    let envelope = Envelope::new(from.parse().unwrap(), to.parse().unwrap(), &wire).unwrap();
    (envelope, wire)
}

/// How a relay takes the body.
enum Takes {
    All,
    /// Ten bytes every 100 seconds.
    Slowly,
    Nothing,
}

/// Greets, and answers one line after another, each after `delay`.
async fn greet(pipe: DuplexStream, replies: &[&str], delay: Duration) -> BufReader<DuplexStream> {
    let mut pipe = BufReader::new(pipe);
    pipe.write_all(b"220 hi\r\n").await.unwrap();
    for reply in replies {
        pipe.read_line(&mut String::new()).await.unwrap();
        sleep(delay).await;
        pipe.write_all(reply.as_bytes()).await.unwrap();
    }
    pipe
}

/// Reads until the other end is closed.
async fn ends(mut pipe: BufReader<DuplexStream>) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).await.unwrap();
}

/// A relay that answers well up to the 354, and then writes `answer` piece by piece, each after `delay`.
async fn relay(pipe: DuplexStream, takes: Takes, delay: Duration, answer: &'static [&'static str]) {
    let good = ["250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    let mut pipe = greet(pipe, &good, Duration::ZERO).await;
    match takes {
        Takes::All => {
            let mut body = String::new();
            while !body.ends_with("\r\n.\r\n") {
                pipe.read_line(&mut body).await.unwrap();
            }
        }
        Takes::Slowly => {
            for _ in 0..6 {
                sleep(Duration::from_secs(100)).await;
                // past the reader's buffer, which would take all at once
                pipe.get_mut().read_exact(&mut [0; 10]).await.unwrap();
            }
        }
        Takes::Nothing => {}
    }
    for piece in answer {
        sleep(delay).await;
        let _ = pipe.write_all(piece.as_bytes()).await;
    }
    ends(pipe).await;
}

async fn outcome(
    takes: Takes,
    delay: Duration,
    answer: &'static [&'static str],
) -> (Outcome, Duration) {
    let (ours, theirs) = duplex(256);
    let relay = tokio::spawn(relay(theirs, takes, delay, answer));
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let (envelope, wire) = message();
    connection.envelope(&envelope).await.unwrap();
    let begun = tokio::time::Instant::now();
    let outcome = connection.transmit(&wire, None).await;
    let took = begun.elapsed();
    drop(connection);
    relay.await.unwrap();
    (outcome, took)
}

#[tokio::test(start_paused = true)]
async fn s7_a_yes_after_nine_minutes_and_fifty_seconds_is_a_yes() {
    let (outcome, _) = outcome(Takes::All, Duration::from_secs(590), &["250 ok\r\n"]).await;
    assert_eq!(outcome.verdict(), Verdict::Sent);
}

#[tokio::test(start_paused = true)]
async fn s8_no_reply_to_the_dot_is_doubt_after_ten_minutes() {
    let (outcome, took) = outcome(Takes::All, Duration::from_secs(601), &["250 ok\r\n"]).await;
    assert_eq!(outcome.verdict(), Verdict::InDoubt);
    assert_eq!(took.as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn s9_a_body_of_which_no_byte_is_taken_is_given_up_after_three_minutes() {
    let (outcome, took) = outcome(Takes::Nothing, Duration::from_secs(1000), &[""]).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert_eq!(took.as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn s8_a_reply_that_trickles_in_has_no_more_time_than_one_that_comes_at_once() {
    let trickles = &["550-no\r\n"; 30];
    let (outcome, took) = outcome(Takes::All, Duration::from_secs(35), trickles).await;
    assert_eq!(outcome.verdict(), Verdict::InDoubt);
    assert_eq!(took.as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn s9_a_body_that_is_taken_slowly_is_given_up_after_four_minutes() {
    let (outcome, took) = outcome(Takes::Slowly, Duration::ZERO, &[]).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert_eq!(took.as_secs(), 240);
}

#[tokio::test(start_paused = true)]
async fn each_command_of_a_group_has_its_own_time_from_the_reply_before_on() {
    let replies = ["250-hi\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n"];
    let wait = Duration::from_secs(100);
    for (answered, phase, seconds) in [
        (1, Phase::Mail, 300),
        (2, Phase::Rcpt, 100 + 300),
        (3, Phase::Data, 200 + 120),
    ] {
        let (ours, theirs) = duplex(256);
        let relay = async move { ends(greet(theirs, &replies[..answered], wait).await).await };
        let relay = tokio::spawn(relay);
        let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
        let begun = tokio::time::Instant::now();
        let failure = connection.envelope(&message().0).await.unwrap_err();
        assert_eq!((failure.phase, failure.cause), (phase, Cause::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), seconds, "{phase}");
        drop(connection);
        relay.await.unwrap();
    }
}

#[tokio::test]
async fn without_an_envelope_nothing_is_transmitted() {
    let (ours, theirs) = duplex(256);
    let relay = tokio::spawn(relay(theirs, Takes::All, Duration::ZERO, &[""]));
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let outcome = connection.transmit(&message().1, None).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert!(!connection.is_ready());
    relay.abort();
}

#[tokio::test(start_paused = true)]
async fn k5_past_its_fence_a_message_is_broken_off_before_its_dot() {
    let (ours, theirs) = duplex(256);
    // the pipe holds a part of the message, and takes the rest a minute later
    let relay = tokio::spawn(relay(theirs, Takes::Nothing, Duration::from_mins(1), &[""]));
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let (envelope, wire) = message();
    connection.envelope(&envelope).await.unwrap();
    let begun = tokio::time::Instant::now();
    connection.set_fence(Box::new(move || begun.elapsed().as_secs() >= 30));
    let Outcome::Failed(failure) = connection.transmit(&wire, None).await else {
        panic!("nobody accepted it");
    };
    assert_eq!(
        (failure.phase, &failure.cause),
        (Phase::Body, &Cause::Fenced)
    );
    assert_eq!(failure.verdict(), Verdict::NotSent);
    drop(connection);
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s2_a_greeting_and_a_hello_may_take_five_minutes_each() {
    for (said, phase) in [("", Phase::Greeting), ("220 hi\r\n", Phase::Ehlo)] {
        let (ours, theirs) = duplex(256);
        let relay = tokio::spawn(async move {
            let mut pipe = BufReader::new(theirs);
            pipe.write_all(said.as_bytes()).await.unwrap();
            ends(pipe).await;
        });
        let begun = tokio::time::Instant::now();
        let Err(failure) = connector().open_over(ours, Pipelining::Full).await else {
            panic!("nobody answered");
        };
        assert_eq!((failure.phase, failure.cause), (phase, Cause::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 300, "{phase}");
        relay.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn s7_a_yes_counts_though_what_went_along_with_the_message_was_not_taken() {
    // a pipe that holds less than what goes along
    let (ours, theirs) = duplex(16);
    let replies = [
        "250-hi\r\n250 PIPELINING\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    let relay = tokio::spawn(async move {
        let mut pipe = greet(theirs, &replies, Duration::ZERO).await;
        let mut body = String::new();
        while !body.ends_with("\r\n.\r\n") {
            pipe.read_line(&mut body).await.unwrap();
        }
        pipe.write_all(b"250 ok\r\n").await.unwrap();
    });
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let (envelope, wire) = message();
    connection.envelope(&envelope).await.unwrap();
    let outcome = connection.transmit(&wire, Some(&envelope)).await;
    relay.await.unwrap();
    assert_eq!(outcome.verdict(), Verdict::Sent);
}

#[tokio::test(start_paused = true)]
async fn the_farewell_of_a_relay_that_has_closed_is_the_reason_that_is_told() {
    let (ours, theirs) = duplex(256);
    let relay = tokio::spawn(async move {
        let mut pipe = greet(theirs, &["250 hi\r\n"], Duration::ZERO).await;
        pipe.write_all(b"421 4.3.2 shutting down\r\n")
            .await
            .unwrap();
    });
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    relay.await.unwrap();
    let failure = connection.envelope(&message().0).await.unwrap_err();
    assert_eq!(failure.verdict(), Verdict::RelayBackOff(None));
    assert!(failure.to_string().contains("shutting down"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn s11_half_a_reply_before_the_dot_is_waited_for_twenty_seconds() {
    let (outcome, took) = outcome(Takes::Nothing, Duration::from_secs(1), &["552 5.3"]).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert_eq!(took.as_secs(), 1 + 20);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_answer_whether_it_begins_anew_is_given_up_after_twenty_seconds() {
    let (ours, theirs) = duplex(256);
    let replies = ["250 hi\r\n", "250 ok\r\n", "550 no\r\n"];
    let relay = async move { ends(greet(theirs, &replies, Duration::ZERO).await).await };
    let relay = tokio::spawn(relay);
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let envelope = message().0;
    let refusal = connection.envelope(&envelope).await.unwrap_err();
    assert_eq!(refusal.verdict(), Verdict::Refused);
    let begun = tokio::time::Instant::now();
    let failure = connection.envelope(&envelope).await.unwrap_err();
    assert_eq!(
        (failure.phase, failure.cause),
        (Phase::Rset, Cause::TimedOut)
    );
    assert_eq!(begun.elapsed().as_secs(), 20);
    drop(connection);
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_not_taken_is_given_up_after_twenty_seconds() {
    // a pipe that holds less than a command
    let (ours, theirs) = duplex(16);
    let relay = async move { greet(theirs, &["250 hi\r\n"], Duration::ZERO).await };
    let relay = tokio::spawn(relay);
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let unread = relay.await.unwrap();
    let begun = tokio::time::Instant::now();
    let failure = connection.envelope(&message().0).await.unwrap_err();
    assert_eq!(
        (failure.phase, failure.cause),
        (Phase::Mail, Cause::TimedOut)
    );
    assert_eq!(begun.elapsed().as_secs(), 20 + 5, "and 5 for a farewell");
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_goodbye_is_waited_for_five_seconds() {
    let (ours, theirs) = duplex(256);
    let relay = async move { greet(theirs, &["250 hi\r\n"], Duration::ZERO).await };
    let relay = tokio::spawn(relay);
    let connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let mut silent = relay.await.unwrap();
    let begun = tokio::time::Instant::now();
    connection.quit().await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    let mut said = String::new();
    silent.read_line(&mut said).await.unwrap();
    assert_eq!(said, "QUIT\r\n");
}

#[tokio::test]
async fn a_relay_is_greeted_with_the_name_that_is_configured() {
    let (ours, mut theirs) = duplex(256);
    theirs.write_all(b"220 hi\r\n250 hi\r\n").await.unwrap();
    let config = RelayConfig {
        ehlo_name: EhloName::parse("news.example.org").unwrap(),
        ..connector().config().clone()
    };
    let connector = Connector::new(config, Deadlines::default()).unwrap();
    let _connection = connector.open_over(ours, Pipelining::Full).await.unwrap();
    let mut said = String::new();
    BufReader::new(theirs).read_line(&mut said).await.unwrap();
    assert_eq!(said, "EHLO news.example.org\r\n");
}

/// A connection that may write its message, and the relay's end of it.
async fn addressed(deadlines: Deadlines) -> (Connection, Wire, DuplexStream) {
    let (ours, mut theirs) = duplex(4096);
    let good = "220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n";
    theirs.write_all(good.as_bytes()).await.unwrap();
    let connector = Connector::new(connector().config().clone(), deadlines).unwrap();
    let mut connection = connector.open_over(ours, Pipelining::Full).await.unwrap();
    let (envelope, wire) = message();
    connection.envelope(&envelope).await.unwrap();
    (connection, wire, theirs)
}

#[tokio::test]
async fn s11_a_yes_that_came_before_the_message_was_begun_is_not_its_answer() {
    let (mut connection, wire, mut relay) = addressed(Deadlines::default()).await;
    relay.write_all(b"250 2.0.0 queued\r\n").await.unwrap();
    let outcome = connection.transmit(&wire, None).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert!(!connection.is_ready());
}

#[tokio::test(start_paused = true)]
async fn s11_half_a_reply_before_the_dot_has_no_more_time_than_the_reply_to_it() {
    let deadlines = Deadlines {
        dot: Duration::from_secs(5),
        ..Deadlines::default()
    };
    let (mut connection, wire, mut relay) = addressed(deadlines).await;
    relay.write_all(b"552 5.3").await.unwrap();
    let begun = tokio::time::Instant::now();
    let outcome = connection.transmit(&wire, None).await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn s7_what_goes_along_with_a_message_holds_back_its_yes_no_longer_than_a_body_may_take() {
    // a pipe that holds less than what goes along, of which nothing is read
    let (ours, theirs) = duplex(16);
    let good = ["250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    let relay = tokio::spawn(async move {
        let mut pipe = greet(theirs, &good, Duration::ZERO).await;
        let mut body = String::new();
        while !body.ends_with("\r\n.\r\n") {
            pipe.read_line(&mut body).await.unwrap();
        }
        pipe.write_all(b"250 ok\r\n").await.unwrap();
        pipe
    });
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    let (envelope, wire) = message();
    connection.envelope(&envelope).await.unwrap();
    let begun = tokio::time::Instant::now();
    let transmit = connection.transmit(&wire, Some(&envelope));
    let outcome = timeout(Duration::from_hours(1), transmit).await;
    let outcome = outcome.expect("it is written no longer");
    assert_eq!(outcome.verdict(), Verdict::Sent);
    assert_eq!(begun.elapsed().as_secs(), 240);
    drop(relay.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn so_many_commands_leave_together_as_the_relay_is_trusted_with() {
    for (pipelining, together) in [
        (Pipelining::Full, "EHLO MAIL RCPT DATA"),
        (Pipelining::DataAlone, "EHLO MAIL RCPT"),
        (Pipelining::Off, "EHLO MAIL"),
    ] {
        let (ours, mut theirs) = duplex(4096);
        let hello = b"220 hi\r\n250-hi\r\n250 PIPELINING\r\n";
        theirs.write_all(hello).await.unwrap();
        let mut connection = connector().open_over(ours, pipelining).await.unwrap();
        // nothing of it is answered
        let failure = connection.envelope(&message().0).await.unwrap_err();
        assert_eq!(failure.cause, Cause::TimedOut);
        drop(connection);
        let mut said = String::new();
        theirs.read_to_string(&mut said).await.unwrap();
        let verbs: Vec<_> = said.lines().map(|line| &line[..4]).collect();
        assert_eq!(verbs.join(" "), together, "{pipelining:?}");
    }
}

#[tokio::test]
async fn a_connection_that_its_relay_closed_without_a_word_is_not_quiet() {
    let (ours, mut theirs) = duplex(256);
    theirs.write_all(b"220 hi\r\n250 hi\r\n").await.unwrap();
    let mut connection = connector().open_over(ours, Pipelining::Full).await.unwrap();
    assert!(connection.is_quiet().await);
    drop(theirs);
    assert!(!connection.is_quiet().await);
}
