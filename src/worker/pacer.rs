//! Waiting for a relay's tokens, one line after another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::deliveries::pace;
use crate::smtp::allowance::Allowance;

/// Between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_millis(25);
/// Until the database is asked again after it failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The relays whose use is limited.
pub(super) struct Pacer {
    db: Db,
    clock: Arc<dyn Clock>,
    relays: HashMap<Arc<str>, Bucket>,
}

struct Bucket {
    allowance: Allowance,
    /// Before then no token can be had. Held by the line whose turn it is to ask.
    next_at: Mutex<Timestamp>,
}

impl Pacer {
    pub(super) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        allowances: Vec<(Arc<str>, Allowance)>,
    ) -> Self {
        let bucket = |allowance| Bucket {
            allowance,
            next_at: Mutex::new(Timestamp::UNIX_EPOCH),
        };
        let relays = allowances
            .into_iter()
            .map(|(relay, allowance)| (relay, bucket(allowance)));
        Self {
            db,
            clock,
            relays: relays.collect(),
        }
    }

    /// Whether messages over this relay need tokens.
    pub(super) fn limits(&self, relay: &str) -> bool {
        self.relays.contains_key(relay)
    }

    /// Takes a token if one can be had at once.
    pub(super) async fn try_take(&self, relay: &str) -> bool {
        let Some(bucket) = self.relays.get(relay) else {
            return true;
        };
        // whoever waits comes first
        let Ok(mut next_at) = bucket.next_at.try_lock() else {
            return false;
        };
        self.ask(relay, bucket, &mut next_at).await
    }

    /// Takes a token, when one can be had. Lines come in the order in which they began to wait.
    pub(super) async fn take(&self, relay: &str) {
        let Some(bucket) = self.relays.get(relay) else {
            return;
        };
        let mut next_at = bucket.next_at.lock().await;
        while !self.ask(relay, bucket, &mut next_at).await {
            let wait = next_at.since(self.clock.now());
            sleep(wait.clamp(Duration::from_millis(1), LOOK)).await;
        }
    }

    async fn ask(&self, relay: &str, bucket: &Bucket, next_at: &mut Timestamp) -> bool {
        let now = self.clock.now();
        if *next_at > now {
            return false;
        }
        match pace::take(&self.db, relay, bucket.allowance, now).await {
            Ok(Ok(())) => true,
            Ok(Err(next)) => {
                *next_at = next;
                false
            }
            Err(error) => {
                tracing::error!(relay, error = %error, "The pace of {relay} cannot be kept; nothing is sent over it");
                *next_at = now + AFTER_ERROR;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::config::DatabaseTarget;

    #[tokio::test]
    async fn there_is_no_token_where_the_database_cannot_count_it_until_it_can_again() {
        let folder = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(folder.path().join("paperround.db"));
        // a file without tables
        let db = Db::open(&target, 1).await.unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::UNIX_EPOCH));
        let allowance = Allowance::per_second(1.0, 1);
        let pacer = Pacer::new(db.clone(), clock.clone(), vec![("slow".into(), allowance)]);
        assert!(!pacer.try_take("slow").await);
        db.migrate().await.unwrap();
        clock.advance(AFTER_ERROR);
        assert!(pacer.try_take("slow").await);
        db.close().await;
    }
}
