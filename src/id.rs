//! The one home of randomness and ids.

use std::sync::{Arc, Mutex};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use uuid::Uuid;

use crate::clock::Clock;

/// A source of unguessable bytes. Whoever needs randomness is given one of these.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` bytes from `entropy`.
pub fn random_bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        SysRng
            .try_fill_bytes(bytes)
            .expect("the system gives randomness, or nothing here is safe to do");
    }
}

/// Repeatable randomness for tests. Never for a service.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// Gives the same bytes for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .fill_bytes(bytes);
    }
}

/// Makes ids: UUID version 7 (RFC 9562, section 5.7), so that newer rows sort behind older ones, to the microsecond.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ids {
    /// Ids from this time and this randomness.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// A new id of any kind.
    pub fn next<T: From<Uuid>>(&self) -> T {
        let micros = u64::try_from(self.clock.now().as_micros()).unwrap_or(0);
        let mut bytes = random_bytes::<10>(&*self.entropy);
        // The first twelve bits are the fraction of the millisecond (section 6.2, method 3): rows that are made in one
        // go lie side by side, and what works through them in the order of their ids writes few pages.
        let fraction = micros % 1000 * 4096 / 1000;
        let [.., high, low] = fraction.to_be_bytes();
        (bytes[0], bytes[1]) = (high, low);
        uuid::Builder::from_unix_timestamp_millis(micros / 1000, &bytes)
            .into_uuid()
            .into()
    }
}

/// Declares id types that cannot be taken for one another. Each is stored as `uuid` / `BLOB(16)`.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sqlx::Type)]
        #[sqlx(transparent)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// Names a newsletter.
    NewsletterId;
    /// Names a topic.
    TopicId;
    /// Names a rule that maps what a feed says to a topic.
    TopicRuleId;
    /// Names a schedule.
    ScheduleId;
    /// Names a feed.
    FeedId;
    /// Names an article.
    ArticleId;
    /// Names a person.
    SubscriberId;
    /// Names a pending sign-up.
    SignupId;
    /// Names a membership of a person in a newsletter.
    SubscriptionId;
    /// Names a consent event.
    ConsentEventId;
    /// Names the exact text that a person agreed to.
    WordingId;
    /// Names an issue.
    IssueId;
    /// Names a mail rendered once for many readers.
    VariantId;
    /// Names one mail to one reader.
    DeliveryId;
    /// Names one run of a worker.
    WorkerId;
    /// Names an API token.
    ApiTokenId;
    /// Names an installation of this service.
    InstanceId;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{TestClock, Timestamp};

    #[test]
    fn ids_sort_by_time_and_repeat_with_the_seed() {
        let clock = Arc::new(TestClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
        let ids = |seed| Ids::new(clock.clone(), Arc::new(SeededEntropy::new(seed)));
        let early: IssueId = ids(1).next();
        assert_eq!(early, ids(1).next());
        clock.advance(std::time::Duration::from_millis(1));
        assert!(early < ids(2).next());
    }
}
