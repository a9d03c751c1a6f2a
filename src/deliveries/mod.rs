//! Deliveries: one queue for every mail to one reader, digests and notices alike.
//!
//! The steps are claim, mark, transmit, settle. A **claim** gives a row to one worker. The **mark** makes durable that
//! its transmission begins; it stands between the relay's 354 and the first byte of the message, and checks once more
//! that the reader still wants it. What was **transmitted** is **settled** by the relay's reply. A row whose reply was
//! lost is *in doubt*: after a grace it is sent once more, with the same bytes, or held for an operator.
//!
//! Every change is compare-and-set on state and `attempt`, which rises with each claim: a worker that lost its row
//! changes nothing.
//!
//! ```text
//! pending       claim                                        > claimed
//! claimed       mark                                         > transmitting
//! claimed       refused at MAIL, RCPT, DATA                  > pending | failed
//! claimed       released; its worker died                    > pending
//! transmitting  2xx after the dot                            > sent
//! transmitting  4xx after the dot                            > pending | failed (expired)
//! transmitting  5xx after the dot                            > failed
//! transmitting  closed before the dot was complete           > pending
//! transmitting  no complete reply; crash; lease over         > in_doubt
//! in_doubt      grace over                                   > pending | held
//! held          an operator decides                          > sent | pending | skipped
//! failed        an operator's "retry failed"                 > pending
//! pending, claimed  unsubscribed, cancelled, reader paused   > skipped
//! ```

use std::time::Duration;

use sqlx::types::Json;

use crate::clock::{Clock, Timestamp};
use crate::config::{DeliveryConfig, InDoubt};
use crate::db::Db;
use crate::id::{DeliveryId, IssueId, NewsletterId, SignupId, SubscriptionId, VariantId, WorkerId};
use crate::text_enum;

pub mod brakes;
pub mod claim;
pub mod decide;
pub mod enqueue;
pub mod finish;
pub mod list;
pub mod mailroom;
pub mod operate;
pub mod pace;
pub mod recover;
pub mod relays;
pub mod retry;
pub mod send;
pub mod settlement;
pub mod store;
pub mod worker;
pub mod writer;

text_enum! {
    /// What a delivery is.
    pub enum Kind {
        /// An issue, for one reader.
        Digest = "digest",
        /// "Please confirm."
        Confirmation = "confirmation",
        /// "You are in."
        Welcome = "welcome",
        /// "You are subscribed already; this is how to change it."
        ManageLink = "manage_link",
        /// To the operator.
        Alert = "alert",
        /// A test by the operator.
        Test = "test",
    }
}

text_enum! {
    /// How a delivery stands.
    pub enum State {
        /// Waits for its turn.
        Pending = "pending",
        /// A worker has it; nothing of it has been transmitted in this attempt.
        Claimed = "claimed",
        /// It is being transmitted, or was when something broke.
        Transmitting = "transmitting",
        /// The relay may have accepted it.
        InDoubt = "in_doubt",
        /// The relay has acknowledged it.
        Sent = "sent",
        /// Refused, or given up.
        Failed = "failed",
        /// Not sent, on purpose.
        Skipped = "skipped",
        /// Waits for an operator's decision.
        Held = "held",
    }
}

impl State {
    /// Whether something may still become of it by itself. Stored beside the state, because an index by it stays as it is
    /// while a mail is claimed and marked; the database refuses what does not agree.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Claimed | Self::Transmitting | Self::InDoubt
        )
    }
}

text_enum! {
    /// Why a delivery was skipped, failed or held.
    pub enum Reason {
        /// The reader left.
        Unsubscribed = "unsubscribed",
        /// The reader pauses.
        ReaderPaused = "reader_paused",
        /// The address must not be mailed.
        Suppressed = "suppressed",
        /// The issue was cancelled, or failed before its release.
        Cancelled = "cancelled",
        /// A newer issue brings the same.
        Superseded = "superseded",
        /// An operator decided that it was not sent.
        NotSent = "not_sent",
        /// Confirmed in the meantime, expired, or there is nothing to confirm.
        NothingToConfirm = "nothing_to_confirm",
        /// The address was written to too often.
        AddressLimit = "address_limit",
        /// The reader got this notice a short while ago.
        ToldAlready = "told_already",
        /// Its time was over before the relay took it.
        Expired = "expired",
        /// The relay or the recipient's server said no.
        Refused = "refused",
        /// The relay cannot carry it.
        Relay = "relay",
        /// The message could not be made.
        Unrenderable = "unrenderable",
        /// Its transmission was cut off, and it is not sent again by itself.
        Doubt = "doubt",
        /// It was being worked on when the process died, again and again.
        Crashed = "crashed",
    }
}

/// A delivery that a worker has claimed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Claimed {
    /// Which.
    pub id: DeliveryId,
    /// Of which issue; `None` for notices.
    pub issue_id: Option<IssueId>,
    /// To which subscription.
    pub subscription_id: Option<SubscriptionId>,
    /// The rendered message, for digests.
    pub variant_id: Option<VariantId>,
    /// The sign-up it is about.
    pub signup_id: Option<SignupId>,
    /// Of which newsletter.
    pub newsletter_id: NewsletterId,
    /// What it is.
    pub kind: Kind,
    /// The address, as it was written.
    pub recipient: String,
    /// What a notice's template needs beyond other rows.
    pub payload: Option<Json<serde_json::Value>>,
    /// Fences: the number of this claim.
    pub attempt: i64,
    /// Replies about this recipient or message so far.
    pub tries: i64,
    /// Times in doubt so far.
    pub doubt: i64,
    /// Who claimed it.
    pub owner: WorkerId,
    /// When it was queued.
    pub created_at: Timestamp,
    /// No attempt starts after it.
    pub expires_at: Timestamp,
    /// The relay of its last transmission.
    pub relay_id: Option<String>,
}

impl Claimed {
    /// The relay that may have accepted it: it is the one that may know its Message-ID.
    pub fn relay_in_doubt(&self) -> Option<&str> {
        self.relay_id.as_deref().filter(|_| self.doubt > 0)
    }
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    /// A worker without a sign of life for so long is dead.
    pub worker: Duration,
    /// A transmission without an outcome for so long is in doubt.
    pub transmission: Duration,
    /// From doubt to the decision, for digests.
    pub grace: Duration,
    /// From doubt to the decision, for notices.
    pub notice_grace: Duration,
    /// Clocks and commits take time: a fence stands this much before the end of what it guards.
    pub margin: Duration,
    /// What becomes of doubt about a notice. An issue has its own policy.
    pub in_doubt: InDoubt,
    /// Whose clock says when a lease is over.
    pub clock: LeaseClock,
}

/// Whose clock says when a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// This process's: there is one worker, or a test moves the time.
    Own,
    /// The database server's: the clocks of several machines differ.
    Server,
}

impl Leases {
    /// As the settings say, for workers on `db`.
    pub fn new(settings: &DeliveryConfig, db: &Db, clock: &dyn Clock) -> Self {
        let is_server = matches!(db, Db::Postgres(_)) && clock.is_real();
        Self {
            clock: if is_server {
                LeaseClock::Server
            } else {
                LeaseClock::Own
            },
            worker: settings.worker_lease,
            transmission: settings.transmission_lease,
            grace: settings.grace,
            notice_grace: settings.notice_grace,
            margin: Duration::from_secs(5)
                .min(settings.worker_lease / 4)
                .min(settings.transmission_lease / 4),
            in_doubt: settings.in_doubt,
        }
    }

    /// How long a worker takes itself for alive: a little less than others do.
    pub fn own_worker_lease(&self) -> Duration {
        self.worker.saturating_sub(self.margin)
    }

    /// The time by which statements compare leases; `None` lets the server look at its own clock.
    pub fn now(&self, now: Timestamp) -> Option<Timestamp> {
        match self.clock {
            LeaseClock::Own => Some(now),
            LeaseClock::Server => None,
        }
    }

    /// How long a marked message may be worked on: a little less than its lease.
    pub fn own_transmission_lease(&self) -> Duration {
        self.transmission.saturating_sub(self.margin)
    }

    /// The grace for a delivery.
    pub fn grace_of(&self, claimed: &Claimed) -> Duration {
        match claimed.issue_id {
            Some(_) => self.grace,
            None => self.notice_grace,
        }
    }
}
