use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::decide::{self, HeldDecision};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State, finish, recover};
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;

use super::Press;
use super::operate::retry;
use super::recovery::settlement;
use super::senders::leases;
use crate::support::{TestApp, db_test};

const REFUSED_AFTER_A_DOUBT: &str =
    "UPDATE deliveries SET state = 'failed', is_open = FALSE, reason = 'refused', doubt = 1";
const HELD: &str = "UPDATE deliveries SET state = 'held', is_open = FALSE, reason = 'doubt'";
const LEFT_AFTER_A_DOUBT: &str =
    "UPDATE deliveries SET state = 'skipped', is_open = FALSE, reason = 'unsubscribed', doubt = 1
     WHERE recipient = 'reader0@example.org'";
const HELD_AFTER_A_DOUBT: &str =
    "UPDATE deliveries SET state = 'held', is_open = FALSE, reason = 'doubt', doubt = 1
     WHERE recipient = 'reader1@example.org'";
const CRASHED: &str = "UPDATE deliveries SET crashes = 2";
const SENT: &str = "UPDATE deliveries SET state = 'sent', is_open = FALSE";

/// How long a mail has.
const TWO_DAYS: Duration = Duration::from_hours(48);

db_test!(
    a_mail_that_is_tried_again_says_no_more_why_it_failed,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.time.advance(TWO_DAYS);
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        let id = edition.deliveries[0];
        let failed = press.delivery(id).await;
        assert_eq!(failed.reason, Some(Reason::Expired));
        assert_eq!(retry(&press, edition.issue).await.unwrap(), 1);
        let waits = press.delivery(id).await;
        assert_eq!((waits.state, waits.reason), (State::Pending, None));
    }
);

db_test!(
    a_mail_whose_articles_came_meanwhile_keeps_none_behind_it_from_being_tried_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        press.time.advance(TWO_DAYS);
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 3);
        let mails = &edition.deliveries;
        let front = (0..mails.len()).min_by_key(|at| mails[*at]).unwrap();
        press.edition(&readers[front..=front], "resend").await;
        assert_eq!(retry(&press, edition.issue).await.unwrap(), 2);
        assert_eq!(press.state(mails[front]).await, State::Failed);
    }
);

db_test!(
    a_finished_issue_of_which_nothing_is_held_stays_finished_whatever_is_decided_of_all,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let issue = press.edition(&readers, "resend").await.issue;
        app.execute(SENT).await;
        let (db, now) = (&press.db, press.now());
        let finished = finish::finish_issues(db, now).await;
        assert_eq!(finished.unwrap(), [issue]);
        let again = HeldDecision::SendAgain;
        let decided = decide::decide_all(db, issue, again, now, now + TWO_DAYS).await;
        assert_eq!(decided.unwrap(), 0);
        assert_eq!(press.issue_state(issue).await, "finished");
    }
);

db_test!(
    what_may_have_arrived_is_not_forgotten_by_what_an_operator_decides_but_for_not_sent,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let (db, issue, now) = (&press.db, edition.issue, press.now());
        let doubt = async || press.delivery(edition.deliveries[0]).await.doubt;
        app.execute(REFUSED_AFTER_A_DOUBT).await;
        assert_eq!(retry(&press, issue).await.unwrap(), 1);
        assert_eq!(doubt().await, 1);
        for (decision, left) in [
            (HeldDecision::SendAgain, 1),
            (HeldDecision::Sent, 1),
            (HeldDecision::NotSent, 0),
        ] {
            app.execute(HELD).await;
            let decided = decide::decide_all(db, issue, decision, now, now + TWO_DAYS).await;
            assert_eq!(decided.unwrap(), 1);
            assert_eq!(doubt().await, left, "{decision:?}");
        }
    }
);

db_test!(
    what_was_not_sent_says_nothing_of_another_mail_that_may_have_arrived,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(LEFT_AFTER_A_DOUBT).await;
        app.execute(HELD_AFTER_A_DOUBT).await;
        let (db, issue, now) = (&press.db, edition.issue, press.now());
        let not_sent = HeldDecision::NotSent;
        let decided = decide::decide_all(db, issue, not_sent, now, now + TWO_DAYS).await;
        assert_eq!(decided.unwrap(), 1);
        let mut doubts = Vec::new();
        for id in edition.deliveries {
            doubts.push(press.delivery(id).await.doubt);
        }
        assert_eq!(doubts, [1, 0]);
    }
);

db_test!(
    a_mail_that_may_have_killed_the_process_stays_a_suspect_when_it_waits_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(CRASHED).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        for is_given_back in [true, false] {
            let terms = Terms {
                owner: press.worker().await.id(),
                now: press.now(),
                limit: 1,
                suspects: true,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            let ready = claimed.unwrap().remove(0);
            if is_given_back {
                ledger.give_back(&ready.claimed, press.now()).await;
            } else {
                let later = Reply {
                    code: 451,
                    enhanced: None,
                    lines: vec!["later".to_owned()],
                };
                let deferred = Outcome::Failed(Failure::new(Phase::Rcpt, Cause::Reply(later)));
                ledger.refuse(settlement(&press, &ready, &deferred)).await;
            }
            let row = press.delivery(ready.claimed.id).await;
            assert_eq!((row.state, row.crashes), (State::Pending, 2));
        }
    }
);

db_test!(
    a_mail_that_is_on_the_wire_when_its_worker_dies_and_then_again_is_held,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let id = edition.deliveries[0];
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        for doubt in 1..=2 {
            let ready = press.claim_one(&edition).await;
            let marked = ledger.mark(&ready, "x").await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }));
            // another life finds what this one left
            press.worker().await;
            let row = press.delivery(id).await;
            assert_eq!((row.state, row.doubt), (State::InDoubt, doubt));
            press.time.advance(leases().grace);
            let swept = recover::sweep(&press.db, press.now(), &leases()).await;
            assert_eq!(swept.unwrap().decided, 1);
        }
        assert_eq!(press.state(id).await, State::Held);
    }
);
