//! Where mail goes, whichever it is: a relay, or a folder in its place.

use std::path::PathBuf;
use std::sync::Arc;

use super::allowance::Allowance;
use super::connection::{Connector, Fence};
use super::deadlines::Deadlines;
use super::envelope::Envelope;
use super::outbox::{Outbox, OutboxLine};
use super::outcome::{Failure, Outcome};
use super::relay::{Health, Lease, Relay, Reuse, Unavailable};
use super::relay_config::RelayConfig;
use super::route::{Route, Standing, Stop, Wish};
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
    /// To relays.
    Smtp(Arc<Route>),
    /// To a folder, for want of a relay.
    Outbox(Arc<Outbox>),
}

/// What rows call the folder.
const OUTBOX: &str = "outbox";

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
    /// The relays that the settings name, else the folder `outbox` beside the data.
    pub fn from_settings(
        config: &Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ChannelError> {
        let relays = RelayConfig::from_settings(&config.smtp);
        if relays.is_empty() {
            let path = config.data_dir.join("outbox");
            let outbox = Outbox::new(&path, entropy)
                .map_err(|source| ChannelError::Outbox { path, source })?;
            return Ok(Self::Outbox(Arc::new(outbox)));
        }
        let deadlines = Deadlines {
            body: config.delivery.body_deadline,
            dot: config.delivery.reply_deadline,
            ..Deadlines::default()
        };
        let mut stops = Vec::with_capacity(relays.len());
        for (relay, allowance) in relays {
            let connector = Connector::new(relay, deadlines.clone())?;
            stops.push(Stop {
                relay: Relay::new(connector, Reuse::default(), clock.clone(), entropy.clone()),
                allowance,
            });
        }
        Ok(Self::Smtp(Route::new(stops, clock)))
    }

    /// How fast each relay may be used, where that is limited.
    pub fn allowances(&self) -> Vec<(Arc<str>, Allowance)> {
        let Self::Smtp(route) = self else {
            return Vec::new();
        };
        let limited = route.stops().iter().filter_map(|stop| {
            let allowance = stop.allowance?;
            Some((stop.relay.name().clone(), allowance))
        });
        limited.collect()
    }

    /// How each relay stands.
    pub fn standings(&self) -> Vec<Standing> {
        match self {
            Self::Smtp(route) => route.standings(),
            Self::Outbox(_) => Vec::new(),
        }
    }

    /// Whether a message with this wish goes where `line` goes, rather than elsewhere.
    pub fn keeps(&self, line: &str, wish: &Wish<'_>) -> bool {
        match self {
            Self::Smtp(route) => route.keeps(line, wish),
            Self::Outbox(_) => true,
        }
    }

    /// A relay refuses this sender. Whether another one is left for it.
    pub fn refuses(&self, relay: &str, sender: &str) -> bool {
        match self {
            Self::Smtp(route) => route.refuses(relay, sender),
            Self::Outbox(_) => false,
        }
    }

    /// How many messages may be on their way at one time.
    pub fn max_lines(&self) -> usize {
        match self {
            Self::Smtp(route) => route.max_lines(),
            Self::Outbox(_) => OUTBOX_LINES,
        }
    }

    /// Whether it may be used.
    pub fn health(&self) -> Health {
        match self {
            Self::Smtp(route) => route.health(),
            Self::Outbox(_) => Health::Ok,
        }
    }

    /// The same for one sender, whom some of its relays may refuse.
    pub fn health_for(&self, sender: &str) -> Health {
        match self {
            Self::Smtp(route) => route.health_for(sender),
            Self::Outbox(_) => Health::Ok,
        }
    }

    /// A line to hand messages to, one after another. Waits while all are in use.
    pub async fn open(&self, wish: &Wish<'_>) -> Result<Line, Unavailable> {
        match self {
            Self::Smtp(route) => route.open(wish).await.map(Line::Smtp),
            Self::Outbox(outbox) => Ok(Line::Outbox(OutboxLine::new(outbox.clone()))),
        }
    }

    /// Gives up what has been idle for too long.
    pub async fn close_idle(&self) {
        match self {
            Self::Smtp(route) => {
                for stop in route.stops() {
                    stop.relay.close_idle().await;
                }
            }
            Self::Outbox(_) => {}
        }
    }

    /// Gives up everything that is idle.
    pub async fn close(&self) {
        match self {
            Self::Smtp(route) => {
                for stop in route.stops() {
                    stop.relay.close().await;
                }
            }
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
    /// What rows call the place it leads to.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Smtp(lease) => lease.relay().clone(),
            Self::Outbox(_) => OUTBOX.into(),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{TestClock, Timestamp};
    use crate::config::Sources;
    use crate::id::SeededEntropy;

    fn channel(settings: &[(&str, &str)]) -> Channel {
        let relay = [("smtp.url", "smtp://127.0.0.1:25"), ("smtp.tls", "none")];
        channel_of(&[&relay[..], settings].concat())
    }

    fn channel_of(settings: &[(&str, &str)]) -> Channel {
        let mut sources = Sources::default()
            .with("server.base_url", "https://news.example.org")
            .with("data_dir", "/nowhere");
        for (key, value) in settings {
            sources = sources.with(key, *value);
        }
        let config = Config::load(&sources).unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::UNIX_EPOCH));
        Channel::from_settings(&config, clock, Arc::new(SeededEntropy::new(1))).unwrap()
    }

    #[test]
    fn a_mails_text_and_the_reply_to_it_have_the_times_that_the_settings_give_them() {
        let channel = channel(&[
            ("delivery.body_deadline", "2m"),
            ("delivery.reply_deadline", "8m"),
        ]);
        let Channel::Smtp(route) = channel else {
            panic!("there is a relay");
        };
        let deadlines = route.stops()[0].relay.connector().deadlines();
        let minutes = Duration::from_mins;
        assert_eq!((deadlines.body, deadlines.dot), (minutes(2), minutes(8)));
    }

    #[test]
    fn a_relay_is_used_as_fast_as_the_settings_allow() {
        assert!(channel(&[]).allowances().is_empty());
        let slow = channel(&[("smtp.rate", "14.5"), ("smtp.burst", "3")]);
        let expected = Allowance::per_second(14.5, 3);
        assert_eq!(
            slow.allowances(),
            [(Arc::<str>::from("127.0.0.1"), expected)]
        );
    }

    #[test]
    fn of_several_relays_each_that_has_a_pace_is_limited_wherever_it_stands() {
        let relays = r#"[
            {"name": "own", "url": "smtp://127.0.0.1:25", "tls": "none"},
            {"name": "slow", "url": "smtp://127.0.0.1:26", "tls": "none", "rate": 2, "burst": 3},
            {"name": "any", "url": "smtp://127.0.0.1:27", "tls": "none"},
            {"name": "last", "url": "smtp://127.0.0.1:28", "tls": "none", "rate": 5}
        ]"#;
        let slow = channel_of(&[("smtp.relays", relays)]);
        let expected = [("slow", 2.0, 3), ("last", 5.0, 1)].map(|(name, rate, burst)| {
            (Arc::<str>::from(name), Allowance::per_second(rate, burst))
        });
        assert_eq!(slow.allowances(), expected);
    }

    #[test]
    fn every_relay_has_the_times_that_the_settings_give() {
        let relays = r#"[
            {"name": "own", "url": "smtp://127.0.0.1:25", "tls": "none"},
            {"name": "next", "url": "smtp://127.0.0.1:26", "tls": "none"}
        ]"#;
        let Channel::Smtp(route) = channel_of(&[
            ("smtp.relays", relays),
            ("delivery.body_deadline", "2m"),
            ("delivery.reply_deadline", "8m"),
        ]) else {
            panic!("there are relays");
        };
        let times = route.stops().iter().map(|stop| {
            let deadlines = stop.relay.connector().deadlines();
            (deadlines.body, deadlines.dot)
        });
        let expected = (Duration::from_mins(2), Duration::from_mins(8));
        assert_eq!(times.collect::<Vec<_>>(), [expected; 2]);
    }
}
