//! From a host and a port to a connection that is ready for a message.

use lettre::transport::smtp::commands::{Ehlo, Starttls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::capabilities::Capabilities;
use super::connection::{Connection, Pipelining, Stream};
use super::deadlines::Deadlines;
use super::outcome::{Cause, Failure, Phase};
use super::relay_config::RelayConfig;
use super::tls::{self, TlsSetupError};
use crate::config::RelayTls;

/// Opens connections to one relay.
#[derive(Clone)]
pub struct Connector {
    config: RelayConfig,
    deadlines: Deadlines,
    tls: Option<TlsConnector>,
}

/// A connection whose greeting was heard.
pub struct Greeted {
    connection: Connection,
    pipelining: Pipelining,
}

impl Connector {
    /// Reads the trusted roots, once, unless the relay is spoken to in clear.
    pub fn new(config: RelayConfig, deadlines: Deadlines) -> Result<Self, TlsSetupError> {
        let tls = match config.tls {
            RelayTls::Implicit | RelayTls::StartTls => {
                Some(tls::connector(config.extra_roots.as_deref())?)
            }
            RelayTls::None => None,
        };
        Ok(Self {
            config,
            deadlines,
            tls,
        })
    }

    /// Which relay it is.
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// The deadlines of each phase.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Connects, protects the connection, says hello and logs in.
    pub async fn open(&self, pipelining: Pipelining) -> Result<Connection, Failure> {
        let greeted = self.connect(pipelining).await?;
        self.introduce(greeted).await
    }

    /// Connects and hears the greeting, by which the relay has taken the connection.
    pub async fn connect(&self, pipelining: Pipelining) -> Result<Greeted, Failure> {
        let target = (self.config.host.as_str(), self.config.port);
        let stream = timeout(self.deadlines.connect, TcpStream::connect(target))
            .await
            .map_err(|_| Failure::new(Phase::Connect, Cause::TimedOut))?
            .map_err(|error| Failure::new(Phase::Connect, Cause::Lost(error.to_string())))?;
        // Without it the kernel holds back the dot until the body is acknowledged: some 40 ms per message.
        stream
            .set_nodelay(true)
            .map_err(|error| Failure::new(Phase::Connect, Cause::Lost(error.to_string())))?;
        self.greeted(stream, pipelining).await
    }

    /// The same over a stream that is connected already, such as a pipe.
    pub async fn open_over(
        &self,
        stream: impl Stream + 'static,
        pipelining: Pipelining,
    ) -> Result<Connection, Failure> {
        let greeted = self.greeted(stream, pipelining).await?;
        self.introduce(greeted).await
    }

    async fn greeted(
        &self,
        stream: impl Stream + 'static,
        pipelining: Pipelining,
    ) -> Result<Greeted, Failure> {
        let stream: Box<dyn Stream> = Box::new(stream);
        let (stream, encrypted) = match self.config.tls {
            RelayTls::Implicit => (self.protect(stream).await?, true),
            RelayTls::StartTls | RelayTls::None => (stream, false),
        };
        let mut connection = Connection::new(stream, encrypted, self.deadlines.clone(), pipelining);
        let limit = self.deadlines.greeting;
        let greeting = connection.read_reply(Phase::Greeting, limit).await?;
        if greeting.code != 220 {
            return Err(Failure::new(Phase::Greeting, Cause::Reply(greeting)));
        }
        Ok(Greeted {
            connection,
            pipelining,
        })
    }

    /// Says hello, protects the connection where that comes only now, and logs in.
    pub async fn introduce(&self, greeted: Greeted) -> Result<Connection, Failure> {
        let Greeted {
            mut connection,
            pipelining,
        } = greeted;
        self.hello(&mut connection).await?;
        if self.config.tls == RelayTls::StartTls {
            connection = self.start_tls(connection, pipelining).await?;
            self.hello(&mut connection).await?;
        }
        connection.log_in(&self.config).await?;
        connection.ready();
        Ok(connection)
    }

    async fn hello(&self, connection: &mut Connection) -> Result<(), Failure> {
        let command = Ehlo::new(self.config.ehlo_name.client_id()).to_string();
        let reply = connection
            .ask(Phase::Ehlo, &command, self.deadlines.ehlo)
            .await?;
        if reply.code != 250 {
            return Err(Failure::new(Phase::Ehlo, Cause::Reply(reply)));
        }
        connection.set_capabilities(Capabilities::from_ehlo(&reply));
        Ok(())
    }

    async fn start_tls(
        &self,
        mut connection: Connection,
        pipelining: Pipelining,
    ) -> Result<Connection, Failure> {
        if !connection.capabilities().starttls {
            let reason = "the relay does not offer STARTTLS, and nothing is sent in clear: use smtps:// or another port";
            return Err(unfit(reason));
        }
        let reply = connection
            .ask(
                Phase::StartTls,
                &Starttls.to_string(),
                self.deadlines.starttls,
            )
            .await?;
        if reply.code != 220 {
            return Err(Failure::new(Phase::StartTls, Cause::Reply(reply)));
        }
        // What came in clear behind the 220 would be taken for an answer from within TLS.
        let stream = connection
            .into_stream()
            .ok_or_else(|| unfit("somebody put bytes behind the relay's answer to STARTTLS"))?;
        let stream = self.protect(stream).await?;
        Ok(Connection::new(
            stream,
            true,
            self.deadlines.clone(),
            pipelining,
        ))
    }

    async fn protect(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Failure> {
        let connector = self
            .tls
            .as_ref()
            .expect("made in `new` for every relay that speaks TLS");
        let name = ServerName::try_from(self.config.host.clone()).map_err(|_| {
            let reason = format!("{} cannot be the name in a certificate", self.config.host);
            Failure::new(Phase::Tls, Cause::Unfit(reason))
        })?;
        let stream = timeout(self.deadlines.tls, connector.connect(name, stream))
            .await
            .map_err(|_| Failure::new(Phase::Tls, Cause::TimedOut))?
            .map_err(|error| tls::handshake_failure(&error))?;
        Ok(Box::new(stream))
    }
}

fn unfit(reason: &str) -> Failure {
    Failure::new(Phase::StartTls, Cause::Unfit(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::super::relay_config::EhloName;
    use super::*;

    fn connector() -> Connector {
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("ca.pem");
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&roots, own.cert.pem()).unwrap();
        let config = RelayConfig {
            name: "pipe".to_owned(),
            host: "localhost".to_owned(),
            port: 25,
            tls: RelayTls::StartTls,
            login: None,
            max_connections: 1,
            ehlo_name: EhloName::of_this_machine(),
            extra_roots: Some(roots),
        };
        Connector::new(config, Deadlines::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn s12_starttls_may_take_five_minutes_and_the_handshake_behind_it_half_of_one() {
        let connector = connector();
        for (answer, phase, limit) in [
            ("", Phase::StartTls, Duration::from_mins(5)),
            ("220 go\r\n", Phase::Tls, Duration::from_secs(30)),
        ] {
            // the relay's end stays open
            let (ours, mut theirs) = duplex(4096);
            let said = format!("220 hi\r\n250-hi\r\n250 STARTTLS\r\n{answer}");
            theirs.write_all(said.as_bytes()).await.unwrap();
            let begun = Instant::now();
            let Err(failure) = connector.open_over(ours, Pipelining::Full).await else {
                panic!("nobody answered");
            };
            assert_eq!((failure.phase, failure.cause), (phase, Cause::TimedOut));
            assert_eq!(begun.elapsed().as_secs(), limit.as_secs(), "{phase}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s12_a_step_of_the_opening_is_done_with_its_own_yes_alone() {
        let connector = connector();
        for (said, phase) in [
            ("220 hi\r\n251 hi\r\n", Phase::Ehlo),
            (
                "220 hi\r\n250-hi\r\n250 STARTTLS\r\n250 go\r\n",
                Phase::StartTls,
            ),
        ] {
            // the relay's end stays open
            let (ours, mut theirs) = duplex(4096);
            theirs.write_all(said.as_bytes()).await.unwrap();
            let Err(failure) = connector.open_over(ours, Pipelining::Full).await else {
                panic!("{said:?} is taken");
            };
            assert_eq!(failure.phase, phase, "{failure}");
            assert!(failure.reply().is_some(), "{failure}");
        }
    }
}
