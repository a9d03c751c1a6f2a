use std::time::Duration;

use paperround::deliveries::decide::{self, HeldDecision, Refusal};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State, finish, operate};
use paperround::id::{DeliveryId, IssueId};
use paperround::issues::store::issues;

use super::Press;
use super::senders::leases;
use super::sending::one;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const CRASHED: &str =
    "UPDATE deliveries SET state = 'held', is_open = FALSE, reason = 'crashed', crashes = 4";
const FAILED: &str = "UPDATE deliveries SET state = 'failed', is_open = FALSE, reason = 'refused'";

async fn decide(
    press: &Press,
    issue: IssueId,
    id: DeliveryId,
    decision: HeldDecision,
) -> Result<(), Refusal> {
    let now = press.now();
    let expires_at = now + Duration::from_hours(48);
    press
        .db
        .write(move |tx| {
            Box::pin(async move { decide::decide(tx, issue, id, decision, now, expires_at).await })
        })
        .await
}

/// Lets the issue's failed mails wait again.
pub(super) async fn retry(press: &Press, issue: IssueId) -> Result<u64, Refusal> {
    let now = press.now();
    let expires_at = now + Duration::from_hours(48);
    press
        .db
        .write(move |tx| {
            Box::pin(async move { decide::retry_failed(tx, issue, now, expires_at).await })
        })
        .await
}

db_test!(
    s17_a_paused_issue_waits_and_goes_on_where_it_was,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(8).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        press.pause(edition.issue).await;
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 0);
        // A restart changes nothing about it.
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 0);
        press.resume(edition.issue).await;
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(server.accepted().len(), 8);
    }
);

db_test!(a_pause_acts_at_the_next_mark, async |app: &TestApp| {
    let press = Press::new(app).await;
    let readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    let ready = press.claim_one(&edition).await;
    press.pause(edition.issue).await;
    let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
    assert_eq!(ledger.mark(&ready, "x").await.unwrap(), Marked::No);
    assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
});

db_test!(
    a_pause_of_all_sending_acts_at_the_next_mark,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let ready = press.claim_one(&edition).await;
        press.pause_sending().await;
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let marked = ledger.mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    }
);

db_test!(
    pausing_all_sending_stops_notices_too,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("ada@example.org").await;
        press.pause_sending().await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let waits = press.delivery(notice).await;
        assert_eq!((waits.state, waits.attempt), (State::Pending, 0));
        press.resume_sending().await;
        sender.run_until_idle().await;
        assert_eq!(press.state(notice).await, State::Sent);
    }
);

db_test!(
    cancelling_skips_what_waits_and_gives_its_articles_back,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server
            .script()
            .always_for(&readers[1].email, Step::Rcpt, Act::reply("451 later"));
        server
            .script()
            .always_for(&readers[2].email, Step::Dot, Act::close().accepted());
        press.sender(&server).await.run_until_idle().await;
        press.cancel(edition.issue).await;
        assert_eq!(
            operate::skip_cancelled(&press.db, press.now())
                .await
                .unwrap(),
            1
        );
        press.time.advance(leases().grace);
        press.sender(&server).await.run_until_idle().await;
        let mut states = Vec::new();
        for (reader, id) in readers.iter().zip(&edition.deliveries) {
            let delivery = press.delivery(*id).await;
            states.push((
                delivery.state,
                delivery.reason,
                press.given_seq(reader).await,
            ));
        }
        let cutoff = edition.cutoff;
        assert_eq!(
            states,
            [
                (State::Sent, None, cutoff),
                (State::Skipped, Some(Reason::Cancelled), cutoff - 10),
                // It may have arrived: that is for an operator to say.
                (State::Held, Some(Reason::Doubt), cutoff),
            ]
        );
        assert_eq!(press.issue_state(edition.issue).await, "cancelled");
        assert_eq!(server.accepted().len(), 2);
    }
);

db_test!(
    cancelling_holds_a_second_copy_that_waits,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().once(Step::Dot, Act::close().accepted());
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        press.time.advance(leases().grace);
        server.script().once(Step::Rcpt, Act::reply("451 later"));
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
        press.cancel(edition.issue).await;
        sender.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Held, Some(Reason::Doubt))
        );
        // It may have arrived: its articles do not come again by themselves.
        assert_eq!(press.given_seq(&readers[0]).await, edition.cutoff);
    }
);

db_test!(
    what_is_in_doubt_of_an_issue_that_was_paused_and_then_cancelled_is_held_after_its_grace,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().once(Step::Dot, Act::close().accepted());
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        press.pause(edition.issue).await;
        press.cancel(edition.issue).await;
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Held);
    }
);

db_test!(
    an_operator_decides_about_what_is_held,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "hold").await;
        let server = SmtpServer::start().await;
        server.script().always(Step::Dot, Act::close().accepted());
        let sender = press.sender_with(&server, 1).await;
        for _ in 0..4 {
            sender.run_until_idle().await;
            press.time.advance(leases().grace);
        }
        sender.run_until_idle().await;
        for id in &edition.deliveries {
            assert_eq!(press.state(*id).await, State::Held);
        }
        server.script().clear();
        assert_eq!(press.issue_state(edition.issue).await, "finished");
        let [arrived, again, gone] = edition.deliveries[..] else {
            panic!("there are three");
        };
        for (id, decision) in [
            (arrived, HeldDecision::Sent),
            (again, HeldDecision::SendAgain),
            (gone, HeldDecision::NotSent),
        ] {
            decide(&press, edition.issue, id, decision).await.unwrap();
        }
        let twice = decide(&press, edition.issue, gone, HeldDecision::Sent).await;
        assert!(
            matches!(twice, Err(Refusal::NotHeld(State::Skipped))),
            "{twice:?}"
        );
        sender.run_until_idle().await;
        assert_eq!(press.state(arrived).await, State::Sent);
        assert_eq!(press.state(again).await, State::Sent);
        assert_eq!(press.state(gone).await, State::Skipped);
        assert_eq!(press.given_seq(&readers[2]).await, edition.cutoff - 10);
        assert_eq!(server.accepted().len(), 4);
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    what_was_not_sent_is_not_put_back_where_a_later_issue_has_gone_further,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let first = press.edition(&readers, "hold").await;
        let server = SmtpServer::start().await;
        server.script().once(Step::Dot, Act::close());
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        let held = first.deliveries[0];
        assert_eq!(press.state(held).await, State::Held);
        let second = press.edition(&readers, "hold").await;
        sender.run_until_idle().await;
        assert_eq!(press.state(second.deliveries[0]).await, State::Sent);
        let not_sent = decide(&press, first.issue, held, HeldDecision::NotSent).await;
        not_sent.unwrap();
        assert_eq!(press.state(held).await, State::Skipped);
        assert_eq!(press.given_seq(&readers[0]).await, second.cutoff);
    }
);

db_test!(
    retrying_failed_rows_leaves_those_whose_articles_came_with_a_later_issue,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let first = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        server.script().always_for(
            &readers[0].email,
            Step::Rcpt,
            Act::reply("550 5.7.1 policy"),
        );
        server
            .script()
            .always_for(&readers[1].email, Step::Rcpt, Act::reply("451 4.7.1 later"));
        server
            .script()
            .always_for(&readers[2].email, Step::Rcpt, Act::reply("451 4.7.1 later"));
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        press.time.advance(Duration::from_hours(49));
        sender.run_until_idle().await;
        for id in &first.deliveries {
            assert_eq!(press.state(*id).await, State::Failed);
        }
        assert_eq!(press.issue_state(first.issue).await, "finished");
        // The last reader has had the articles with a later issue.
        server.script().clear();
        press.edition(&readers[2..], "resend").await;
        sender.run_until_idle().await;
        app.execute("UPDATE deliveries SET crashes = 2 WHERE state = 'failed'")
            .await;
        assert_eq!(retry(&press, first.issue).await.unwrap(), 2);
        for id in &first.deliveries[..2] {
            let row = press.delivery(*id).await;
            assert_eq!((row.tries, row.crashes), (0, 0), "they begin anew");
        }
        sender.run_until_idle().await;
        let mut states = Vec::new();
        for id in &first.deliveries {
            states.push(press.state(*id).await);
        }
        assert_eq!(states, [State::Sent, State::Sent, State::Failed]);
        assert_eq!(press.given_seq(&readers[1]).await, first.cutoff);
        assert_eq!(press.issue_state(first.issue).await, "finished");
    }
);

db_test!(
    what_is_decided_of_a_mail_that_crashed_lets_it_begin_anew,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(CRASHED).await;
        let [arrived, again, gone] = edition.deliveries[..] else {
            panic!("there are three");
        };
        for (id, decision, state, reason) in [
            (arrived, HeldDecision::Sent, State::Sent, None),
            (again, HeldDecision::SendAgain, State::Pending, None),
            (
                gone,
                HeldDecision::NotSent,
                State::Skipped,
                Some(Reason::NotSent),
            ),
        ] {
            decide(&press, edition.issue, id, decision).await.unwrap();
            let row = press.delivery(id).await;
            assert_eq!((row.state, row.reason, row.crashes), (state, reason, 0));
        }
        // not a suspect any more, and its next crash is its first
        assert_eq!(press.claim_one(&edition).await.claimed.id, again);
        press.worker().await;
        let retaken = press.delivery(again).await;
        assert_eq!((retaken.state, retaken.crashes), (State::Pending, 1));
    }
);

db_test!(
    retrying_one_issue_leaves_what_failed_of_another,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let first = press.edition(&readers, "resend").await;
        let second = press.edition(&readers, "resend").await;
        app.execute(FAILED).await;
        assert_eq!(retry(&press, first.issue).await.unwrap(), 1);
        assert_eq!(press.state(first.deliveries[0]).await, State::Pending);
        assert_eq!(press.state(second.deliveries[0]).await, State::Failed);
    }
);

db_test!(
    an_issue_is_finished_while_mails_of_another_wait,
    async |app: &TestApp| {
        let (press, first, server) = one(app).await;
        let readers = press.readers_at("later.example", 1).await;
        let second = press.edition(&readers, "resend").await;
        let later = Act::reply("451 4.7.1 later");
        server
            .script()
            .always_for(&readers[0].email, Step::Rcpt, later);
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(press.issue_state(first.issue).await, "finished");
        assert_eq!(press.issue_state(second.issue).await, "sending");
    }
);

db_test!(
    an_issue_says_when_and_why_it_ended_and_not_once_it_is_sent_again,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let end = async || {
            let issue = issues::by_id(&press.db, edition.issue).await;
            let issue = issue.unwrap().unwrap();
            (issue.state_reason, issue.finished_at)
        };
        app.execute(FAILED).await;
        let finished = finish::finish_issues(&press.db, press.now()).await;
        assert_eq!(finished.unwrap(), [edition.issue]);
        assert_eq!(end().await, (None, Some(press.now())));
        press.time.advance(Duration::from_secs(1));
        retry(&press, edition.issue).await.unwrap();
        assert_eq!(end().await, (None, None));
        press.cancel(edition.issue).await;
        let why = Some("by hand".to_owned());
        assert_eq!(end().await, (why, Some(press.now())));
    }
);

db_test!(
    what_is_held_of_a_cancelled_issue_counts_as_sent_or_not_sent_and_is_not_sent_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(CRASHED).await;
        press.cancel(edition.issue).await;
        let [arrived, gone, again] = edition.deliveries[..] else {
            panic!("there are three");
        };
        let again = decide(&press, edition.issue, again, HeldDecision::SendAgain).await;
        assert!(matches!(again, Err(Refusal::IssueState(_))), "{again:?}");
        for (id, decision, state) in [
            (arrived, HeldDecision::Sent, State::Sent),
            (gone, HeldDecision::NotSent, State::Skipped),
        ] {
            decide(&press, edition.issue, id, decision).await.unwrap();
            assert_eq!(press.state(id).await, state);
        }
        assert_eq!(press.issue_state(edition.issue).await, "cancelled");
    }
);
