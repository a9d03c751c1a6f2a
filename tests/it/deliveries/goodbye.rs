use std::sync::{Arc, OnceLock};
use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Reason, State};

use super::senders::{To, leases};
use super::{Edition, Press, Reader};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

async fn one(app: &TestApp) -> (Press, Reader, Edition) {
    let press = Press::new(app).await;
    let reader = press.reader("ada@example.org").await;
    let edition = press.edition(std::slice::from_ref(&reader), "resend").await;
    (press, reader, edition)
}

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

/// Runs the sender for two days; nothing may leave any more.
async fn nothing_more_leaves(press: &Press, server: &SmtpServer) {
    let before = server.accepted().len();
    let sender = press.sender(server).await;
    for _ in 0..20 {
        sender.run_until_idle().await;
        press.time.advance(Duration::from_hours(3));
    }
    assert_eq!(server.accepted().len(), before);
}

db_test!(
    leaving_before_the_claim_skips_the_delivery,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        press.unsubscribe(&reader).await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Skipped, Some(Reason::Unsubscribed))
        );
        nothing_more_leaves(&press, &SmtpServer::start().await).await;
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    leaving_between_claim_and_mark_stops_the_mark,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        let ready = press.claim_one(&edition).await;
        press.unsubscribe(&reader).await;
        assert_eq!(ledger(&press).mark(&ready, "x").await.unwrap(), Marked::No);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Skipped);
        nothing_more_leaves(&press, &SmtpServer::start().await).await;
    }
);

db_test!(
    leaving_at_the_mark_leaves_the_mail_behind_it_to_go_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let go_on = Act::reply("354 go on").delayed(Duration::from_millis(400));
        server.script().once(Step::Data, go_on);
        let in_hand = Arc::new(OnceLock::new());
        for (at, reader) in readers.iter().enumerate() {
            let in_hand = in_hand.clone();
            let heard = Act::reply("250 ok").calling(move || {
                in_hand.get_or_init(|| at);
            });
            server.script().once_for(&reader.email, Step::Rcpt, heard);
        }
        let to = To {
            max_connections: 1,
            ..To::port(server.port())
        };
        let sender = press.sender_to(to).await;
        tokio::join!(sender.run_until_idle(), async {
            while in_hand.get().is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            press
                .subscription_ends(&readers[in_hand.get().copied().unwrap()])
                .await;
        });
        let left = in_hand.get().copied().unwrap();
        assert_eq!(press.state(edition.deliveries[left]).await, State::Skipped);
        assert_eq!(press.state(edition.deliveries[1 - left]).await, State::Sent);
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    a_subscription_that_ended_in_any_way_stops_the_mark_and_the_claim,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers[..1], "resend").await;
        let ready = press.claim_one(&edition).await;
        press.subscription_ends(&readers[0]).await;
        assert_eq!(ledger(&press).mark(&ready, "x").await.unwrap(), Marked::No);
        let edition = press.edition(&readers[1..], "resend").await;
        press.subscription_ends(&readers[1]).await;
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        for id in [ready.claimed.id, edition.deliveries[0]] {
            let delivery = press.delivery(id).await;
            assert_eq!(
                (delivery.state, delivery.reason),
                (State::Skipped, Some(Reason::Unsubscribed))
            );
        }
        assert_eq!(server.accepted().len(), 0);
    }
);

db_test!(
    leaving_after_the_envelope_closes_without_the_dot,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        let server = SmtpServer::start().await;
        // The relay takes its time with the 354; meanwhile the reader leaves.
        let delay = Duration::from_millis(300);
        server
            .script()
            .once(Step::Data, Act::reply("354 go").delayed(delay));
        let sender = press.sender(&server).await;
        let leaving = async {
            while press.state(edition.deliveries[0]).await != State::Claimed {
                tokio::task::yield_now().await;
            }
            press.unsubscribe(&reader).await;
        };
        tokio::join!(sender.run_until_idle(), leaving);
        assert_eq!(server.accepted().len(), 0);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Skipped);
        nothing_more_leaves(&press, &server).await;
    }
);

db_test!(
    leaving_after_the_mark_lets_that_mail_arrive_and_no_other,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        let server = SmtpServer::start().await;
        let delay = Duration::from_millis(300);
        server
            .script()
            .once(Step::Dot, Act::reply("250 ok").delayed(delay));
        let sender = press.sender(&server).await;
        let leaving = async {
            while press.state(edition.deliveries[0]).await != State::Transmitting {
                tokio::task::yield_now().await;
            }
            press.unsubscribe(&reader).await;
        };
        tokio::join!(sender.run_until_idle(), leaving);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
        assert_eq!(server.accepted().len(), 1);
        nothing_more_leaves(&press, &server).await;
    }
);

db_test!(
    no_retry_resurrects_a_delivery_to_somebody_who_left,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        for (reader, step) in readers.iter().zip([Step::Rcpt, Step::Dot]) {
            let later = Act::reply("451 4.7.1 later");
            server.script().once_for(&reader.email, step, later);
        }
        press.sender(&server).await.run_until_idle().await;
        for (reader, id) in readers.iter().zip(&edition.deliveries) {
            assert_eq!(press.state(*id).await, State::Pending);
            press.unsubscribe(reader).await;
            assert_eq!(press.state(*id).await, State::Skipped);
        }
        nothing_more_leaves(&press, &server).await;
    }
);

db_test!(
    a_4xx_that_comes_after_the_goodbye_is_not_tried_again,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        let server = SmtpServer::start().await;
        let delay = Duration::from_millis(300);
        server
            .script()
            .once(Step::Dot, Act::reply("451 4.3.0 later").delayed(delay));
        let sender = press.sender(&server).await;
        let leaving = async {
            while press.state(edition.deliveries[0]).await != State::Transmitting {
                tokio::task::yield_now().await;
            }
            press.unsubscribe(&reader).await;
        };
        tokio::join!(sender.run_until_idle(), leaving);
        nothing_more_leaves(&press, &server).await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Skipped, Some(Reason::Unsubscribed))
        );
        assert_eq!(server.accepted().len(), 0);
    }
);

db_test!(
    doubt_about_somebody_who_left_is_held_and_never_resent,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        let server = SmtpServer::start().await;
        server.script().once(Step::Dot, Act::close().accepted());
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::InDoubt);
        press.unsubscribe(&reader).await;
        nothing_more_leaves(&press, &server).await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Held);
    }
);

db_test!(
    a_reader_who_pauses_gets_the_articles_later,
    async |app: &TestApp| {
        let (press, reader, edition) = one(app).await;
        press
            .reader_pauses(&reader, press.now() + Duration::from_hours(72))
            .await;
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Skipped, Some(Reason::ReaderPaused))
        );
        assert_eq!(server.accepted().len(), 0);
        assert_eq!(press.given_seq(&reader).await, edition.cutoff - 10);
    }
);

db_test!(
    in_a_race_of_leaving_and_marking_one_comes_first,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(60).await;
        let edition = press.edition(&readers, "resend").await;
        let worker = press.worker().await;
        let terms = Terms {
            owner: worker.id(),
            now: press.now(),
            limit: 100,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms)
            .await
            .unwrap();
        let ledger = ledger(&press);
        for (ready, number) in claimed.into_iter().zip(0..) {
            let reader = readers
                .iter()
                .find(|reader| Some(reader.subscription) == ready.claimed.subscription_id)
                .unwrap();
            let marking = ledger.mark(&ready, "x");
            let (marked, ()) = if number % 2 == 0 {
                tokio::join!(marking, press.unsubscribe(reader))
            } else {
                let (left, marked) = tokio::join!(press.unsubscribe(reader), marking);
                (marked, left)
            };
            let state = press.state(ready.claimed.id).await;
            match marked.unwrap() {
                Marked::Yes { .. } => assert_eq!(state, State::Transmitting),
                Marked::No => assert_eq!(state, State::Skipped),
            }
            // Whoever came first: from now on there is no mark.
            assert_eq!(ledger.mark(&ready, "x").await.unwrap(), Marked::No);
        }
    }
);
