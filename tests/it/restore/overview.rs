use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::{instance, write_db};

use crate::deliveries::Press;
use crate::support::{TestApp, db_test};

const SLOT: &str = "INSERT INTO slots (schedule_id, slot, due_at, outcome, at)
     SELECT id, $1, $2, $3, $4 FROM schedules";
const REFUSED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE, reason = 'refused'
     WHERE recipient = 'reader0@example.org'";

/// All sending is paused: so many goodbyes were replayed.
async fn restored(press: &Press, reason: &'static str, replayed: i64) {
    let now = press.now();
    press
        .write(move |tx| {
            Box::pin(async move { instance::pause_restored(tx, reason, replayed, now).await })
        })
        .await;
}

async fn slot(press: &Press, name: &'static str, outcome: &'static str, at: Timestamp) {
    let due_at = press.now();
    press
        .write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SLOT)
                    .bind(name)
                    .bind(due_at)
                    .bind(outcome)
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
}

async fn overview(app: &TestApp) -> instance::Restored {
    let overview = instance::overview(app).await.unwrap();
    overview.expect("it was restored")
}

db_test!(
    a_restored_database_says_why_it_is_paused_and_how_many_goodbyes_it_had_forgotten,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        press.pause_sending().await;
        let operators = instance::overview(app).await.unwrap();
        assert_eq!(operators, None, "an operator's pause");
        let since = press.now();
        restored(&press, "it is older than its file", 1).await;
        press.time.advance(Duration::from_secs(1));
        restored(&press, "it had forgotten unsubscribes", 2).await;
        let found = overview(app).await;
        assert_eq!(
            (found.at, found.reason.as_str(), found.replayed),
            (since, "it is older than its file", 3)
        );
    }
);

db_test!(
    a_restored_database_says_what_would_come_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        press.edition(&readers, "resend").await;
        let cancelled = press.edition(&readers, "resend").await;
        press.cancel(cancelled.issue).await;
        app.execute(REFUSED).await;
        press.time.advance(Duration::from_secs(1));
        restored(&press, "it is older than its file", 0).await;
        let before = overview(app).await;
        assert_eq!(before.may_repeat, 2, "of the issue on its way");
        let (now, earlier) = (press.now(), press.now() - Duration::from_secs(1));
        for (name, outcome, at, counts) in [
            ("a", "missed", now, 1),
            ("b", "missed", earlier, 1),
            ("c", "nothing_new", now, 1),
            ("d", "below_minimum", now, 1),
            ("e", "issue", now, 2),
            ("f", "issue", earlier, 2),
        ] {
            slot(&press, name, outcome, at).await;
            let found = overview(app).await.slots - before.slots;
            assert_eq!(found, counts, "{name}: {outcome}");
        }
    }
);

db_test!(
    a_restored_database_says_how_many_slots_are_due_or_were_missed,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        restored(&press, "it is older than its file", 0).await;
        for (days, slots) in [(0, 0), (1, 1), (1, 2)] {
            press.time.advance(Duration::from_hours(24 * days));
            assert_eq!(overview(app).await.slots, slots);
        }
    }
);
