//! Logging in (RFC 4954): PLAIN, else LOGIN.

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::Auth;
use secrecy::ExposeSecret;

use super::connection::Connection;
use super::outcome::{Cause, Failure, Phase};
use super::relay_config::RelayConfig;

impl Connection {
    /// Logs in if the relay's configuration names a user.
    pub(super) async fn log_in(&mut self, config: &RelayConfig) -> Result<(), Failure> {
        let Some((user, password)) = &config.login else {
            return Ok(());
        };
        if !self.is_encrypted() {
            return Err(unfit(
                "a log-in without TLS would show the password to everyone on the way",
            ));
        }
        let Some(mechanism) = self.capabilities().mechanism else {
            let offered = self.capabilities().mechanisms.join(", ");
            let offered = if offered.is_empty() { "none" } else { &offered };
            return Err(unfit(&format!(
                "the relay offers neither AUTH PLAIN nor AUTH LOGIN (offered: {offered})"
            )));
        };
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        self.present(mechanism, credentials).await
    }

    async fn present(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
    ) -> Result<(), Failure> {
        let mut command = Auth::new(mechanism, credentials.clone(), None)
            .map_err(|_| unfit("the user or password cannot be sent"))?;
        // LOGIN asks twice, for the user and for the password. PLAIN has said everything at once.
        let mut questions_left = match mechanism {
            Mechanism::Login => 2,
            Mechanism::Plain | Mechanism::Xoauth2 => 0,
        };
        loop {
            let limit = self.deadlines.auth;
            let reply = self.ask(Phase::Auth, &command.to_string(), limit).await?;
            match reply.code {
                235 => return Ok(()),
                334 if questions_left > 0 => questions_left -= 1,
                334 => {
                    return Err(unfit(&format!(
                        "the relay asks for more than AUTH {mechanism} has to say"
                    )));
                }
                _ => return Err(Failure::new(Phase::Auth, Cause::Reply(reply))),
            }
            command = reply
                .to_response()
                .and_then(|question| {
                    Auth::new_from_response(mechanism, credentials.clone(), &question).ok()
                })
                .ok_or_else(|| {
                    unfit("the relay's AUTH LOGIN asks for neither user nor password")
                })?;
        }
    }
}

fn unfit(reason: &str) -> Failure {
    Failure::new(Phase::Auth, Cause::Unfit(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::super::capabilities::Capabilities;
    use super::super::connection::Pipelining;
    use super::super::deadlines::Deadlines;
    use super::super::outcome::Verdict;
    use super::super::relay_config::EhloName;
    use super::*;
    use crate::config::RelayTls;

    /// Logs in over `pipe` with AUTH LOGIN, as if TLS protected it.
    async fn log_in(pipe: DuplexStream) -> Result<(), Failure> {
        let deadlines = Deadlines::default();
        let mut connection = Connection::new(Box::new(pipe), true, deadlines, Pipelining::Full);
        connection.set_capabilities(Capabilities {
            mechanism: Some(Mechanism::Login),
            ..Capabilities::default()
        });
        let config = RelayConfig {
            name: "pipe".to_owned(),
            host: "localhost".to_owned(),
            port: 25,
            tls: RelayTls::Implicit,
            login: Some(("ada".to_owned(), SecretString::from("right"))),
            max_connections: 1,
            ehlo_name: EhloName::of_this_machine(),
            extra_roots: None,
        };
        connection.log_in(&config).await
    }

    /// What a log-in ends in where the relay answers so.
    async fn answered(answer: &str) -> Result<(), Failure> {
        let (ours, mut theirs) = duplex(256);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        log_in(ours).await
    }

    #[tokio::test(start_paused = true)]
    async fn s13_each_step_of_a_log_in_may_take_a_minute() {
        let (ours, mut theirs) = duplex(256);
        let begun = Instant::now();
        let asks = async {
            sleep(Duration::from_secs(50)).await;
            theirs.write_all(b"334 VXNlcm5hbWU6\r\n").await.unwrap();
        };
        let (ended, ()) = tokio::join!(log_in(ours), asks);
        let failure = ended.unwrap_err();
        assert_eq!(
            (failure.phase, failure.cause),
            (Phase::Auth, Cause::TimedOut)
        );
        assert_eq!(begun.elapsed().as_secs(), 50 + 60);
    }

    #[tokio::test]
    async fn s13_a_relay_that_asks_for_neither_user_nor_password_is_halted() {
        for question in ["Q2FwdGNoYTo=", "not base64", ""] {
            let failure = answered(&format!("334 {question}\r\n")).await;
            let failure = failure.unwrap_err();
            assert_eq!(failure.verdict(), Verdict::RelayHalted, "{failure}");
        }
    }

    #[tokio::test]
    async fn s13_nothing_but_235_says_that_the_log_in_is_done() {
        for answer in ["250 2.0.0 ok\r\n", "200 ok\r\n"] {
            let failure = answered(answer).await.unwrap_err();
            assert_eq!(failure.verdict(), Verdict::RelayBackOff(None), "{answer}");
        }
    }
}
