use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::brakes;
use paperround::deliveries::brakes::tally::{Answer, Said, Tally};
use paperround::deliveries::brakes::uncounted::Uncounted;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State};
use paperround::id::IssueId;
use paperround::smtp::class::Class;
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;
use paperround::write_db;
use sqlx::types::Json;
use tokio::sync::oneshot;

use super::leases::claim as claim_one;
use super::recovery::{acknowledged, settlement};
use super::senders::leases;
use super::sending::one;
use super::{Edition, Press, Reader};
use crate::support::{Engine, TestApp, db_test};

const TALLY: &str = "INSERT INTO brake_tallies (issue_id, worker_id, tally) VALUES ($1, $1, $2)";

/// For what comes at once.
const SOON: Duration = Duration::from_secs(10);

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

/// An attempt that the relay answered so.
fn answered(phase: Phase, code: u16) -> Outcome {
    let reply = Reply {
        code,
        enhanced: None,
        lines: vec!["so".to_owned()],
    };
    Outcome::Failed(Failure::new(phase, Cause::Reply(reply)))
}

/// Two issues, each with a mail to a reader of its own, which a worker has claimed.
async fn two_issues(press: &Press) -> ([Reader; 2], [Edition; 2], [Ready; 2]) {
    let readers = [
        press.reader("ada@example.org").await,
        press.reader("ben@example.org").await,
    ];
    let editions = [
        press.edition(&readers[..1], "resend").await,
        press.edition(&readers[1..], "resend").await,
    ];
    let worker = press.worker().await;
    let claimed = [
        claim_one(press, &editions[0], &worker).await,
        claim_one(press, &editions[1], &worker).await,
    ];
    (readers, editions, claimed)
}

/// Both are refused at one time. On one thread the ledger hears of both before it writes: they share a transaction.
async fn refuse(press: &Press, ledger: &Ledger, both: &[Ready; 2], outcome: &Outcome) {
    tokio::join!(
        ledger.refuse(settlement(press, &both[0], outcome)),
        ledger.refuse(settlement(press, &both[1], outcome))
    );
}

/// Another worker has counted this.
async fn counted(press: &Press, issue: IssueId, tally: serde_json::Value) {
    press
        .write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(TALLY)
                    .bind(issue)
                    .bind(Json(tally))
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
}

#[tokio::test]
async fn what_is_said_twice_of_a_mail_at_one_time_is_written_one_after_the_other() {
    let app = TestApp::start(Engine::Sqlite).await;
    let (press, edition, _server) = one(&app).await;
    let ready = press.claim_one(&edition).await;
    let ledger = ledger(&press);
    let both = async {
        tokio::join!(
            ledger.mark(&ready, "x"),
            ledger.give_back(&ready.claimed, press.now())
        )
    };
    let both = tokio::time::timeout(SOON, both).await;
    let (marked, ()) = both.expect("nobody needs to say more");
    assert!(matches!(marked.unwrap(), Marked::Yes { .. }));
    assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    app.finish().await;
}

#[tokio::test]
async fn all_issues_whose_sender_is_refused_at_one_time_are_paused_and_stopped() {
    let app = TestApp::start(Engine::Sqlite).await;
    let press = Press::new(&app).await;
    let (_, editions, claimed) = two_issues(&press).await;
    let ledger = ledger(&press);
    let ticket = ledger.ticket();
    refuse(&press, &ledger, &claimed, &answered(Phase::Mail, 550)).await;
    for edition in &editions {
        assert!(press.pause_reason(edition.issue).await.is_some());
        assert!(ledger.is_stopped(edition.issue, ticket));
    }
    app.finish().await;
}

#[tokio::test]
async fn the_articles_of_all_mails_that_are_given_up_at_one_time_come_again() {
    let app = TestApp::start(Engine::Sqlite).await;
    let press = Press::new(&app).await;
    let (readers, editions, claimed) = two_issues(&press).await;
    // a try more would come too late
    let seconds = Duration::from_secs(30);
    let late = Duration::from_hours(48).saturating_sub(seconds);
    press.time.advance(late);
    let deferred = answered(Phase::Rcpt, 451);
    refuse(&press, &ledger(&press), &claimed, &deferred).await;
    for (reader, edition) in readers.iter().zip(&editions) {
        let row = press.delivery(edition.deliveries[0]).await;
        let end = (row.state, row.reason);
        assert_eq!(end, (State::Failed, Some(Reason::Expired)));
        assert_eq!(press.given_seq(reader).await, edition.cutoff - 10);
    }
    app.finish().await;
}

#[tokio::test]
async fn all_issues_whose_brakes_are_pulled_at_one_time_are_paused_at_once() {
    let app = TestApp::start(Engine::Sqlite).await;
    let press = Press::new(&app).await;
    let (_, editions, claimed) = two_issues(&press).await;
    for edition in &editions {
        let tally = serde_json::json!({ "answers": 100, "hard": 6 });
        counted(&press, edition.issue, tally).await;
    }
    let refused = answered(Phase::Rcpt, 550);
    refuse(&press, &ledger(&press), &claimed, &refused).await;
    for edition in &editions {
        let why = press.pause_reason(edition.issue).await.expect("it pauses");
        assert!(why.contains("of 101 addresses do not exist"), "{why}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_fence_of_a_mark_counts_from_before_its_commit() {
    let app = TestApp::start(Engine::Sqlite).await;
    let (press, edition, _server) = one(&app).await;
    let ready = press.claim_one(&edition).await;
    let ledger = ledger(&press);
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = oneshot::channel::<()>();
    let db = press.db.clone();
    let busy = tokio::spawn(async move {
        let work = db.write::<_, sqlx::Error, _>(|_| {
            Box::pin(async move {
                begun.send(()).unwrap();
                let _ended = ends.await;
                Ok(())
            })
        });
        work.await
    });
    has_begun.await.unwrap();
    let its_commit = Duration::from_secs(30);
    let (marked, ()) = tokio::join!(ledger.mark(&ready, "x"), async {
        // by then it waits for the other to end
        tokio::time::sleep(Duration::from_millis(20)).await;
        press.time.advance(its_commit);
        end.send(()).unwrap();
    });
    busy.await.unwrap().unwrap();
    let Marked::Yes { fence } = marked.unwrap() else {
        panic!("nothing stands in its way");
    };
    let rest = leases().own_transmission_lease().saturating_sub(its_commit);
    press.time.advance(rest);
    assert!(fence.is_over(&*press.time));
    app.finish().await;
}

db_test!(
    good_answers_stay_to_be_counted_where_what_was_to_be_written_with_them_stood_in_the_way,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 3,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let (claimed, ledger) = (claimed.unwrap(), ledger(&press));
        for ready in &claimed[..2] {
            ledger.mark(ready, "x").await.unwrap();
        }
        ledger.settle(acknowledged(&press, &claimed[0])).await;
        // neither the refusal nor the mark is written with the other
        let refused = settlement(&press, &claimed[1], &answered(Phase::Dot, 550));
        let until = press.now() + Duration::from_hours(1);
        let last = &claimed[2].claimed.recipient;
        let pausing = readers.iter().find(|reader| reader.email == *last);
        press.reader_pauses(pausing.unwrap(), until).await;
        let relay: Arc<str> = "x".into();
        let advanced = ledger.advance(Some(refused), &claimed[2], &relay);
        assert_eq!(advanced.await.unwrap(), Marked::No);
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!(tally.answers, 2);
    }
);

db_test!(
    good_answers_that_wait_are_counted_before_a_sweep_looks_at_the_brakes,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let issue = edition.issue;
        let mut tally = Tally::default();
        for number in 0..20 {
            let answer = Answer {
                issue,
                domain: ["a.example", "b.example", "c.example"][number % 3].to_owned(),
                said: Said::Refused {
                    class: Class::Relay,
                    transmitted: false,
                    reply: "550 no".to_owned(),
                },
            };
            tally.count(&answer, press.now());
        }
        let tally = serde_json::to_value(&tally).unwrap();
        counted(&press, issue, tally).await;
        press.time.advance(Duration::from_secs(1));
        let (ready, ledger) = (press.claim_one(&edition).await, ledger(&press));
        ledger.mark(&ready, "x").await.unwrap();
        ledger.settle(acknowledged(&press, &ready)).await;
        let owner = ready.claimed.owner;
        let swept = brakes::check_all(&press.db, ledger.uncounted(), owner, press.now());
        swept.await.unwrap();
        assert_eq!(press.pause_reason(issue).await, None, "one was accepted");
    }
);

db_test!(
    domains_are_told_of_once_though_their_issue_pauses_at_once_and_no_answer_counts_twice,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let issue = press.edition(&[], "resend").await.issue;
        let refuses = serde_json::json!({ "answers": 100, "policy": 25 });
        let tally = serde_json::json!({
            "answers": 200,
            "policy": 50,
            "domains": { "a.example": refuses, "b.example": refuses }
        });
        counted(&press, issue, tally).await;
        let (uncounted, worker) = (Uncounted::default(), press.worker().await.id());
        let swept = brakes::check_all(&press.db, &uncounted, worker, press.now());
        swept.await.unwrap();
        assert!(press.pause_reason(issue).await.is_some());
        let tally = brakes::so_far(&press.db, issue).await.unwrap();
        let told: Vec<_> = tally.alarmed.iter().map(String::as_str).collect();
        assert_eq!(told, ["a.example", "b.example"]);
        assert_eq!((tally.answers, tally.policy), (200, 50));
    }
);
