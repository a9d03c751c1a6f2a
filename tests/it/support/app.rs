//! One service for one test: own database, own folder, a clock that stands still, repeatable randomness.

use std::sync::Arc;

use paperround::clock::{Clock, TestClock, Timestamp};
use paperround::db::Db;
use paperround::id::{Entropy, Ids, SeededEntropy};
use tempfile::TempDir;

use super::database::{self, Engine};

/// When tests begin: a Tuesday, 2026-07-07 05:00 UTC.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_783_400_400_000_000);

/// A service under test.
pub(crate) struct TestApp {
    pub(crate) db: Db,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) ids: Ids,
    _folder: TempDir,
}

impl TestApp {
    pub(crate) async fn start(engine: Engine) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let location = database::fresh(engine, folder.path()).await;
        let db = Db::open(&location).await.expect("the database opens");
        let clock = Arc::new(TestClock::at(START));
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let ids = Ids::new(clock.clone() as Arc<dyn Clock>, entropy);
        Self {
            db,
            clock,
            ids,
            _folder: folder,
        }
    }

    /// What the test's clock shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends the service in order.
    pub(crate) async fn finish(self) {
        self.db.close().await;
    }
}
