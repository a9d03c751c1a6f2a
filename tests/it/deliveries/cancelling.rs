use std::time::Duration;

use paperround::deliveries::{Reason, State, brakes, finish, operate, recover};

use super::Press;
use crate::support::{TestApp, db_test};

const IN_DOUBT: &str = "UPDATE deliveries SET state = 'in_doubt', doubt = 1
     WHERE issue_id IN (SELECT id FROM issues WHERE number <> 3)";
const FIRST_FAILED: &str = "UPDATE issues SET state = 'failed' WHERE number = 1";
const BEGAN_ANEW: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT subscription_id, topic_id, 5, cadence, given_seq FROM interests";
const ANOTHER_TOPIC: &str =
    "INSERT INTO topics (id, newsletter_id, slug, name, position, default_on)
     SELECT id, newsletter_id, 'asia', 'Asia', 2, TRUE FROM subscriptions";
const ITS_INTEREST: &str =
    "INSERT INTO interests (subscription_id, topic_id, start_seq, cadence, given_seq)
     SELECT id, id, 0, 'weekly', 10 FROM subscriptions";

db_test!(
    cancelled_issues_of_which_all_is_in_doubt_keep_nothing_of_another_waiting,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let mut editions = Vec::new();
        for _ in 0..5 {
            editions.push(press.edition(&readers, "resend").await);
            press.time.advance(Duration::from_secs(1));
        }
        app.execute(IN_DOUBT).await;
        for edition in &editions {
            press.cancel(edition.issue).await;
        }
        let now = press.now();
        let skipped = operate::skip_cancelled(&press.db, now).await.unwrap();
        assert_eq!(skipped, 1);
        let waited = editions[2].deliveries[0];
        assert_eq!(press.state(waited).await, State::Skipped);
    }
);

db_test!(
    cancelling_moves_the_interests_of_its_mails_back_and_no_other,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        assert_eq!(edition.cutoff, 10);
        // its reader left and came back
        app.execute(BEGAN_ANEW).await;
        // an issue of another rhythm has come as far
        app.execute(ANOTHER_TOPIC).await;
        app.execute(ITS_INTEREST).await;
        press.cancel(edition.issue).await;
        let now = press.now();
        let skipped = operate::skip_cancelled(&press.db, now).await.unwrap();
        assert_eq!(skipped, 1);
        assert_eq!(
            app.rows_of("interest").await,
            [
                "interest all daily 0 0",
                "interest all daily 5 10",
                "interest asia weekly 0 10"
            ]
        );
    }
);

db_test!(
    what_waits_of_all_issues_that_were_cancelled_or_failed_is_skipped,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let failed = press.edition(&readers, "resend").await;
        let cancelled = press.edition(&readers, "resend").await;
        let goes_on = press.edition(&readers, "resend").await;
        app.execute(FIRST_FAILED).await;
        press.cancel(cancelled.issue).await;
        let now = press.now();
        let skipped = operate::skip_cancelled(&press.db, now).await.unwrap();
        assert_eq!(skipped, 2);
        for edition in [failed, cancelled] {
            let row = press.delivery(edition.deliveries[0]).await;
            let end = (row.state, row.reason);
            assert_eq!(end, (State::Skipped, Some(Reason::Cancelled)));
        }
        assert_eq!(press.state(goes_on.deliveries[0]).await, State::Pending);
    }
);

db_test!(
    what_a_worker_has_claimed_of_a_cancelled_issue_is_skipped_too,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.claim_one(&edition).await;
        press.cancel(edition.issue).await;
        let skipped = operate::skip_cancelled(&press.db, press.now()).await;
        assert_eq!(skipped.unwrap(), 1);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Skipped);
    }
);

db_test!(
    the_articles_of_all_mails_that_are_cancelled_or_grow_old_come_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        for is_cancelled in [true, false] {
            let edition = press.edition(&readers, "resend").await;
            let ended = if is_cancelled {
                press.cancel(edition.issue).await;
                operate::skip_cancelled(&press.db, press.now()).await
            } else {
                press.time.advance(Duration::from_hours(48));
                recover::expire(&press.db, press.now()).await
            };
            assert_eq!(ended.unwrap(), 3);
            for reader in &readers {
                assert_eq!(press.given_seq(reader).await, edition.cutoff - 10);
            }
        }
    }
);

db_test!(
    a_paused_issue_that_is_over_does_not_go_on_and_its_pause_is_not_noted_as_over,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for is_cancelled in [true, false] {
            let issue = press.edition(&[], "resend").await.issue;
            press.pause(issue).await;
            if is_cancelled {
                press.cancel(issue).await;
            } else {
                let finished = finish::finish_issues(&press.db, press.now()).await;
                assert_eq!(finished.unwrap(), [issue]);
            }
            press.resume(issue).await;
            assert!(press.pause_reason(issue).await.is_some());
            let noted = brakes::pauses(&press.db, issue).await.unwrap();
            assert!(noted.is_empty(), "cancelled: {is_cancelled}");
        }
    }
);
