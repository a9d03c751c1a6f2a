use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::brakes;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::{Decision, Mailroom};
use paperround::deliveries::settlement::{Circumstances, Settlement};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Kind, Reason, State};
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::{EnhancedCode, Reply};

use super::senders::leases;
use super::{Press, Reader};
use crate::support::{TestApp, db_test};

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

/// A reader whose digest is marked.
async fn marked(press: &Press) -> (Ledger, Reader, Ready) {
    let mut readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    let (ledger, ready) = (ledger(press), press.claim_one(&edition).await);
    let marked = ledger.mark(&ready, "x").await.unwrap();
    assert!(matches!(marked, Marked::Yes { .. }));
    (ledger, readers.remove(0), ready)
}

/// The next notice, claimed by a new worker as what the claim decides.
async fn claimed_notice(press: &Press, decision: Option<Decision>) -> Ready {
    *press.desk.decision.lock().unwrap() = decision;
    let mailroom: Arc<dyn Mailroom> = press.desk.clone();
    let terms = Terms {
        owner: press.worker().await.id(),
        now: press.now(),
        limit: 1,
        suspects: false,
    };
    let claimed = claim::notices(&press.db, &mailroom, terms).await;
    claimed.unwrap().remove(0)
}

db_test!(
    a_marked_mail_of_which_nothing_was_sent_waits_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (ledger, _, ready) = marked(&press).await;
        assert_eq!(press.state(ready.claimed.id).await, State::Transmitting);
        ledger.give_back(&ready.claimed, press.now()).await;
        assert_eq!(press.state(ready.claimed.id).await, State::Pending);
    }
);

db_test!(
    a_notice_that_may_not_be_sent_as_what_it_was_claimed_waits_five_seconds,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (signup, notice) = press.sign_up("ada@example.org").await;
        let ready = claimed_notice(&press, None).await;
        press.confirm(signup).await;
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        let waits = press.delivery(notice).await;
        assert_eq!(waits.state, State::Pending);
        let wait = waits.not_before.since(press.now());
        assert_eq!(wait, Duration::from_secs(5));
    }
);

db_test!(
    a_readers_pause_stops_none_of_their_notices,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let until = press.now() + Duration::from_hours(72);
        press.reader_pauses(&reader, until).await;
        for kind in [Kind::Welcome, Kind::ManageLink] {
            press.welcome(&reader).await;
            let decision = Decision::Send {
                kind,
                subscription_id: Some(reader.subscription),
                suppression_keys: Vec::new(),
            };
            let ready = claimed_notice(&press, Some(decision)).await;
            let marked = ledger(&press).mark(&ready, "x").await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }), "{kind}");
        }
    }
);

db_test!(
    a_reader_who_pauses_after_the_claim_gets_no_digest,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let edition = press.edition(std::slice::from_ref(&reader), "resend").await;
        let ready = press.claim_one(&edition).await;
        let until = press.now() + Duration::from_hours(72);
        press.reader_pauses(&reader, until).await;
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        let row = press.delivery(edition.deliveries[0]).await;
        let skipped = (State::Skipped, Some(Reason::ReaderPaused));
        assert_eq!((row.state, row.reason), skipped);
    }
);

db_test!(
    a_notice_is_of_the_relay_that_it_was_given_to_last,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("ada@example.org").await;
        let ledger = ledger(&press);
        for relay in ["one", "two"] {
            let ready = claimed_notice(&press, None).await;
            let marked = ledger.mark(&ready, relay).await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }));
            let row = press.delivery(notice).await;
            assert_eq!(row.relay_id.as_deref(), Some(relay));
            ledger.give_back(&ready.claimed, press.now()).await;
        }
    }
);

db_test!(
    a_suppression_under_any_key_of_its_address_stops_a_claimed_notice,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("ada@example.org").await;
        let decision = Decision::Send {
            kind: Kind::Confirmation,
            subscription_id: None,
            suppression_keys: vec![b"newest".to_vec(), b"older".to_vec()],
        };
        let ready = claimed_notice(&press, Some(decision)).await;
        press.suppress(b"older").await;
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        assert_eq!(press.state(notice).await, State::Pending);
    }
);

db_test!(
    what_was_marked_unheard_and_not_begun_waits_again_where_its_reader_left_meanwhile,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        // the answer to this one's COMMIT is lost
        let (ledger, reader, ready) = marked(&press).await;
        press.subscription_ends(&reader).await;
        assert_eq!(ledger.mark(&ready, "x").await.unwrap(), Marked::No);
        // for the next claim, which skips it
        let row = press.delivery(ready.claimed.id).await;
        assert_eq!((row.state, row.doubt), (State::Pending, 0));
    }
);

db_test!(
    a_mark_beside_a_record_that_comes_too_late_is_made_for_a_reader_whose_pause_is_over,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let earlier = press.edition(&readers[..1], "resend").await;
        let late = press.claim_one(&earlier).await;
        press.reader_pauses(&readers[1], press.now()).await;
        let edition = press.edition(&readers[1..], "resend").await;
        let ready = press.claim_one(&edition).await;
        // it was never marked, so the group is not written, and each is looked at by itself
        let settled = Settlement::untouched(&late.claimed, press.now());
        let relay: Arc<str> = "x".into();
        let ledger = ledger(&press);
        let marked = ledger.advance(Some(settled), &ready, &relay).await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        let id = edition.deliveries[0];
        assert_eq!(press.state(id).await, State::Transmitting);
    }
);

/// What is written of an attempt that ended in this.
fn settlement(press: &Press, ready: &Ready, outcome: &Outcome) -> Settlement {
    let with = Circumstances {
        now: press.now(),
        jitter: 1.0,
        leases: &leases(),
    };
    Settlement::of_outcome(&ready.claimed, outcome, with)
}

db_test!(
    good_answers_stay_to_be_counted_where_the_refusal_that_took_them_along_came_too_late,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (ledger, _, ready) = marked(&press).await;
        let reply = |code| Reply {
            code,
            enhanced: None,
            lines: vec!["so".to_owned()],
        };
        let accepted = Outcome::Accepted(reply(250));
        ledger.settle(settlement(&press, &ready, &accepted)).await;
        let refused = Outcome::Failed(Failure::new(Phase::Rcpt, Cause::Reply(reply(550))));
        ledger.refuse(settlement(&press, &ready, &refused)).await;
        let counting = brakes::count(&press.db, ledger.uncounted());
        counting.await.unwrap();
        let issue = ready.claimed.issue_id.unwrap();
        let tally = brakes::so_far(&press.db, issue).await.unwrap();
        assert_eq!((tally.answers, tally.run.refusals), (1, 0));
        assert_eq!(press.state(ready.claimed.id).await, State::Sent);
    }
);

db_test!(
    a_mail_says_when_its_last_transmission_began_and_when_it_was_settled,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let later = Reply {
            code: 451,
            enhanced: None,
            lines: vec!["later".to_owned()],
        };
        let deferred = Outcome::Failed(Failure::new(Phase::Dot, Cause::Reply(later)));
        let settled = async |ledger: &Ledger, ready: &Ready| {
            let began = press.now();
            press.time.advance(Duration::from_secs(1));
            ledger.settle(settlement(&press, ready, &deferred)).await;
            let row = press.delivery(ready.claimed.id).await;
            assert!(row.state == State::Pending && row.not_before > press.now());
            let times = (row.marked_at, row.settled_at);
            assert_eq!(times, (Some(began), Some(press.now())));
        };
        let (ledger, _, digest) = marked(&press).await;
        settled(&ledger, &digest).await;
        press.sign_up("new@example.org").await;
        let notice = claimed_notice(&press, None).await;
        ledger.mark(&notice, "x").await.unwrap();
        settled(&ledger, &notice).await;
    }
);

db_test!(
    a_refusal_behind_good_answers_begins_a_row_of_refusals,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let (claimed, ledger) = (claimed.unwrap(), ledger(&press));
        ledger.mark(&claimed[0], "x").await.unwrap();
        let reply = |code| Reply {
            code,
            enhanced: None,
            lines: vec!["so".to_owned()],
        };
        let accepted = Outcome::Accepted(reply(250));
        let accepted = settlement(&press, &claimed[0], &accepted);
        ledger.settle(accepted).await;
        let refused = Outcome::Failed(Failure::new(Phase::Rcpt, Cause::Reply(reply(550))));
        let refused = settlement(&press, &claimed[1], &refused);
        ledger.refuse(refused).await;
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!((tally.answers, tally.run.refusals), (2, 1));
    }
);

db_test!(
    good_answers_to_every_issue_are_counted_at_the_next_sweep,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let (ledger, owner) = (ledger(&press), press.worker().await.id());
        let mut issues = Vec::new();
        for _ in 0..2 {
            let edition = press.edition(&readers, "resend").await;
            let terms = Terms {
                owner,
                now: press.now(),
                limit: 1,
                suspects: false,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            let ready = claimed.unwrap().remove(0);
            ledger.mark(&ready, "x").await.unwrap();
            let accepted = Outcome::Accepted(Reply {
                code: 250,
                enhanced: None,
                lines: vec!["ok".to_owned()],
            });
            ledger.settle(settlement(&press, &ready, &accepted)).await;
            issues.push(edition.issue);
        }
        let swept = brakes::check_all(&press.db, ledger.uncounted(), owner, press.now());
        swept.await.unwrap();
        for issue in issues {
            let tally = brakes::so_far(&press.db, issue).await.unwrap();
            assert_eq!(tally.answers, 1);
        }
    }
);

db_test!(
    what_was_counted_of_an_issue_stays_where_there_is_nothing_to_resume,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (ledger, _, ready) = marked(&press).await;
        let no = Reply {
            code: 550,
            enhanced: None,
            lines: vec!["no".to_owned()],
        };
        let refused = Outcome::Failed(Failure::new(Phase::Dot, Cause::Reply(no)));
        ledger.settle(settlement(&press, &ready, &refused)).await;
        let issue = ready.claimed.issue_id.unwrap();
        press.resume(issue).await;
        let tally = brakes::so_far(&press.db, issue).await.unwrap();
        assert_eq!(tally.answers, 1);
    }
);

db_test!(
    what_is_noted_of_a_mail_is_its_last_transmission_and_nothing_of_an_earlier_one,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.sign_up("new@example.org").await;
        let ledger = ledger(&press);
        let greylisted = EnhancedCode {
            class: 4,
            subject: 7,
            detail: 1,
        };
        for (relay, code, enhanced) in [("one", 451, Some(greylisted)), ("two", 450, None)] {
            let later = Reply {
                code,
                enhanced,
                lines: vec!["later".to_owned()],
            };
            let deferred = Outcome::Failed(Failure::new(Phase::Dot, Cause::Reply(later)));
            for is_notice in [false, true] {
                let ready = if is_notice {
                    claimed_notice(&press, None).await
                } else {
                    press.claim_one(&edition).await
                };
                let began = press.now();
                let marked = ledger.mark(&ready, relay).await.unwrap();
                assert!(matches!(marked, Marked::Yes { .. }));
                press.time.advance(Duration::from_secs(1));
                ledger.settle(settlement(&press, &ready, &deferred)).await;
                let row = press.delivery(ready.claimed.id).await;
                let noted = (row.relay_id.as_deref(), row.marked_at, row.settled_at);
                assert_eq!(noted, (Some(relay), Some(began), Some(press.now())));
                let said = (row.reply_code, row.enhanced_code.is_some());
                assert_eq!(said, (Some(i64::from(code)), enhanced.is_some()));
            }
            press.time.advance(Duration::from_hours(1));
        }
    }
);
