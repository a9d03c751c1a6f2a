use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::deliveries::{Reason, State, brakes, claim, operate, recover};
use paperround::id::IssueId;
use paperround::issues::store::issues;
use paperround::{read_db, write_db};
use sqlx::types::Json;
use tokio::sync::Notify;

use super::claims::at_most;
use super::recovery::{overdue, until_decided};
use super::{Edition, Press};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const BECOME: &str = "UPDATE issues SET state = $2 WHERE id = $1";
const ANOTHER_SETTING: &str = "INSERT INTO settings (key, value) VALUES ('another', '1')";
const SETTING: &str = "SELECT value FROM settings WHERE key = $1";

const THREE_DAYS: Duration = Duration::from_hours(72);

/// Three readers: of one the relay's reply was lost, of the others nothing has begun.
async fn one_in_doubt(press: &Press, server: &SmtpServer) -> Edition {
    let readers = press.readers(3).await;
    let edition = press.edition(&readers, "resend").await;
    server
        .script()
        .always_for(&readers[0].email, Step::Dot, Act::close());
    for reader in &readers[1..] {
        server
            .script()
            .always_for(&reader.email, Step::Rcpt, Act::reply("451 4.7.1 later"));
    }
    press.sender(server).await.run_until_idle().await;
    server.script().clear();
    edition
}

async fn states(press: &Press, edition: &Edition) -> Vec<State> {
    let mut states = Vec::new();
    for id in &edition.deliveries {
        states.push(press.state(*id).await);
    }
    states
}

db_test!(
    an_issue_that_was_paused_for_three_days_reaches_everybody,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = one_in_doubt(&press, &server).await;
        press.pause(edition.issue).await;
        let sender = press.sender(&server).await;
        press.time.advance(THREE_DAYS);
        sender.run_until_idle().await;
        assert_eq!(
            states(&press, &edition).await,
            [State::InDoubt, State::Pending, State::Pending]
        );
        press.resume(edition.issue).await;
        sender.run_until_idle().await;
        assert_eq!(states(&press, &edition).await, [State::Sent; 3]);
        assert_eq!(server.accepted().len(), 3);
        assert_eq!(press.issue_state(edition.issue).await, "finished");
    }
);

db_test!(
    a_pause_of_all_sending_lets_nothing_grow_old_but_confirmations,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = one_in_doubt(&press, &server).await;
        let (_, notice) = press.sign_up("late@example.org").await;
        let new = press.reader("new@example.org").await;
        let welcome = press.welcome(&new).await;
        press.pause_sending().await;
        let sender = press.sender(&server).await;
        press.time.advance(THREE_DAYS);
        sender.run_until_idle().await;
        assert_eq!(
            states(&press, &edition).await,
            [State::InDoubt, State::Pending, State::Pending]
        );
        press.resume_sending().await;
        sender.run_until_idle().await;
        assert_eq!(states(&press, &edition).await, [State::Sent; 3]);
        assert_eq!(press.state(welcome).await, State::Sent);
        assert_eq!(server.accepted().len(), 4);
        let confirmation = press.delivery(notice).await;
        assert_eq!(
            (confirmation.state, confirmation.reason),
            (State::Failed, Some(Reason::Expired)),
            "its link has expired"
        );
    }
);

db_test!(
    what_is_paused_twice_waits_for_both,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = one_in_doubt(&press, &server).await;
        let sender = press.sender(&server).await;
        press.pause(edition.issue).await;
        press.pause_sending().await;
        press.time.advance(THREE_DAYS);
        press.resume(edition.issue).await;
        press.time.advance(THREE_DAYS);
        sender.run_until_idle().await;
        press.resume_sending().await;
        sender.run_until_idle().await;
        assert_eq!(states(&press, &edition).await, [State::Sent; 3]);
    }
);

db_test!(
    a_row_that_is_refused_for_two_days_after_a_pause_is_given_up,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.pause(edition.issue).await;
        press.time.advance(THREE_DAYS);
        press.resume(edition.issue).await;
        let resumed = press.now();
        server
            .script()
            .always(Step::Rcpt, Act::reply("451 4.7.1 later"));
        let sender = press.sender(&server).await;
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
        let after = press.now().since(resumed);
        let hours = |count| Duration::from_hours(count);
        assert!(after > hours(42) && after < hours(48), "{after:?}");
    }
);

db_test!(
    what_was_claimed_before_its_issue_was_paused_is_given_back_without_an_envelope,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(4).await;
        let edition = press.edition(&readers, "resend").await;
        let (envelopes, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, reached) = (envelopes.clone(), first.clone());
        let sender_ok = Act::reply("250 2.1.0 ok").calling(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            reached.notify_one();
        });
        let slowly = Act::reply("354 go on").delayed(Duration::from_millis(500));
        server.script().always(Step::Mail, sender_ok);
        server.script().once(Step::Data, slowly);
        // over one connection: all four are claimed at once
        let sender = press.sender_with(&server, 1).await;
        tokio::join!(sender.run_until_idle(), async {
            first.notified().await;
            press.pause(edition.issue).await;
        });
        assert_eq!(states(&press, &edition).await, [State::Pending; 4]);
        assert_eq!(envelopes.load(Ordering::Relaxed), 1);
    }
);

/// Whether an issue in this state can be paused, resumed then, and cancelled then.
async fn acts(press: &Press, issue: IssueId, state: &'static str) -> (bool, bool, bool) {
    let now = press.now();
    let paused = press
        .write(move |tx| {
            Box::pin(async move {
                write_db!(&mut *tx, |conn| sqlx::query(BECOME)
                    .bind(issue)
                    .bind(state)
                    .execute(conn)
                    .await
                    .map(drop))?;
                operate::pause(tx, issue, "by hand", now).await
            })
        })
        .await;
    let resumed = operate::resume(&press.db, issue, "mended", now, now).await;
    let cancelled = press
        .write(move |tx| Box::pin(async move { operate::cancel(tx, issue, "a fault", now).await }))
        .await;
    (paused, resumed.unwrap(), cancelled)
}

db_test!(
    an_issue_can_be_paused_resumed_and_cancelled_from_its_making_to_its_end,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for (state, is_open) in [
            ("scheduled", true),
            ("preparing", true),
            ("sending", true),
            ("finished", false),
            ("cancelled", false),
            ("failed", false),
            ("skipped", false),
        ] {
            let issue = press.edition(&[], "resend").await.issue;
            let acts = acts(&press, issue, state).await;
            assert_eq!(acts, (is_open, is_open, is_open), "{state}");
            let end = if is_open { "cancelled" } else { state };
            assert_eq!(press.issue_state(issue).await, end);
        }
    }
);

db_test!(
    a_brake_does_not_write_over_the_pause_of_an_operator,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let issue = press.edition(&[], "resend").await.issue;
        let other = press.edition(&[], "resend").await.issue;
        let since = press.now();
        press.pause(issue).await;
        press.time.advance(Duration::from_secs(1));
        let now = press.now();
        let brake = press
            .write(move |tx| {
                Box::pin(async move { operate::pause(tx, issue, "a brake", now).await })
            })
            .await;
        assert!(!brake, "it is paused already");
        press.resume(issue).await;
        let noted = brakes::pauses(&press.db, issue).await.unwrap();
        let found: Vec<_> = noted
            .iter()
            .map(|pause| (pause.paused_at, pause.pause_reason.as_deref()))
            .collect();
        assert_eq!(found, [(since, Some("by hand"))]);
        let noted = brakes::pauses(&press.db, other).await.unwrap();
        assert!(noted.is_empty());
    }
);

const LATER_TURN: &str = "UPDATE deliveries SET not_before = $2 WHERE id = $1";
const WITH_TIME_UNTIL: &str =
    "SELECT COUNT(*) FROM deliveries WHERE issue_id = $1 AND expires_at = $2";

db_test!(
    what_waits_gets_more_time_in_chunks_before_its_issue_goes_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2500).await;
        let paused = press.edition(&readers, "resend").await;
        let sending = press.edition(&readers[..2], "resend").await;
        let (retried, turn) = (paused.deliveries[7], press.now() + Duration::from_mins(20));
        press
            .write(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(LATER_TURN)
                        .bind(retried)
                        .bind(turn)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await;
        let terms = at_most(&press, 3).await;
        for (edition, in_hand) in [(&paused, 3), (&sending, 2)] {
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            assert_eq!(claimed.unwrap().len(), in_hand);
        }
        press.pause(paused.issue).await;
        let later = press.now() + THREE_DAYS;
        for (issue, expected) in [(paused.issue, 2500), (sending.issue, 0)] {
            operate::renew(&press.db, issue, later).await.unwrap();
            let renewed: i64 = read_db!(&press.db, |conn| sqlx::query_scalar(WITH_TIME_UNTIL)
                .bind(issue)
                .bind(later)
                .fetch_one(conn)
                .await)
            .unwrap();
            assert_eq!(renewed, expected);
        }
    }
);

db_test!(
    resuming_one_issue_gives_no_other_more_time,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let resumed = press.edition(&readers, "resend").await;
        let other = press.edition(&readers, "resend").await;
        press.time.advance(Duration::from_hours(1));
        press.pause(resumed.issue).await;
        press.resume(resumed.issue).await;
        press.time.advance(Duration::from_hours(47));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        assert_eq!(states(&press, &resumed).await, [State::Pending]);
        assert_eq!(states(&press, &other).await, [State::Failed]);
    }
);

async fn setting(press: &Press, key: &str) -> Option<serde_json::Value> {
    let found: Option<Json<serde_json::Value>> =
        read_db!(&press.db, |conn| sqlx::query_scalar(SETTING)
            .bind(key)
            .fetch_optional(conn)
            .await)
        .unwrap();
    found.map(|Json(value)| value)
}

db_test!(
    what_is_not_paused_is_not_resumed_and_gets_no_more_time,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(ANOTHER_SETTING).await;
        press.time.advance(Duration::from_hours(1));
        let (issue, now) = (edition.issue, press.now());
        let later = now + THREE_DAYS;
        let one = operate::resume(&press.db, issue, "mended", now, later).await;
        let all = operate::resume_sending(&press.db, later).await;
        assert_eq!((one.unwrap(), all.unwrap()), (false, false));
        assert_eq!(setting(&press, "another").await, Some(serde_json::json!(1)));
        press.time.advance(Duration::from_hours(47));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        assert_eq!(states(&press, &edition).await, [State::Failed]);
    }
);

db_test!(
    a_second_pause_of_all_sending_leaves_the_reason_of_the_first,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        press.pause_sending().await;
        let now = press.now();
        let again = press
            .write(move |tx| {
                Box::pin(async move { operate::pause_sending(tx, "again", now).await })
            })
            .await;
        assert!(!again, "it is paused already");
        let pause = setting(&press, "sending_paused").await.unwrap();
        assert_eq!(pause["reason"], "by hand");
    }
);

db_test!(
    each_pause_of_an_issue_is_written_down_with_its_times_the_oldest_first,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for state in ["scheduled", "preparing", "sending"] {
            let issue = press.edition(&[], "resend").await.issue;
            press
                .write(move |tx| {
                    Box::pin(async move {
                        write_db!(tx, |conn| sqlx::query(BECOME)
                            .bind(issue)
                            .bind(state)
                            .execute(conn)
                            .await
                            .map(drop))
                    })
                })
                .await;
            let mut times = Vec::new();
            // the last two are of one moment, and stand there once
            for seconds in [1, 0, 0] {
                let paused_at = press.now();
                press.pause(issue).await;
                press.time.advance(Duration::from_secs(seconds));
                press.resume(issue).await;
                times.push((paused_at, press.now()));
            }
            times.dedup();
            let noted = brakes::pauses(&press.db, issue).await.unwrap();
            let noted = noted
                .iter()
                .map(|pause| (pause.paused_at, pause.resumed_at));
            assert_eq!(noted.collect::<Vec<_>>(), times, "{state}");
        }
    }
);

db_test!(
    a_mail_that_may_have_arrived_is_held_when_its_time_is_over,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        overdue(&press, &edition).await;
        until_decided(&press).await;
        assert_eq!(states(&press, &edition).await, [State::Pending]);
        press.time.advance(Duration::from_hours(48));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        let held = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (held.state, held.reason),
            (State::Held, Some(Reason::Doubt))
        );
        // its articles do not come again by themselves
        assert_eq!(press.given_seq(&readers[0]).await, edition.cutoff);
    }
);

db_test!(
    going_on_takes_no_time_from_what_has_more,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.pause(edition.issue).await;
        press.pause_sending().await;
        // the setting is less than when the mails were made
        let (issue, now) = (edition.issue, press.now());
        let sooner = now + Duration::from_hours(1);
        let one = operate::resume(&press.db, issue, "mended", now, sooner).await;
        let all = operate::resume_sending(&press.db, sooner).await;
        assert_eq!((one.unwrap(), all.unwrap()), (true, true));
        press.time.advance(Duration::from_hours(47));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 0);
        assert_eq!(states(&press, &edition).await, [State::Pending]);
    }
);

db_test!(
    an_issue_that_goes_on_says_no_more_why_it_was_paused,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let id = press.edition(&[], "resend").await.issue;
        press.pause(id).await;
        press.resume(id).await;
        let issue = issues::by_id(&press.db, id).await.unwrap().unwrap();
        assert_eq!((issue.paused_at, issue.pause_reason), (None, None));
    }
);
