use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::decide::{self, HeldDecision};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{State, operate, recover};
use paperround::id::DeliveryId;

use super::senders::leases;
use super::{Edition, Press, Reader};
use crate::support::{TestApp, db_test};

/// As what the relay deferred.
const SETTLED_BEFORE: &str = "UPDATE deliveries SET settled_at = created_at";
const HELD: &str = "UPDATE deliveries SET state = 'held', is_open = FALSE WHERE state = 'pending'";

/// A mail to somebody, which was settled a second ago.
async fn deferred(app: &TestApp, press: &Press, name: &str) -> (Reader, Edition) {
    let reader = press.reader(&format!("{name}@example.org")).await;
    let edition = press.edition(std::slice::from_ref(&reader), "hold").await;
    app.execute(SETTLED_BEFORE).await;
    press.time.advance(Duration::from_secs(1));
    (reader, edition)
}

async fn was_settled_now(press: &Press, id: DeliveryId, state: State) {
    let row = press.delivery(id).await;
    assert_eq!((row.state, row.settled_at), (state, Some(press.now())));
}

db_test!(
    a_mail_that_a_goodbye_a_pause_or_a_cancel_ends_says_when,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (reader, edition) = deferred(app, &press, "leaves").await;
        press.unsubscribe(&reader).await;
        was_settled_now(&press, edition.deliveries[0], State::Skipped).await;

        let (reader, edition) = deferred(app, &press, "left").await;
        press.subscription_ends(&reader).await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 1,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        assert!(claimed.unwrap().is_empty());
        was_settled_now(&press, edition.deliveries[0], State::Skipped).await;

        let (reader, edition) = deferred(app, &press, "pauses").await;
        let ready = press.claim_one(&edition).await;
        let until = press.now() + Duration::from_hours(1);
        press.reader_pauses(&reader, until).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        assert_eq!(ledger.mark(&ready, "x").await.unwrap(), Marked::No);
        was_settled_now(&press, edition.deliveries[0], State::Skipped).await;

        let (_, edition) = deferred(app, &press, "cancelled").await;
        press.cancel(edition.issue).await;
        let skipped = operate::skip_cancelled(&press.db, press.now()).await;
        assert_eq!(skipped.unwrap(), 1);
        was_settled_now(&press, edition.deliveries[0], State::Skipped).await;
    }
);

db_test!(
    a_mail_that_grows_old_is_in_doubt_held_or_decided_says_since_when,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, edition) = deferred(app, &press, "doubtful").await;
        let id = edition.deliveries[0];
        let ready = press.claim_one(&edition).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let marked = ledger.mark(&ready, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        // its worker dies
        press.worker().await;
        was_settled_now(&press, id, State::InDoubt).await;
        press.time.advance(leases().grace);
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        assert_eq!(swept.unwrap().decided, 1);
        was_settled_now(&press, id, State::Held).await;

        let (_, edition) = deferred(app, &press, "decided").await;
        app.execute(HELD).await;
        let (issue, now) = (edition.issue, press.now());
        let decided = decide::decide_all(&press.db, issue, HeldDecision::Sent, now, now).await;
        assert_eq!(decided.unwrap(), 1);
        was_settled_now(&press, edition.deliveries[0], State::Sent).await;

        let (_, edition) = deferred(app, &press, "old").await;
        press.time.advance(Duration::from_hours(48));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        was_settled_now(&press, edition.deliveries[0], State::Failed).await;
    }
);
