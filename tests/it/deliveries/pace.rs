use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paperround::clock::{Clock as _, SystemClock, Timestamp};
use paperround::deliveries::worker::Worker;
use paperround::deliveries::{State, pace};
use paperround::smtp::allowance::Allowance;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Edition, Press};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, TestApp, db_test};

async fn issue(app: &TestApp, readers: usize) -> (Press, Edition) {
    let press = Press::new(app).await;
    let readers = press.readers(readers).await;
    let edition = press.edition(&readers, "resend").await;
    (press, edition)
}

/// When each message was accepted, by the test's clock.
fn watch(press: &Press, server: &SmtpServer) -> Arc<Mutex<Vec<Timestamp>>> {
    let times = Arc::<Mutex<Vec<Timestamp>>>::default();
    let (seen, clock) = (times.clone(), press.time.clone());
    server
        .ledger()
        .on_accept(move |_| seen.lock().unwrap().push(clock.now()));
    times
}

/// Waits until `count` messages came, and a little longer for one too many.
async fn settle_at(server: &SmtpServer, count: usize) {
    let came = async {
        while server.accepted().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), came)
        .await
        .unwrap_or_else(|_| panic!("{} of {count} came", server.accepted().len()));
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(server.accepted().len(), count);
}

db_test!(
    a_relay_gets_its_burst_and_then_one_message_for_each_interval_of_the_clock,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 9).await;
        let server = SmtpServer::start().await;
        let allowance = Some(Allowance::per_second(2.0, 3));
        let sender = press.sender_along(&[("slow", &server, allowance)]).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            settle_at(&server, 3).await;
            for half_seconds in 1..=4 {
                press.time.advance(Duration::from_millis(500));
                settle_at(&server, 3 + half_seconds).await;
            }
            press.time.advance(Duration::from_secs(1));
            settle_at(&server, 9).await;
            stop.cancel();
        });
        let delivery = press.delivery(edition.deliveries[0]).await;
        assert_eq!(delivery.relay_id.as_deref(), Some("slow"));
        assert_eq!(delivery.attempt, 1, "nothing goes back and forth");
    }
);

db_test!(a_restart_does_not_fill_the_bucket, async |app: &TestApp| {
    let (press, _) = issue(app, 8).await;
    let server = SmtpServer::start().await;
    let allowance = Some(Allowance::per_second(1.0, 3));
    for (life, expected) in [(1, 3), (2, 3), (3, 4)] {
        if life == 3 {
            press.time.advance(Duration::from_secs(1));
        }
        let sender = press.sender_along(&[("slow", &server, allowance)]).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            settle_at(&server, expected).await;
            stop.cancel();
        });
    }
});

db_test!(
    of_many_who_ask_at_one_moment_as_many_get_a_token_as_there_are,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let allowance = Allowance::per_second(1.0, 5);
        for _ in 0..5 {
            let asks = (0..12).map(|_| {
                let (db, now) = (press.db.clone(), press.now());
                tokio::spawn(async move { pace::take(&db, "slow", allowance, now).await.unwrap() })
            });
            let answers = futures_util::future::join_all(asks).await;
            let given = answers.into_iter().filter(|answer| {
                let answer = answer.as_ref().expect("nobody panics");
                answer.is_ok()
            });
            assert_eq!(given.count(), 5);
            press.time.advance(Duration::from_secs(5));
        }
    }
);

db_test!(
    what_one_relay_is_given_is_not_taken_from_another,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (db, now) = (&press.db, press.now());
        let allowance = Allowance::per_second(1.0, 2);
        for (relay, is_given) in [
            ("first", true),
            ("second", true),
            ("first", true),
            ("first", false),
            ("second", true),
        ] {
            let token = pace::take(db, relay, allowance, now).await.unwrap();
            assert_eq!(token.is_ok(), is_given, "{relay}");
        }
    }
);

db_test!(
    what_was_paid_for_one_relay_pays_for_no_other,
    async |app: &TestApp| {
        let (press, _) = issue(app, 4).await;
        let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
        let slow = Some(Allowance::per_second(1.0, 1));
        let very_slow = Some(Allowance::per_second(0.001, 1));
        let relays = [("first", &first, slow), ("second", &second, very_slow)];
        let sender = press.sender_along(&relays).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            settle_at(&first, 1).await;
            // the others wait for a token of the first, and go over the second when they have it
            let refusal = Act::reply("550 5.7.1 not your domain");
            first.script().always(Step::Mail, refusal);
            for _ in 0..3 {
                press.time.advance(Duration::from_secs(1));
                settle_at(&second, 1).await;
            }
            stop.cancel();
        });
        assert_eq!(first.accepted().len(), 1);
    }
);

db_test!(two_workers_share_one_allowance, async |app: &TestApp| {
    let (press, _) = issue(app, 12).await;
    let server = SmtpServer::start().await;
    let allowance = Some(Allowance::per_second(4.0, 2));
    let times = watch(&press, &server);
    // they share a life, for a second one would bury the first; what they know of the pace they do not share
    let worker = press.worker().await;
    let route = || press.route(&[("slow", &server, allowance)], press.time.clone());
    let one = press.sender_over(route(), worker.clone(), press.time.clone());
    let other = press.sender_over(route(), worker, press.time.clone());
    let stop = CancellationToken::new();
    tokio::join!(one.run(stop.clone()), other.run(stop.clone()), async {
        settle_at(&server, 2).await;
        for quarters in 1..=10 {
            press.time.advance(Duration::from_millis(250));
            settle_at(&server, 2 + quarters).await;
        }
        stop.cancel();
    });
    let times = times.lock().unwrap();
    for first in times.iter() {
        let within = times
            .iter()
            .filter(|at| *at >= first && at.since(*first) < Duration::from_secs(1));
        assert!(within.count() <= 4 + 2);
    }
});

db_test!(
    a_notice_does_not_wait_behind_digests_that_wait_for_the_pace,
    async |app: &TestApp| {
        let (press, _) = issue(app, 20).await;
        let server = SmtpServer::start().await;
        let allowance = Some(Allowance::per_second(1.0, 1));
        let sender = press.sender_along(&[("slow", &server, allowance)]).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            settle_at(&server, 1).await;
            press.sign_up("eve@example.org").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            press.time.advance(Duration::from_secs(1));
            settle_at(&server, 2).await;
            stop.cancel();
        });
        assert_eq!(server.accepted()[1].recipient, "eve@example.org");
    }
);

db_test!(
    a_notice_in_place_of_a_digest_that_waited_for_a_relay_goes_a_way_of_its_own,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 4).await;
        // one for each line, and all of them go to the relay that may have them
        app.execute("UPDATE deliveries SET doubt = 1, relay_id = 'slow'")
            .await;
        let (first, slow) = (SmtpServer::start().await, SmtpServer::start().await);
        let allowance = Allowance::per_second(1.0, 1);
        let spent = pace::take(&press.db, "slow", allowance, press.now()).await;
        assert_eq!(spent.unwrap(), Ok(()), "there is no other token");
        let relays = [("first", &first, None), ("slow", &slow, Some(allowance))];
        let sender = press.sender_along(&relays).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let in_hand = async {
                while pending(&press, &edition).await > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), in_hand)
                .await
                .expect("they are claimed");
            tokio::time::sleep(Duration::from_millis(200)).await;
            press.sign_up("eve@example.org").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            press.time.advance(Duration::from_secs(1));
            settle_at(&first, 1).await;
            stop.cancel();
        });
        assert_eq!(first.accepted()[0].recipient, "eve@example.org");
    }
);

db_test!(
    a_service_that_stops_does_not_wait_for_the_pace,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 5).await;
        let server = SmtpServer::start().await;
        let allowance = Some(Allowance::per_second(0.001, 1));
        let sender = press.sender_along(&[("slow", &server, allowance)]).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            settle_at(&server, 1).await;
            stop.cancel();
        });
        let counts = paperround::deliveries::operate::counts(&press.db, edition.issue)
            .await
            .unwrap();
        assert_eq!((counts.sent, counts.pending), (1, 4));
    }
);

/// How many mails of the issue wait.
async fn pending(press: &Press, edition: &Edition) -> usize {
    let mut pending = 0;
    for id in &edition.deliveries {
        pending += usize::from(press.state(*id).await == State::Pending);
    }
    pending
}

db_test!(
    what_waits_for_the_pace_while_its_issue_is_paused_gets_no_envelope,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 4).await;
        let server = SmtpServer::start().await;
        let (envelopes, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, reached) = (envelopes.clone(), first.clone());
        let sender_ok = Act::reply("250 2.1.0 ok").calling(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            reached.notify_one();
        });
        let slowly = Act::reply("354 go on").delayed(Duration::from_millis(500));
        server.script().always(Step::Mail, sender_ok);
        server.script().once(Step::Data, slowly);
        let allowance = Some(Allowance::per_second(1.0, 1));
        let sender = press.sender_along(&[("slow", &server, allowance)]).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            first.notified().await;
            press.pause(edition.issue).await;
            let given_back = async {
                // the mark of the one finds the pause
                while pending(&press, &edition).await == 0 {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                // the others have their tokens
                while pending(&press, &edition).await < 4 {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    press.time.advance(Duration::from_secs(1));
                }
            };
            tokio::time::timeout(Duration::from_secs(20), given_back)
                .await
                .expect("they are given back");
            stop.cancel();
        });
        assert_eq!(envelopes.load(Ordering::Relaxed), 1);
    }
);

db_test!(
    what_is_claimed_ahead_of_a_slow_relay_is_no_more_than_its_lines_need,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 60).await;
        let server = SmtpServer::start().await;
        let allowance = Allowance::per_second(0.001, 1);
        let spent = pace::take(&press.db, "slow", allowance, press.now()).await;
        assert_eq!(spent.unwrap(), Ok(()), "there is no other token");
        let sender = press
            .sender_along(&[("slow", &server, Some(allowance))])
            .await;
        // for each of four lines: two in hand and two that wait, and as many as wait twice with the last claim
        let most = 32;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let claimed = async {
                while pending(&press, &edition).await > 60 - most {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), claimed)
                .await
                .expect("they are claimed");
            // as long as it takes to look for more a few times
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(pending(&press, &edition).await, 60 - most);
            stop.cancel();
        });
    }
);

/// In real time, through the service's own settings and clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_real_time_no_second_sees_more_than_rate_and_burst() {
    let app = TestApp::start(Engine::Sqlite).await;
    app.time.advance(SystemClock.now().since(app.now()));
    let (press, _) = issue(&app, 60).await;
    let server = SmtpServer::start().await;
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    let seen = times.clone();
    server
        .ledger()
        .on_accept(move |_| seen.lock().unwrap().push(Instant::now()));
    let allowance = Some(Allowance::per_second(25.0, 5));
    let clock = Arc::new(SystemClock);
    let leases = super::senders::leases();
    let worker = Worker::start(app.db.clone(), clock.clone(), app.ids.clone(), leases);
    let route = press.route(&[("slow", &server, allowance)], clock.clone());
    let sender = press.sender_over(route, worker.await.unwrap(), clock);
    let began = Instant::now();
    let stop = CancellationToken::new();
    tokio::join!(sender.run(stop.clone()), async {
        settle_at(&server, 60).await;
        stop.cancel();
    });
    let times = times.lock().unwrap().clone();
    assert!(began.elapsed() >= Duration::from_secs(2), "(60 - 5) / 25");
    for (index, first) in times.iter().enumerate() {
        let within = times[index..]
            .iter()
            .filter(|at| at.duration_since(*first) < Duration::from_secs(1));
        // a message may take up to some ms longer than another from its token to the relay's answer
        assert!(within.count() <= 25 + 5 + 2);
    }
    app.finish().await;
}
