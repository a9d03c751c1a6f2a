use std::time::Duration;

use paperround::deliveries::decide::{self, HeldDecision};
use paperround::deliveries::{operate, recover};
use paperround::id::{DeliveryId, IssueId};
use paperround::write_db;

use super::Press;
use super::operate::retry;
use crate::support::{TestApp, db_test};

/// One more than a transaction takes.
const MANY: usize = 501;

// to nobody's subscription: an issue has one mail for each
const COPY: &str =
    "INSERT INTO deliveries (id, issue_id, newsletter_id, kind, recipient, domain_key, state, is_open, attempt,
         tries, doubt, crashes, not_before, created_at, expires_at)
     SELECT $1, issue_id, newsletter_id, kind, recipient, domain_key, state, is_open, attempt,
         tries, doubt, crashes, not_before, created_at, expires_at
     FROM deliveries WHERE id = $2";
const FAILED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE, reason = 'refused'";
const HELD: &str = "UPDATE deliveries SET state = 'held', is_open = FALSE, reason = 'doubt'";
const WAITING: &str = "UPDATE deliveries SET state = 'pending', is_open = TRUE, reason = NULL";

/// An issue of many mails.
async fn issue(press: &Press) -> IssueId {
    let readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    let first = edition.deliveries[0];
    let copies: Vec<DeliveryId> = (1..MANY).map(|_| press.ids.next()).collect();
    press
        .write(move |tx| {
            Box::pin(async move {
                for id in copies {
                    write_db!(&mut *tx, |conn| sqlx::query(COPY)
                        .bind(id)
                        .bind(first)
                        .execute(conn)
                        .await
                        .map(drop))?;
                }
                Ok(())
            })
        })
        .await;
    edition.issue
}

db_test!(
    what_an_operator_decides_about_many_mails_is_done_with_all_of_them,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let issue = issue(&press).await;
        app.execute(FAILED).await;
        let retried = retry(&press, issue).await.unwrap();
        assert_eq!(usize::try_from(retried).unwrap(), MANY);
        app.execute(HELD).await;
        let (db, now) = (&press.db, press.now());
        let expires_at = now + Duration::from_hours(48);
        let decided = decide::decide_all(db, issue, HeldDecision::NotSent, now, expires_at).await;
        assert_eq!(decided.unwrap(), MANY);
    }
);

db_test!(
    many_mails_that_grew_old_or_are_cancelled_are_given_up_at_once,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let issue = issue(&press).await;
        press.time.advance(Duration::from_hours(48));
        let expired = recover::expire(&press.db, press.now()).await.unwrap();
        assert_eq!(usize::try_from(expired).unwrap(), MANY);
        app.execute(WAITING).await;
        press.cancel(issue).await;
        let skipped = operate::skip_cancelled(&press.db, press.now()).await;
        assert_eq!(usize::try_from(skipped.unwrap()).unwrap(), MANY);
    }
);
