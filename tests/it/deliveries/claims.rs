use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::Mailroom;
use paperround::id::DeliveryId;
use paperround::write_db;

use super::Press;
use crate::support::{TestApp, db_test};

const IS_OVER: &str = "UPDATE deliveries SET expires_at = $2 WHERE id = $1";

async fn at_most(press: &Press, limit: usize) -> Terms {
    Terms {
        owner: press.worker().await.id(),
        now: press.now(),
        limit,
        suspects: false,
    }
}

fn ids(claimed: &[Ready]) -> Vec<DeliveryId> {
    claimed.iter().map(|ready| ready.claimed.id).collect()
}

db_test!(
    a_digest_whose_time_is_over_is_not_claimed_along_with_the_others,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let (over, now) = (edition.deliveries[0], press.now());
        press
            .write(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(IS_OVER)
                        .bind(over)
                        .bind(now)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await;
        let terms = at_most(&press, 10).await;
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        assert_eq!(ids(&claimed.unwrap()), edition.deliveries[1..]);
    }
);

db_test!(
    the_notices_that_came_first_are_claimed_first,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut notices = Vec::new();
        for name in ["ada", "ben", "eve"] {
            let (_, notice) = press.sign_up(&format!("{name}@example.org")).await;
            notices.push(notice);
            press.time.advance(Duration::from_secs(1));
        }
        let mailroom: Arc<dyn Mailroom> = press.desk.clone();
        let terms = at_most(&press, 2).await;
        let claimed = claim::notices(&press.db, &mailroom, terms).await;
        assert_eq!(ids(&claimed.unwrap()), notices[..2]);
    }
);
