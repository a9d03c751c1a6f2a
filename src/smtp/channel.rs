//! Where mail goes, whichever it is: a relay, or a folder in its place.

use std::path::PathBuf;
use std::sync::Arc;

use super::connection::{Connector, Fence};
use super::deadlines::Deadlines;
use super::envelope::Envelope;
use super::outbox::{Outbox, OutboxLine};
use super::outcome::{Failure, Outcome};
use super::relay::{Health, Lease, Relay, Reuse, Unavailable};
use super::relay_config::RelayConfig;
use super::tls::TlsSetupError;
use super::wire::Wire;
use crate::clock::Clock;
use crate::config::Config;
use crate::id::Entropy;

/// Files are written this many at a time.
const OUTBOX_LINES: usize = 4;

/// Where mail goes.
#[derive(Clone)]
pub enum Channel {
    /// To a relay.
    Smtp(Arc<Relay>),
    /// To a folder, for want of a relay.
    Outbox(Arc<Outbox>),
}

/// Why there is nowhere to send mail to.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The relay's certificates cannot be verified.
    #[error("cannot prepare to speak to the relay")]
    Tls(#[from] TlsSetupError),
    /// The folder that takes the relay's place cannot be made.
    #[error("cannot make the outbox folder {path}")]
    Outbox {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Channel {
    /// The relay that the settings name, else the folder `outbox` beside the data.
    pub fn from_settings(
        config: &Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ChannelError> {
        let Some(relay) = RelayConfig::from_settings(&config.smtp) else {
            let path = config.data_dir.join("outbox");
            let outbox = Outbox::new(&path, entropy)
                .map_err(|source| ChannelError::Outbox { path, source })?;
            return Ok(Self::Outbox(Arc::new(outbox)));
        };
        let deadlines = Deadlines {
            body: config.delivery.body_deadline,
            dot: config.delivery.reply_deadline,
            ..Deadlines::default()
        };
        let connector = Connector::new(relay, deadlines)?;
        Ok(Self::Smtp(Relay::new(
            connector,
            Reuse::default(),
            clock,
            entropy,
        )))
    }

    /// What rows call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Smtp(relay) => relay.name(),
            Self::Outbox(_) => "outbox",
        }
    }

    /// How many messages may be on their way at one time.
    pub fn max_lines(&self) -> usize {
        match self {
            Self::Smtp(relay) => relay.connector().config().max_connections,
            Self::Outbox(_) => OUTBOX_LINES,
        }
    }

    /// Whether it may be used.
    pub fn health(&self) -> Health {
        match self {
            Self::Smtp(relay) => relay.health(),
            Self::Outbox(_) => Health::Ok,
        }
    }

    /// A line to hand messages to, one after another. Waits while all are in use.
    pub async fn open(&self) -> Result<Line, Unavailable> {
        match self {
            Self::Smtp(relay) => relay.open().await.map(Line::Smtp),
            Self::Outbox(outbox) => Ok(Line::Outbox(OutboxLine::new(outbox.clone()))),
        }
    }

    /// Gives up what has been idle for too long.
    pub async fn close_idle(&self) {
        match self {
            Self::Smtp(relay) => relay.close_idle().await,
            Self::Outbox(_) => {}
        }
    }

    /// Gives up everything that is idle.
    pub async fn close(&self) {
        match self {
            Self::Smtp(relay) => relay.close().await,
            Self::Outbox(_) => {}
        }
    }
}

/// A connection to a relay, or a way into the folder.
pub enum Line {
    /// To a relay.
    Smtp(Lease),
    /// To a folder.
    Outbox(OutboxLine),
}

impl Line {
    /// Announces one message. `Ok` when the message itself is awaited and nothing of it has been written.
    pub async fn envelope(&mut self, envelope: &Envelope) -> Result<(), Failure> {
        match self {
            Self::Smtp(lease) => lease.envelope(envelope).await,
            Self::Outbox(line) => line.envelope(envelope).await,
        }
    }

    /// Whether announcements may go along with messages at all, and the line is good for one more.
    pub fn takes_groups(&self) -> bool {
        match self {
            Self::Smtp(lease) => lease.takes_groups(),
            Self::Outbox(_) => false,
        }
    }

    /// Whether the announcement of a next message may go along with the message before it.
    pub fn may_attach(&self, envelope: &Envelope) -> bool {
        match self {
            Self::Smtp(lease) => lease.may_attach(envelope),
            Self::Outbox(_) => false,
        }
    }

    /// Until when the next message may be ended; before its end it is asked again.
    pub fn set_fence(&mut self, fence: Fence) {
        match self {
            Self::Smtp(lease) => lease.set_fence(fence),
            // a file is there at once, or not at all
            Self::Outbox(_) => {}
        }
    }

    /// Hands over the message that was announced, and announces the next along with it if it [may](Self::may_attach).
    pub async fn transmit(&mut self, wire: &Wire, attached: Option<&Envelope>) -> Outcome {
        match self {
            Self::Smtp(lease) => lease.transmit(wire, attached).await,
            Self::Outbox(line) => line.transmit(wire).await,
        }
    }

    /// Whether an announcement that went along is still alive: [`Self::addressed`] hears what became of it.
    pub fn is_attached(&self) -> bool {
        match self {
            Self::Smtp(lease) => lease.is_attached(),
            Self::Outbox(_) => false,
        }
    }

    /// Hears what became of an announcement that went along; as [`Self::envelope`] otherwise.
    pub async fn addressed(&mut self) -> Result<(), Failure> {
        match self {
            Self::Smtp(lease) => lease.addressed().await,
            Self::Outbox(_) => Err(Failure::nothing_attached()),
        }
    }

    /// Whether another message may go over it.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Smtp(lease) => lease.is_usable(),
            Self::Outbox(_) => true,
        }
    }
}
