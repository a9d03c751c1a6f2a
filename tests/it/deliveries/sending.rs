use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::deliveries::{Reason, State};

use super::senders::leases;
use super::{Edition, Press};
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

pub(super) async fn one(app: &TestApp) -> (Press, Edition, SmtpServer) {
    let press = Press::new(app).await;
    let readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    (press, edition, SmtpServer::start().await)
}

db_test!(
    every_reader_gets_one_copy_and_the_issue_is_finished,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(60).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let mut recipients: Vec<_> = server
            .accepted()
            .into_iter()
            .map(|mail| mail.recipient)
            .collect();
        recipients.sort();
        let mut expected: Vec<_> = readers.iter().map(|reader| reader.email.clone()).collect();
        expected.sort();
        assert_eq!(recipients, expected);
        for id in &edition.deliveries {
            let delivery = press.delivery(*id).await;
            assert_eq!(
                (delivery.state, delivery.attempt, delivery.reply_code),
                (State::Sent, 1, Some(250))
            );
            assert_eq!(delivery.relay_id.as_deref(), Some("scripted"));
        }
        assert_eq!(press.issue_state(edition.issue).await, "finished");
        assert!(server.counters().most_open <= 4);
        let counts = paperround::deliveries::operate::counts(&press.db, edition.issue)
            .await
            .unwrap();
        assert_eq!((counts.sent, counts.total(), counts.open()), (60, 60, 0));
    }
);

db_test!(
    issues_that_are_sent_at_one_time_take_turns,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for domain in ["first.example", "second.example"] {
            let readers = press.readers_at(domain, 60).await;
            press.edition(&readers, "resend").await;
        }
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 120);
        let is_second = |recipient: &str| recipient.ends_with("@second.example");
        let of_the_second = accepted[..40].iter().map(|mail| is_second(&mail.recipient));
        let of_the_second = of_the_second.filter(|is_second| *is_second).count();
        assert!((1..40).contains(&of_the_second), "{of_the_second} of 40");
    }
);

db_test!(
    a_deferred_row_waits_longer_each_time_and_is_sent_when_the_relay_takes_it,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let sender = press.sender(&server).await;
        server
            .script()
            .always(Step::Rcpt, Act::reply("451 4.7.1 greylisted"));
        for (tries, minutes) in [(1, 1), (2, 5), (3, 15)] {
            sender.run_until_idle().await;
            let delivery = press.delivery(edition.deliveries[0]).await;
            assert_eq!((delivery.state, delivery.tries), (State::Pending, tries));
            assert_eq!(delivery.enhanced_code.as_deref(), Some("4.7.1"));
            let wait = delivery.not_before.since(press.now());
            let expected = Duration::from_mins(minutes);
            assert!(
                wait >= expected.mul_f64(0.8) && wait <= expected.mul_f64(1.2),
                "{wait:?}"
            );
            press.time.advance(wait);
        }
        server.script().clear();
        sender.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!((delivery.state, delivery.attempt), (State::Sent, 4));
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    a_row_that_is_deferred_for_two_days_is_given_up_and_its_articles_come_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        server
            .script()
            .always(Step::Dot, Act::reply("452 4.2.2 full"));
        assert_eq!(press.given_seq(&readers[0]).await, edition.cutoff);
        for _ in 0..100 {
            sender.run_until_idle().await;
            let delivery = press.delivery(edition.deliveries[0]).await;
            if delivery.state != State::Pending {
                break;
            }
            press.time.advance(delivery.not_before.since(press.now()));
        }
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Failed, Some(Reason::Expired))
        );
        assert_eq!(press.given_seq(&readers[0]).await, edition.cutoff - 10);
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    what_may_have_arrived_and_is_then_deferred_for_two_days_is_held,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let sender = press.sender(&server).await;
        server.script().once(Step::Dot, Act::close().accepted());
        sender.run_until_idle().await;
        press.time.advance(leases().grace);
        let later = Act::reply("451 4.7.1 later");
        server.script().once(Step::Rcpt, later);
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
        press.time.advance(Duration::from_hours(48));
        sender.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Held, Some(Reason::Doubt))
        );
    }
);

db_test!(a_refused_recipient_fails_alone, async |app: &TestApp| {
    let press = Press::new(app).await;
    let readers = press.readers(3).await;
    let edition = press.edition(&readers, "resend").await;
    let server = SmtpServer::start().await;
    server.script().always_for(
        &readers[1].email,
        Step::Rcpt,
        Act::reply("550 5.1.1 unknown"),
    );
    press.sender(&server).await.run_until_idle().await;
    let delivery = press.delivery(edition.deliveries[1]).await;
    assert_eq!(
        (delivery.state, delivery.reason),
        (State::Failed, Some(Reason::Refused))
    );
    assert_eq!(delivery.reply_text.as_deref(), Some("5.1.1 unknown"));
    assert_eq!(server.accepted().len(), 2);
    // A refusal is no doing of ours: the articles count as given.
    assert_eq!(press.given_seq(&readers[1]).await, edition.cutoff);
});

db_test!(
    a_refused_sender_pauses_the_issue_and_touches_no_reader,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(20).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let asked = Arc::<AtomicUsize>::default();
        let counts = asked.clone();
        let refuses = Act::reply("550 5.7.1 not your domain").calling(move || {
            counts.fetch_add(1, Ordering::SeqCst);
        });
        server.script().always(Step::Mail, refuses);
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let why = press
            .pause_reason(edition.issue)
            .await
            .expect("it is paused");
        assert!(why.contains("not your domain"), "{why}");
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked <= 4, "once for each line, and not {asked} times");
        for id in &edition.deliveries {
            let delivery = press.delivery(*id).await;
            assert_eq!((delivery.state, delivery.tries), (State::Pending, 0));
        }
        server.script().clear();
        press.resume(edition.issue).await;
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 20);
    }
);

db_test!(
    a_lost_reply_is_doubt_and_the_same_bytes_go_once_more,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let sender = press.sender(&server).await;
        server.script().once(Step::Dot, Act::close().accepted());
        sender.run_until_idle().await;
        let id = edition.deliveries[0];
        assert_eq!(press.state(id).await, State::InDoubt);
        sender.run_until_idle().await;
        assert_eq!(
            press.state(id).await,
            State::InDoubt,
            "the grace is not over"
        );
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        let delivery = press.delivery(id).await;
        assert_eq!((delivery.state, delivery.doubt), (State::Sent, 1));
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 2);
        assert_eq!(accepted[0], accepted[1]);
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    a_second_doubt_is_held_for_an_operator,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let sender = press.sender(&server).await;
        server.script().always(Step::Dot, Act::close().accepted());
        for _ in 0..4 {
            sender.run_until_idle().await;
            press.time.advance(leases().grace);
        }
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason, delivery.doubt),
            (State::Held, Some(Reason::Doubt), 2)
        );
        assert_eq!(server.accepted().len(), 2);
        let counts = paperround::deliveries::operate::counts(&press.db, edition.issue)
            .await
            .unwrap();
        assert_eq!((counts.held, counts.doubted), (1, 1));
    }
);

db_test!(
    with_the_policy_hold_nothing_is_sent_twice,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "hold").await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        server.script().once(Step::Dot, Act::close().accepted());
        for _ in 0..3 {
            sender.run_until_idle().await;
            press.time.advance(leases().grace);
        }
        assert_eq!(press.state(edition.deliveries[0]).await, State::Held);
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    a_relay_that_fails_touches_no_row_and_everything_goes_when_it_heals,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(10).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        server.script().always(
            Step::Banner,
            Act::reply("421 4.3.2 busy").then(After::Close),
        );
        sender.run_until_idle().await;
        for id in &edition.deliveries {
            let delivery = press.delivery(*id).await;
            assert_eq!(
                (delivery.state, delivery.tries, delivery.crashes),
                (State::Pending, 0, 0)
            );
        }
        server.script().clear();
        press.time.advance(Duration::from_mins(1));
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), 10);
    }
);

db_test!(
    a_message_that_cannot_be_made_is_held_and_others_go_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(6).await;
        let edition = press.edition(&readers, "resend").await;
        press
            .desk
            .unmakeable
            .lock()
            .unwrap()
            .push(readers[1].email.clone());
        press
            .desk
            .panics
            .lock()
            .unwrap()
            .push(readers[4].email.clone());
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        for index in [1, 4] {
            let delivery = press.delivery(edition.deliveries[index]).await;
            assert_eq!(
                (delivery.state, delivery.reason),
                (State::Held, Some(Reason::Unrenderable))
            );
        }
        assert_eq!(server.accepted().len(), 4);
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);
