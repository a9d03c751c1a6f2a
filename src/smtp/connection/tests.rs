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

/// A relay that answers well up to the 354, and then, after `delay`, writes `answer`.
async fn relay(pipe: DuplexStream, reads_the_body: bool, delay: Duration, answer: &'static str) {
    let mut pipe = BufReader::new(pipe);
    pipe.write_all(b"220 hi\r\n").await.unwrap();
    let mut line = String::new();
    for reply in ["250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        pipe.read_line(&mut line).await.unwrap();
        pipe.write_all(reply.as_bytes()).await.unwrap();
    }
    if reads_the_body {
        while !line.ends_with("\r\n.\r\n") {
            pipe.read_line(&mut line).await.unwrap();
        }
    }
    sleep(delay).await;
    let _ = pipe.write_all(answer.as_bytes()).await;
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).await.unwrap();
}

async fn outcome(
    reads_the_body: bool,
    delay: Duration,
    answer: &'static str,
) -> (Outcome, Duration) {
    let (ours, theirs) = duplex(256);
    let relay = tokio::spawn(relay(theirs, reads_the_body, delay, answer));
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
    let (outcome, _) = outcome(true, Duration::from_secs(590), "250 ok\r\n").await;
    assert_eq!(outcome.verdict(), Verdict::Sent);
}

#[tokio::test(start_paused = true)]
async fn s8_no_reply_to_the_dot_is_doubt_after_ten_minutes() {
    let (outcome, took) = outcome(true, Duration::from_secs(601), "250 ok\r\n").await;
    assert_eq!(outcome.verdict(), Verdict::InDoubt);
    assert_eq!(took.as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn s9_a_body_of_which_no_byte_is_taken_is_given_up_after_three_minutes() {
    let (outcome, took) = outcome(false, Duration::from_secs(1000), "").await;
    assert_eq!(outcome.verdict(), Verdict::NotSent);
    assert_eq!(took.as_secs(), 180);
}

#[tokio::test]
async fn without_an_envelope_nothing_is_transmitted() {
    let (ours, theirs) = duplex(256);
    let relay = tokio::spawn(relay(theirs, true, Duration::ZERO, ""));
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
    let relay = tokio::spawn(relay(theirs, false, Duration::from_mins(1), ""));
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
