use paperround::deliveries::writer::Marked;
use paperround::deliveries::{Reason, State, recover};
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;

use super::Press;
use super::recovery::{acknowledged, overdue, settlement, until_decided};
use super::senders::leases;
use super::sending::one;
use crate::support::{TestApp, db_test};

fn refused(phase: Phase) -> Outcome {
    let no = Reply {
        code: 550,
        enhanced: None,
        lines: vec!["no".to_owned()],
    };
    Outcome::Failed(Failure::new(phase, Cause::Reply(no)))
}

db_test!(
    a_refusal_that_comes_when_its_mail_is_in_doubt_by_now_ends_the_doubt,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let id = edition.deliveries[0];
        let (ledger, ready) = overdue(&press, &edition).await;
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        assert_eq!(swept.unwrap().doubted, 1);
        assert_eq!(press.state(id).await, State::InDoubt);
        let refusal = settlement(&press, &ready, &refused(Phase::Dot));
        ledger.settle(refusal).await;
        let row = press.delivery(id).await;
        assert_eq!(
            (row.state, row.reason, row.reply_code),
            (State::Failed, Some(Reason::Refused), Some(550))
        );
    }
);

db_test!(
    an_acknowledgement_that_comes_after_its_row_was_skipped_or_failed_counts,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for end in [State::Skipped, State::Failed] {
            let readers = press.readers_at(&format!("{end}.example"), 1).await;
            let edition = press.edition(&readers, "resend").await;
            let id = edition.deliveries[0];
            let (ledger, late) = overdue(&press, &edition).await;
            until_decided(&press).await;
            if end == State::Skipped {
                press.unsubscribe(&readers[0]).await;
            } else {
                let again = press.claim_one(&edition).await;
                let refusal = settlement(&press, &again, &refused(Phase::Rcpt));
                ledger.refuse(refusal).await;
            }
            assert_eq!(press.state(id).await, end);
            ledger.settle(acknowledged(&press, &late)).await;
            let row = press.delivery(id).await;
            assert_eq!((row.state, row.reason), (State::Sent, None), "{end}");
        }
    }
);

db_test!(
    an_acknowledgement_of_an_earlier_attempt_counts_unless_a_newer_one_is_on_the_wire,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let id = edition.deliveries[0];
        let (ledger, late) = overdue(&press, &edition).await;
        until_decided(&press).await;
        let again = press.claim_one(&edition).await;
        let marked = ledger.mark(&again, "scripted").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        ledger.settle(acknowledged(&press, &late)).await;
        assert_eq!(press.state(id).await, State::Transmitting);
        // the newer one's reply is lost, and the earlier one's is heard once more
        let lost = Outcome::Failed(Failure::new(Phase::Dot, Cause::TimedOut));
        ledger.settle(settlement(&press, &again, &lost)).await;
        assert_eq!(press.state(id).await, State::InDoubt);
        ledger.settle(acknowledged(&press, &late)).await;
        let row = press.delivery(id).await;
        assert_eq!((row.state, row.doubt), (State::Sent, 2));
    }
);
