use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::settlement::{Circumstances, Settlement};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State, recover};
use paperround::smtp::outcome::{Cause, Failure, Outcome, Phase};
use paperround::smtp::reply::Reply;
use tokio_util::sync::CancellationToken;

use super::senders::leases;
use super::{Edition, Press};
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

use super::sending::one;

db_test!(
    what_a_dead_worker_had_claimed_waits_again_and_what_it_had_marked_is_in_doubt,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let dead = press.worker().await;
        let terms = Terms {
            owner: dead.id(),
            now: press.now(),
            limit: 10,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms)
            .await
            .unwrap();
        assert_eq!(claimed.len(), 2);
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let marked = ledger.mark(&claimed[0], "scripted").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        assert_eq!(press.state(claimed[0].claimed.id).await, State::InDoubt);
        let other = press.delivery(claimed[1].claimed.id).await;
        assert_eq!((other.state, other.crashes), (State::Pending, 1));
        // The dead one was only slow: its mark comes too late, its result does not.
        assert_eq!(
            ledger.mark(&claimed[1], "scripted").await.unwrap(),
            Marked::No
        );
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 1);
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 2);
    }
);

db_test!(
    what_a_dead_worker_had_on_the_wire_is_in_doubt_for_the_grace_of_its_kind,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let (_, notice) = press.sign_up("new@example.org").await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 10,
            suspects: false,
        };
        let mailroom: Arc<dyn Mailroom> = press.desk.clone();
        let digests = claim::digests(&press.db, edition.issue, terms).await;
        let notices = claim::notices(&press.db, &mailroom, terms).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        for ready in digests.unwrap().iter().chain(&notices.unwrap()) {
            let marked = ledger.mark(ready, "scripted").await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }));
        }
        press.worker().await;
        let (digest, leases) = (edition.deliveries[0], leases());
        for (id, grace) in [(digest, leases.grace), (notice, leases.notice_grace)] {
            let row = press.delivery(id).await;
            assert_eq!(row.state, State::InDoubt);
            assert_eq!(row.not_before.since(press.now()), grace);
        }
    }
);

db_test!(
    a_row_that_dies_with_its_worker_four_times_is_held,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        for crash in 1..=4 {
            let worker = press.worker().await;
            let terms = Terms {
                owner: worker.id(),
                now: press.now(),
                limit: 10,
                suspects: crash > 2,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms)
                .await
                .unwrap();
            assert_eq!(claimed.len(), 1, "{crash}");
            let opposite = Terms {
                suspects: crash <= 2,
                ..terms
            };
            assert!(
                claim::digests(&press.db, edition.issue, opposite)
                    .await
                    .unwrap()
                    .is_empty()
            );
        }
        press.sender(&server).await.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Held, Some(Reason::Crashed))
        );
    }
);

db_test!(
    a_row_that_may_have_killed_the_process_is_sent_when_nothing_else_is_on_its_way,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(9).await;
        let edition = press.edition(&readers, "resend").await;
        for _crash in 0..2 {
            let terms = Terms {
                owner: press.worker().await.id(),
                now: press.now(),
                limit: 1,
                suspects: false,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            assert_eq!(claimed.unwrap()[0].claimed.id, edition.deliveries[0]);
        }
        let server = SmtpServer::start().await;
        let slow = Act::reply("250 ok").delayed(Duration::from_millis(500));
        server
            .script()
            .always_for(&readers[1].email, Step::Rcpt, slow);
        press.sender(&server).await.run_until_idle().await;
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 9);
        assert_eq!(accepted[8].recipient, readers[0].email);
    }
);

/// The settlement of a message that the relay has just taken.
pub(super) fn acknowledged(press: &Press, ready: &Ready) -> Settlement {
    let accepted = Outcome::Accepted(Reply {
        code: 250,
        enhanced: None,
        lines: vec!["ok".to_owned()],
    });
    settlement(press, ready, &accepted)
}

pub(super) fn settlement(press: &Press, ready: &Ready, outcome: &Outcome) -> Settlement {
    let with = Circumstances {
        now: press.now(),
        jitter: 1.0,
        leases: &leases(),
    };
    Settlement::of_outcome(&ready.claimed, outcome, with)
}

/// The issue's one mail is marked, and longer on its way than its lease lasts.
pub(super) async fn overdue(press: &Press, edition: &Edition) -> (Ledger, Ready) {
    let ready = press.claim_one(edition).await;
    let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
    ledger.mark(&ready, "scripted").await.unwrap();
    press
        .time
        .advance(leases().transmission + Duration::from_secs(1));
    (ledger, ready)
}

/// What is overdue is in doubt, and after its grace it is decided what becomes of it.
pub(super) async fn until_decided(press: &Press) {
    for passed in [Duration::ZERO, leases().grace] {
        press.time.advance(passed);
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        swept.unwrap();
    }
}

db_test!(
    an_acknowledgement_that_comes_after_its_row_was_held_counts,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "hold").await;
        let (ledger, ready) = overdue(&press, &edition).await;
        until_decided(&press).await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Held);
        ledger.settle(acknowledged(&press, &ready)).await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
    }
);

db_test!(
    a_late_acknowledgement_counts_whatever_the_row_became,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let (ledger, ready) = overdue(&press, &edition).await;
        let sender = press.sender(&server).await;
        press.time.advance(leases().grace);
        // It is pending again, for the second copy, when the first one's 250 comes in.
        recover::sweep(&press.db, press.now(), &leases())
            .await
            .unwrap();
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
        ledger.settle(acknowledged(&press, &ready)).await;
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
        assert_eq!(server.accepted().len(), 0);
    }
);

db_test!(
    a_late_acknowledgement_counts_where_the_row_is_claimed_anew_and_not_on_the_wire_yet,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let (ledger, late) = overdue(&press, &edition).await;
        until_decided(&press).await;
        let again = press.claim_one(&edition).await;
        assert!(again.claimed.attempt > late.claimed.attempt);
        ledger.settle(acknowledged(&press, &late)).await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
        let marked = ledger.mark(&again, "scripted").await.unwrap();
        assert_eq!(marked, Marked::No, "the reader has it");
    }
);

db_test!(
    a_doubt_that_the_sweeper_has_counted_is_not_counted_by_its_worker_again,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let (ledger, ready) = overdue(&press, &edition).await;
        recover::sweep(&press.db, press.now(), &leases())
            .await
            .unwrap();
        // only now its worker gives up waiting for the reply
        let lost = Outcome::Failed(Failure::new(Phase::Dot, Cause::TimedOut));
        let lost = settlement(&press, &ready, &lost);
        assert_eq!(lost.state, State::InDoubt);
        ledger.settle(lost).await;
        let row = press.delivery(edition.deliveries[0]).await;
        assert_eq!((row.state, row.doubt), (State::InDoubt, 1));
    }
);

db_test!(
    a_sender_that_is_stopped_finishes_what_is_on_the_wire_and_gives_back_the_rest,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(40).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().always(
            Step::Dot,
            Act::reply("250 ok").delayed(Duration::from_millis(200)),
        );
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        server.ledger().on_accept(move |_| stopping.cancel());
        let sender = press.sender(&server).await;
        sender.run(stop).await;
        let sent = server.accepted().len();
        // four lines, each with a message on the wire and one announced along with it
        assert!((1..=8).contains(&sent), "{sent}");
        let counts = paperround::deliveries::operate::counts(&press.db, edition.issue)
            .await
            .unwrap();
        assert_eq!(counts.sent, i64::try_from(sent).unwrap());
        assert_eq!(
            (counts.claimed, counts.transmitting, counts.in_doubt),
            (0, 0, 0)
        );
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 40);
    }
);

db_test!(
    a_sender_that_is_stopped_at_any_await_leaves_nothing_claimed,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let server = SmtpServer::start().await;
        for polls in 1..40 {
            let edition = press.edition(&readers, "resend").await;
            let sender = press.sender(&server).await;
            let stop = CancellationToken::new();
            let mut running = pin!(sender.run(stop.clone()));
            let mut left = polls;
            poll_fn(|context| {
                if left == 0 {
                    stop.cancel();
                } else {
                    left -= 1;
                }
                running.as_mut().poll(context)
            })
            .await;
            let counts = paperround::deliveries::operate::counts(&press.db, edition.issue)
                .await
                .unwrap();
            assert_eq!(
                (counts.claimed, counts.transmitting, counts.in_doubt),
                (0, 0, 0),
                "{polls}"
            );
            press.cancel(edition.issue).await;
        }
    }
);

db_test!(
    a_reply_that_does_not_come_before_the_end_of_the_drain_is_recorded_as_doubt,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        server.script().once(Step::Dot, Act::stall().accepted());
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        server.ledger().on_accept(move |_| stopping.cancel());
        // as long again may it take to write the doubt down
        let sender = press
            .sender_draining(&server, Duration::from_millis(500))
            .await;
        sender.run(stop).await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!((delivery.state, delivery.doubt), (State::InDoubt, 1));
    }
);

db_test!(
    what_another_process_queues_is_found_by_polling,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        server.ledger().on_accept(move |_| stopping.cancel());
        let sender = press.sender(&server).await;
        let queueing = async {
            tokio::task::yield_now().await;
            press.sign_up("ada@example.org").await;
        };
        let sending = tokio::time::timeout(Duration::from_secs(20), sender.run(stop));
        let (sent, ()) = tokio::join!(sending, queueing);
        sent.expect("the notice is found");
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    s14_a_relay_with_few_connections_gets_everything_over_few,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(12).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let full = Act::reply("421 4.7.0 too many connections").then(After::Close);
        server
            .script()
            .once(Step::Banner, Act::reply("220 welcome"));
        server.script().always(Step::Banner, full);
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 12);
        for id in &edition.deliveries {
            let delivery = press.delivery(*id).await;
            assert_eq!((delivery.state, delivery.tries), (State::Sent, 1));
        }
    }
);

db_test!(
    a_late_no_of_an_older_attempt_does_not_settle_a_newer_one,
    async |app: &TestApp| {
        use paperround::deliveries::settlement::Settlement;
        let (press, edition, _server) = one(app).await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let mut attempts = Vec::new();
        for _ in 0..2 {
            let worker = press.worker().await;
            press.time.advance(leases().grace);
            worker.beat().await.unwrap();
            recover::sweep(&press.db, press.now(), &leases())
                .await
                .unwrap();
            let terms = Terms {
                owner: worker.id(),
                now: press.now(),
                limit: 10,
                suspects: false,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms)
                .await
                .unwrap();
            let marked = ledger.mark(&claimed[0], "x").await.unwrap();
            assert!(matches!(marked, Marked::Yes { .. }));
            attempts.push(claimed[0].claimed.clone());
        }
        let late = Settlement::untouched(&attempts[0], press.now());
        ledger.settle(late).await;
        assert_eq!(press.state(attempts[0].id).await, State::Transmitting);
        let own = Settlement::untouched(&attempts[1], press.now());
        ledger.settle(own).await;
        assert_eq!(press.state(attempts[0].id).await, State::Pending);
    }
);

db_test!(
    what_may_have_arrived_is_held_where_its_issue_was_cancelled_after_the_claim,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let claim_one = async |owner| {
            let terms = Terms {
                owner,
                now: press.now(),
                limit: 1,
                suspects: false,
            };
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            claimed.unwrap().remove(0)
        };
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let first = claim_one(press.worker().await.id()).await;
        let marked = ledger.mark(&first, "scripted").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        // its worker dies, and the doubt is decided: once more
        let worker = press.worker().await;
        press.time.advance(leases().grace);
        recover::sweep(&press.db, press.now(), &leases())
            .await
            .unwrap();
        let second = claim_one(worker.id()).await;
        assert_eq!(second.claimed.doubt, 1);
        press.cancel(edition.issue).await;
        let marked = ledger.mark(&second, "scripted").await.unwrap();
        assert_eq!(marked, Marked::No);
        let held = press.delivery(second.claimed.id).await;
        assert_eq!(
            (held.state, held.reason),
            (State::Held, Some(Reason::Doubt))
        );
        assert_eq!(
            press.given_seq(&readers[0]).await,
            edition.cutoff,
            "its articles do not come again"
        );
    }
);
