use std::sync::Arc;
use std::time::Duration;

use paperround::clock::{SystemClock, TestClock};
use paperround::config::InDoubt;
use paperround::db::Db;
use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::{LeaseClock, Leases, State, recover};
use paperround::id::Entropy;
use paperround::read_db;
use paperround::smtp::channel::Channel;
use paperround::worker::sender::{Parts, Sender};
use tokio::sync::{Notify, oneshot};

use super::running::send;
use super::sending::one;
use super::{Press, leases};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Engine, TestApp, db_test};

const NO_WORKERS: &str = "ALTER TABLE workers RENAME TO workers_away";
const THE_WORKERS: &str = "ALTER TABLE workers_away RENAME TO workers";
const WORKERS: &str = "SELECT COUNT(*) FROM workers";

db_test!(
    what_leases_and_graces_last_is_as_the_settings_say,
    [
        ("delivery.worker_lease", "12s"),
        ("delivery.heartbeat", "5s"),
        ("delivery.transmission_lease", "21m"),
        ("delivery.grace", "7m"),
        ("delivery.notice_grace", "2m"),
        ("delivery.in_doubt", "hold")
    ],
    async |app: &TestApp| {
        let settings = &app.config.delivery;
        let own = Leases::new(settings, &app.db, &*app.time);
        let lasts = [own.worker, own.transmission, own.grace, own.notice_grace];
        let expected = [12, 21 * 60, 7 * 60, 2 * 60].map(Duration::from_secs);
        assert_eq!((lasts, own.in_doubt), (expected, InDoubt::Hold));
        // a short lease has a fence a quarter of it before its end
        assert_eq!(own.own_worker_lease(), Duration::from_secs(9));
        assert_eq!(own.clock, LeaseClock::Own);
        // machines that share a server may have clocks that differ
        let real = Leases::new(settings, &app.db, &SystemClock);
        let expected = match app.db {
            Db::Sqlite { .. } => LeaseClock::Own,
            Db::Postgres(_) => LeaseClock::Server,
        };
        assert_eq!(real.clock, expected);
    }
);

db_test!(
    a_short_lease_of_a_transmission_has_a_fence_a_quarter_of_it_before_its_end,
    [
        ("delivery.transmission_lease", "8s"),
        ("delivery.body_deadline", "2s"),
        ("delivery.reply_deadline", "3s")
    ],
    async |app: &TestApp| {
        let own = Leases::new(&app.config.delivery, &app.db, &*app.time);
        assert_eq!(own.own_transmission_lease(), Duration::from_secs(6));
    }
);

db_test!(
    a_silent_worker_that_owns_nothing_is_forgotten_after_sixty_leases,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let known = async || -> i64 {
            press.worker_beside_others().await;
            read_db!(&press.db, |conn| sqlx::query_scalar(WORKERS)
                .fetch_one(conn)
                .await)
            .unwrap()
        };
        assert_eq!(known().await, 1);
        press.time.advance(leases().worker * 59);
        assert_eq!(known().await, 2);
        press.time.advance(leases().worker * 2);
        assert_eq!(known().await, 2, "the first one is forgotten");
    }
);

db_test!(
    a_worker_that_shows_life_just_before_its_lease_is_over_lives_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let worker = press.worker_beside_others().await;
        let life = worker.id();
        let silence = leases().worker.saturating_sub(Duration::from_millis(1));
        press.time.advance(silence);
        assert!(!worker.is_alive(), "by itself it begins nothing");
        worker.beat().await.unwrap();
        assert!(worker.is_still(life));
    }
);

db_test!(
    a_life_that_was_given_up_ends_though_the_next_one_could_not_be_written_down,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let worker = press.worker_beside_others().await;
        let claimed = leases::claim(&press, &edition, &worker).await;
        let life = worker.id();
        app.execute(NO_WORKERS).await;
        worker.begin_anew().await;
        assert_eq!(worker.id(), life, "a life begins when it is written down");
        assert!(!worker.is_alive() && !worker.is_still(claimed.claimed.owner));
        app.execute(THE_WORKERS).await;
        worker.beat().await.unwrap();
        assert!(worker.is_alive() && worker.id() != life);
        press.time.advance(leases().worker);
        press.worker_beside_others().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    }
);

db_test!(
    a_worker_that_begins_takes_back_what_one_that_is_silent_had_claimed,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let silent = press.worker_beside_others().await;
        leases::claim(&press, &edition, &silent).await;
        press.time.advance(leases().worker);
        press.worker_beside_others().await;
        let row = press.delivery(edition.deliveries[0]).await;
        assert_eq!((row.state, row.crashes), (State::Pending, 1));
    }
);

db_test!(
    what_goes_along_with_a_message_whose_lease_is_over_waits_again_as_it_does,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let worker = press.worker().await;
        let terms = Terms {
            owner: worker.id(),
            now: press.now(),
            limit: 2,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let mut claimed = claimed.unwrap();
        let first = claimed.remove(0);
        let late = press.now() + leases().own_transmission_lease();
        let clock = Arc::new(TestClock::at(late));
        send(&press, &server, worker, first, clock, || claimed.pop()).await;
        assert!(claimed.is_empty(), "it went along");
        assert!(server.accepted().is_empty());
        for id in edition.deliveries {
            let row = press.delivery(id).await;
            assert_eq!((row.state, row.doubt), (State::Pending, 0));
        }
    }
);

/// Fails in a way that nobody foresaw.
struct Broken;

impl Entropy for Broken {
    fn fill(&self, _bytes: &mut [u8]) {
        panic!("on purpose");
    }
}

db_test!(
    a_worker_that_fails_at_a_mail_begins_anew_so_that_the_mail_is_taken_back,
    async |app: &TestApp| {
        let (press, edition, server) = one(app).await;
        let deferred = Act::reply("451 4.7.1 later");
        server.script().always(Step::Rcpt, deferred);
        let worker = press.worker().await;
        let life = worker.id();
        let route = press.route(&[("scripted", &server, None)], press.time.clone());
        let channel = Channel::Smtp(route);
        let parts = Parts {
            // the wait after a refusal asks for it
            entropy: Arc::new(Broken),
            ..Parts::of(app, worker.clone(), channel, press.desk.clone())
        };
        Sender::new(parts).run_until_idle().await;
        assert_ne!(worker.id(), life);
        press.time.advance(leases().worker);
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        swept.unwrap();
        let row = press.delivery(edition.deliveries[0]).await;
        assert_eq!((row.state, row.attempt), (State::Pending, 1));
    }
);

/// So much later by the clock that deadlines go by.
pub(super) async fn later(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
    // what is over by now is found over
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_relay_waits_half_a_minute_for_a_mark_and_then_gets_no_message() {
    for (seconds, state) in [(20, State::Sent), (31, State::Pending)] {
        let app = TestApp::start(Engine::Sqlite).await;
        let (press, edition, server) = one(&app).await;
        let worker = press.worker().await;
        let ready = leases::claim(&press, &edition, &worker).await;
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
        // what may go along is asked for while the mark is awaited
        let awaited = Notify::new();
        let next = || {
            awaited.notify_one();
            None
        };
        let clock = press.time.clone();
        tokio::join!(send(&press, &server, worker, ready, clock, next), async {
            awaited.notified().await;
            later(Duration::from_secs(seconds)).await;
            end.send(()).unwrap();
        });
        busy.await.unwrap().unwrap();
        let row = press.delivery(edition.deliveries[0]).await;
        assert_eq!((row.state, row.doubt), (state, 0), "{seconds} s");
        let sent = usize::from(state == State::Sent);
        assert_eq!(server.accepted().len(), sent);
        app.finish().await;
    }
}

db_test!(
    a_worker_whose_last_sign_of_life_is_a_lease_old_is_dead_and_begins_anew,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let worker = press.worker_beside_others().await;
        let life = worker.id();
        press.time.advance(leases().worker);
        worker.beat().await.unwrap();
        assert!(worker.is_alive() && worker.id() != life);
    }
);
