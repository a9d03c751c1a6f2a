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
