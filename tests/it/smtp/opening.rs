use paperround::smtp::outcome::{Cause, Phase};
use secrecy::SecretString;

use super::*;
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Authority, Offers, Step};

async fn failure(server: &SmtpServer) -> Failure {
    open(connector(server)).await
}

async fn open(connector: Connector) -> Failure {
    match connector.open(Pipelining::Full).await {
        Ok(_) => panic!("the relay was taken"),
        Err(failure) => failure,
    }
}

fn tls_connector(
    server: &SmtpServer,
    authority: Option<&Authority>,
    login: Option<&str>,
    implicit: bool,
) -> Connector {
    let config = RelayConfig {
        host: "localhost".to_owned(),
        tls: if implicit {
            RelayTls::Implicit
        } else {
            RelayTls::StartTls
        },
        login: login.map(|password| ("ada".to_owned(), SecretString::from(password))),
        extra_roots: authority.map(|authority| authority.pem_file().to_owned()),
        ..config(server)
    };
    Connector::new(config, Deadlines::all(LIMIT)).unwrap()
}

fn offers(authority: &Authority, implicit_tls: bool, mechanisms: &str) -> Offers {
    Offers {
        tls: Some(authority.server_for("localhost")),
        implicit_tls,
        login: Some(("ada".to_owned(), "right".to_owned())),
        mechanisms: mechanisms.to_owned(),
        ..Offers::default()
    }
}

#[tokio::test]
async fn s2_a_banner_that_refuses_is_late_or_trickles_lets_the_relay_rest() {
    let server = SmtpServer::start().await;
    for (act, phase) in [
        (
            Act::reply("421 4.3.2 busy").then(After::Close),
            Phase::Greeting,
        ),
        (
            Act::reply("554 5.3.2 go away").then(After::Close),
            Phase::Greeting,
        ),
        (Act::close(), Phase::Greeting),
        (Act::stall(), Phase::Greeting),
        (Act::bytes("22").then(After::Stall), Phase::Greeting),
        (Act::reply("no smtp here"), Phase::Greeting),
        (Act::reply("250 odd"), Phase::Greeting),
    ] {
        server.script().once(Step::Banner, act.clone());
        let failure = failure(&server).await;
        assert_eq!(
            (failure.phase, failure.verdict()),
            (phase, Verdict::RelayBackOff(None)),
            "{act:?}"
        );
    }
    server
        .script()
        .once(Step::Ehlo, Act::reply("502 5.5.1 what"));
    assert_eq!(failure(&server).await.phase, Phase::Ehlo);
    assert!(connect(&server).await.is_ready());
}

#[tokio::test]
async fn s1_nobody_listening_lets_the_relay_rest() {
    let server = SmtpServer::start().await;
    let connector = connector(&server);
    drop(server);
    tokio::task::yield_now().await;
    let failure = open(connector).await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::Connect, Verdict::RelayBackOff(None))
    );
}

#[tokio::test]
async fn starttls_and_implicit_tls_carry_mail_with_either_mechanism() {
    let authority = Authority::new();
    for (implicit, mechanisms) in [
        (false, "PLAIN LOGIN"),
        (true, "PLAIN"),
        (false, "LOGIN"),
        (true, "XOAUTH2 LOGIN"),
    ] {
        let server = SmtpServer::offering(offers(&authority, implicit, mechanisms)).await;
        let connector = tls_connector(&server, Some(&authority), Some("right"), implicit);
        let mut connection = connector.open(Pipelining::Full).await.unwrap();
        assert!(connection.is_encrypted());
        assert_eq!(
            end(&mut connection, "one", "ada@example.org", 300_000)
                .await
                .0,
            Verdict::Sent
        );
        connection.quit().await;
        assert_eq!(ids(&server), ["<one@news.example>"], "{mechanisms}");
    }
}

#[tokio::test]
async fn s12_a_certificate_of_unknown_origin_or_for_another_name_halts_the_relay() {
    let authority = Authority::new();
    let stranger = Authority::new();
    for (certificate, trusted) in [("localhost", &stranger), ("elsewhere.example", &authority)] {
        for implicit_tls in [true, false] {
            let offers = Offers {
                tls: Some(authority.server_for(certificate)),
                ..offers(&authority, implicit_tls, "PLAIN")
            };
            let server = SmtpServer::offering(offers).await;
            let failure = open(tls_connector(
                &server,
                Some(trusted),
                Some("right"),
                implicit_tls,
            ))
            .await;
            assert_eq!(
                (failure.phase, failure.verdict()),
                (Phase::Tls, Verdict::RelayHalted),
                "{failure}"
            );
            assert_eq!(server.counters().logins, 0);
        }
    }
}

#[tokio::test]
async fn s12_starttls_that_is_stripped_refused_or_injected_sends_nothing_in_clear() {
    let authority = Authority::new();
    let stripped = SmtpServer::start().await;
    let failure = open(tls_connector(&stripped, Some(&authority), None, false)).await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::StartTls, Verdict::RelayHalted)
    );

    let server = SmtpServer::offering(offers(&authority, false, "PLAIN")).await;
    let connector = || tls_connector(&server, Some(&authority), Some("right"), false);
    server
        .script()
        .once(Step::StartTls, Act::reply("454 4.7.0 not now"));
    assert_eq!(
        open(connector()).await.verdict(),
        Verdict::RelayBackOff(None)
    );
    let injected = Act::bytes("220 go\r\n235 2.7.0 welcome\r\n").then(After::Continue);
    server.script().once(Step::StartTls, injected);
    let failure = open(connector()).await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::StartTls, Verdict::RelayHalted)
    );
    assert!(failure.to_string().contains("behind"), "{failure}");
    assert_eq!(server.counters().logins, 0);
}

#[tokio::test]
async fn s12_a_tls_handshake_that_stalls_lets_the_relay_rest() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, false, "PLAIN")).await;
    server
        .script()
        .once(Step::StartTls, Act::reply("220 go").then(After::Stall));
    let failure = open(tls_connector(
        &server,
        Some(&authority),
        Some("right"),
        false,
    ))
    .await;
    assert_eq!(
        (failure.phase, failure.cause),
        (Phase::Tls, Cause::TimedOut)
    );
    // A port that speaks in clear where TLS was meant says so at once.
    let plain = SmtpServer::start().await;
    let failure = open(tls_connector(&plain, Some(&authority), None, true)).await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::Tls, Verdict::RelayHalted),
        "{failure}"
    );
}

#[tokio::test]
async fn s13_a_wrong_password_halts_and_never_shows_itself() {
    let authority = Authority::new();
    for mechanisms in ["PLAIN", "LOGIN"] {
        let server = SmtpServer::offering(offers(&authority, true, mechanisms)).await;
        let failure = open(tls_connector(
            &server,
            Some(&authority),
            Some("hunter2"),
            true,
        ))
        .await;
        assert_eq!(
            (failure.phase, failure.verdict()),
            (Phase::Auth, Verdict::RelayHalted)
        );
        assert!(!format!("{failure:?} {failure}").contains("hunter2"));
        assert_eq!(server.counters().logins, 1);
    }
}

#[tokio::test]
async fn s13_a_log_in_that_cannot_be_is_halted_with_its_reason() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, true, "GSSAPI XOAUTH2")).await;
    let connector = || tls_connector(&server, Some(&authority), Some("right"), true);
    let failure = open(connector()).await;
    assert_eq!(failure.verdict(), Verdict::RelayHalted);
    assert!(failure.to_string().contains("GSSAPI, XOAUTH2"), "{failure}");

    let server = SmtpServer::offering(offers(&authority, true, "PLAIN")).await;
    let connector = || tls_connector(&server, Some(&authority), Some("right"), true);
    for (act, verdict) in [
        (Act::reply("334 "), Verdict::RelayHalted),
        (
            Act::reply("454 4.7.0 later"),
            Verdict::RelayBackOff(Some(Duration::from_mins(30))),
        ),
        (Act::reply("432 4.7.12 change"), Verdict::RelayBackOff(None)),
        (Act::close(), Verdict::RelayBackOff(None)),
        (Act::stall(), Verdict::RelayBackOff(None)),
    ] {
        server.script().once(Step::Auth, act.clone());
        assert_eq!(open(connector()).await.verdict(), verdict, "{act:?}");
    }
}

#[tokio::test]
async fn s13_a_refused_log_in_is_tried_once_an_hour() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, true, "PLAIN")).await;
    let clock = clock();
    let connector = tls_connector(&server, Some(&authority), Some("wrong"), true);
    let relay = relay_over(connector, clock.clone());
    for logins in 1..=3 {
        for _ in 0..5 {
            assert!(relay.open().await.is_err());
        }
        assert_eq!(server.counters().logins, logins);
        clock.advance(Duration::from_mins(59));
        assert!(relay.open().await.is_err());
        assert_eq!(
            server.counters().logins,
            logins,
            "not before the hour is over"
        );
        clock.advance(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn s13_a_relay_that_takes_no_log_in_for_a_while_rests_half_an_hour() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, true, "PLAIN")).await;
    let clock = clock();
    let connector = tls_connector(&server, Some(&authority), Some("right"), true);
    let relay = relay_over(connector, clock.clone());
    server
        .script()
        .once(Step::Auth, Act::reply("454 4.7.0 later"));
    assert!(relay.open().await.is_err());
    clock.advance(Duration::from_mins(29));
    assert!(relay.open().await.is_err());
    assert_eq!(server.counters().logins, 1, "not before it is over");
    clock.advance(Duration::from_mins(7));
    assert!(relay.open().await.is_ok());
}

#[tokio::test]
async fn s12_a_password_is_not_said_where_nothing_protects_it() {
    let server = SmtpServer::start().await;
    let offer = Act::bytes("250-scripted\r\n250 AUTH PLAIN LOGIN\r\n");
    server.script().once(Step::Ehlo, offer);
    let config = RelayConfig {
        login: Some(("ada".to_owned(), SecretString::from("right"))),
        ..config(&server)
    };
    let failure = open(Connector::new(config, Deadlines::all(LIMIT)).unwrap()).await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::Auth, Verdict::RelayHalted)
    );
    assert_eq!(server.counters().logins, 0);
}

#[tokio::test]
async fn s13_a_relay_that_asks_on_behind_the_password_hears_no_more_and_is_halted() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, true, "LOGIN")).await;
    let again = Act::reply("334 UGFzc3dvcmQ6");
    server.script().once(Step::Auth, again);
    let failure = open(tls_connector(
        &server,
        Some(&authority),
        Some("right"),
        true,
    ))
    .await;
    assert_eq!(
        (failure.phase, failure.verdict()),
        (Phase::Auth, Verdict::RelayHalted)
    );
    assert!(failure.to_string().contains("asks for more"), "{failure}");
}

#[tokio::test]
async fn within_starttls_commands_are_grouped_as_the_relay_is_trusted() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, false, "PLAIN")).await;
    let connector = tls_connector(&server, Some(&authority), Some("right"), false);
    for (pipelining, expected) in [
        (Pipelining::Full, true),
        (Pipelining::DataAlone, false),
        (Pipelining::Off, false),
    ] {
        let connection = connector.open(pipelining).await.unwrap();
        assert_eq!(connection.takes_groups(), expected, "{pipelining:?}");
    }
}

#[tokio::test]
async fn within_starttls_a_relay_is_waited_for_as_long_as_without_it() {
    let authority = Authority::new();
    let server = SmtpServer::offering(offers(&authority, false, "PLAIN")).await;
    server.script().once(Step::Mail, Act::stall());
    let connector = tls_connector(&server, Some(&authority), Some("right"), false);
    let mut connection = connector.open(Pipelining::Full).await.unwrap();
    let ended = end(&mut connection, "one", "ada@example.org", 100);
    let ended = tokio::time::timeout(LIMIT * 10, ended).await;
    let (_, failure) = ended.expect("its own deadline is shorter");
    assert_eq!(failure.unwrap().cause, Cause::TimedOut);
}
