use std::time::Duration;

use paperround::deliveries::operate::{self, Counts};
use paperround::deliveries::{State, brakes, decide, writer};
use paperround::id::IssueId;
use paperround::write_db;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;

use super::recovery::acknowledged;
use super::senders::{To, leases};
use super::{Edition, Press, Reader};
use crate::support::smtp_server::ledger::Ledger;
use crate::support::smtp_server::{Act, Offers, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const NO_TALLIES: &str = "ALTER TABLE brake_tallies RENAME TO tallies_away";
const TALLIES: &str = "ALTER TABLE tallies_away RENAME TO brake_tallies";
const TALLY: &str = "INSERT INTO brake_tallies (issue_id, worker_id, tally) VALUES ($1, $1, $2)";

/// Connections of a sender in these tests.
const CONNECTIONS: usize = 4;

/// A sending issue for readers in three domains.
async fn issue(app: &TestApp, count: usize) -> (Press, Vec<Reader>, Edition) {
    let press = Press::new(app).await;
    let mut readers = Vec::new();
    for number in 0..count {
        let domain = ["a.example", "b.example", "c.example"][number % 3];
        readers.push(press.reader(&format!("reader{number}@{domain}")).await);
    }
    let edition = press.edition(&readers, "resend").await;
    (press, readers, edition)
}

/// The relay refuses every `nth` reader.
fn refuse(server: &SmtpServer, readers: &[Reader], nth: usize, step: Step, reply: &str) {
    for reader in readers.iter().step_by(nth) {
        server
            .script()
            .always_for(&reader.email, step, Act::reply(reply));
    }
}

async fn counts(press: &Press, issue: IssueId) -> Counts {
    operate::counts(&press.db, issue).await.unwrap()
}

async fn why_paused(press: &Press, edition: &Edition) -> String {
    press
        .pause_reason(edition.issue)
        .await
        .expect("it is paused")
}

db_test!(
    addresses_that_do_not_exist_pause_the_issue_and_a_reason_lets_it_go_on,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 180).await;
        let server = SmtpServer::start().await;
        refuse(&server, &readers, 6, Step::Rcpt, "550 5.1.1 unknown");
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("addresses do not exist"), "{why}");
        // "17 of 101 addresses do not exist"
        let mut numbers = why
            .split_whitespace()
            .filter_map(|word| word.parse::<usize>().ok());
        let (refused, answers) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert!(answers >= 100);
        let more = server.accepted().len() - (answers - refused);
        assert!(more <= CONNECTIONS, "{more} more mails left");
        let found = counts(&press, edition.issue).await;
        assert_eq!(found.pending + found.sent + found.failed, 180);
        assert!(found.pending > 50);

        // what was seen does not pause it again, and the rest is too little to say anything
        press.resume(edition.issue).await;
        sender.run_until_idle().await;
        assert_eq!(press.issue_state(edition.issue).await, "finished");
        assert_eq!(counts(&press, edition.issue).await.sent, 150);
        let pauses = brakes::pauses(&press.db, edition.issue).await.unwrap();
        assert_eq!(pauses.len(), 1);
        assert_eq!(pauses[0].pause_reason.as_deref(), Some(why.as_str()));
        assert_eq!(pauses[0].resume_reason, "mended");
    }
);

db_test!(
    refusals_by_policy_pause_the_issue_and_name_the_domain,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 150).await;
        let server = SmtpServer::start().await;
        // every third reader is at a.example
        refuse(&server, &readers, 3, Step::Rcpt, "550 5.7.1 bad reputation");
        press.sender(&server).await.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("by policy"), "{why}");
        let domains = brakes::refusing_domains(&press.db, edition.issue)
            .await
            .unwrap();
        let names: Vec<_> = domains.iter().map(|(domain, _)| domain.as_str()).collect();
        assert_eq!(names, ["a.example"]);
        assert!(domains[0].1.policy >= 20);
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert!(tally.alarmed.contains("a.example"), "it is told of once");
    }
);

db_test!(
    each_domain_that_refuses_by_policy_is_told_of_once,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 60).await;
        let server = SmtpServer::start().await;
        for at_one_domain in [&readers[..], &readers[1..]] {
            refuse(
                &server,
                at_one_domain,
                3,
                Step::Rcpt,
                "550 5.7.1 bad reputation",
            );
        }
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(counts(&press, edition.issue).await.failed, 40);
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        let told: Vec<_> = tally.alarmed.iter().map(String::as_str).collect();
        assert_eq!(told, ["a.example", "b.example"]);
    }
);

db_test!(
    a_message_refused_three_times_in_the_same_words_pauses_the_issue,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 60).await;
        let server = SmtpServer::start().await;
        for (number, reader) in readers.iter().enumerate().step_by(4) {
            let reply = format!(
                "554 5.6.0 odd content in message 7x{number} for <{}>",
                reader.email
            );
            server
                .script()
                .always_for(&reader.email, Step::Dot, Act::reply(&reply));
        }
        press.sender(&server).await.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(
            why.contains("554 5.6.0 odd content in message for"),
            "{why}"
        );
        let failed = counts(&press, edition.issue).await.failed;
        assert!((3..=7).contains(&failed), "{failed} failed");
    }
);

db_test!(
    a_relay_that_refuses_every_recipient_is_not_asked_about_all_of_them,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 90).await;
        let server = SmtpServer::start().await;
        server
            .script()
            .always(Step::Rcpt, Act::reply("550 relaying denied"));
        press.sender(&server).await.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("in a row were refused, in 3 domains"), "{why}");
        let failed = counts(&press, edition.issue).await.failed;
        assert!((20..=24).contains(&failed), "{failed} failed");
    }
);

db_test!(
    a_relay_that_drops_every_final_reply_pauses_the_issue_and_is_halted,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 60).await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        server.script().always(Step::Dot, Act::close().accepted());
        let mut rounds = 0;
        while press.pause_reason(edition.issue).await.is_none() {
            sender.run_until_idle().await;
            press.time.advance(Duration::from_mins(1));
            rounds += 1;
            assert!(rounds < 10, "it is never paused");
        }
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("final reply was lost for"), "{why}");
        let copies = server.accepted().len();
        assert!((5..=5 + 4).contains(&copies), "{copies} copies");
        server.script().clear();
        press.resume(edition.issue).await;
        sender.run_until_idle().await;
        assert_eq!(server.accepted().len(), copies, "the relay is halted");
        press.time.advance(Duration::from_hours(1));
        sender.run_until_idle().await;
        // the probe is one message; what was in doubt goes once more after its grace
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(counts(&press, edition.issue).await.sent, 60);
        assert_eq!(server.accepted().len(), 60 + copies);
    }
);

db_test!(
    replies_that_a_stopping_service_did_not_wait_for_pull_no_brake,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 8).await;
        let server = SmtpServer::start().await;
        let sender = press
            .sender_to(To {
                max_connections: 8,
                drain: Duration::from_millis(50),
                ..To::port(server.port())
            })
            .await;
        server.script().always(Step::Dot, Act::stall().accepted());
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let all = async {
                while server.accepted().len() < 8 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), all)
                .await
                .unwrap();
            stop.cancel();
        });
        for id in &edition.deliveries {
            assert_eq!(press.state(*id).await, State::InDoubt);
        }
        assert_eq!(press.pause_reason(edition.issue).await, None);
    }
);

db_test!(
    s4_a_refusal_at_data_pauses_the_issue_and_fails_nobody,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 10).await;
        let server = SmtpServer::start().await;
        server.script().always(
            Step::Data,
            Act::reply("554 5.7.1 not today, <ada@a.example>"),
        );
        press.sender(&server).await.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("not today, <a***@a.example>"), "{why}");
        assert_eq!(counts(&press, edition.issue).await.pending, 10);
    }
);

db_test!(
    s4_a_refusal_at_data_behind_a_refused_recipient_pauses_nothing,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 10).await;
        let server = SmtpServer::start().await;
        refuse(&server, &readers[..1], 1, Step::Rcpt, "550 5.1.1 unknown");
        press.sender(&server).await.run_until_idle().await;
        let found = counts(&press, edition.issue).await;
        assert_eq!((found.failed, found.sent), (1, 9));
        assert_eq!(press.pause_reason(edition.issue).await, None);
    }
);

db_test!(
    s15_a_message_over_the_relays_size_pauses_the_issue_before_the_first_mail_command,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 10).await;
        let offers = Offers {
            size: Some(20),
            ..Offers::default()
        };
        let server = SmtpServer::with(offers, Ledger::default()).await;
        // the script's answer would be another reason
        server
            .script()
            .always(Step::Mail, Act::reply("550 5.7.1 asked"));
        press.sender(&server).await.run_until_idle().await;
        let why = why_paused(&press, &edition).await;
        assert!(why.contains("takes at most 20"), "{why}");
        assert_eq!(counts(&press, edition.issue).await.pending, 10);
    }
);

db_test!(
    what_a_worker_counted_is_not_forgotten_when_it_dies,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 12).await;
        let server = SmtpServer::start().await;
        // two refusals in one life, one in the next
        let reply = Act::reply("554 5.6.0 odd");
        for reader in &readers[..2] {
            server
                .script()
                .always_for(&reader.email, Step::Dot, reply.clone());
        }
        server
            .script()
            .always_for(&readers[2].email, Step::Rcpt, Act::reply("451 4.7.1 later"));
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(press.pause_reason(edition.issue).await, None);
        assert_eq!(counts(&press, edition.issue).await.failed, 2);
        server.script().clear();
        server.script().always(Step::Dot, reply);
        press.time.advance(Duration::from_mins(2));
        press.sender(&server).await.run_until_idle().await;
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!(tally.content["554 5.6.0 odd"], 3);
        assert!(brakes::decide::brakes(&tally).is_some());
    }
);

db_test!(
    good_answers_that_cost_no_commit_are_counted_at_the_latest_when_sending_ends,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 12).await;
        let server = SmtpServer::start().await;
        // no sweep counts them
        let sweep = Duration::from_mins(1);
        let to = To {
            sweep,
            ..To::port(server.port())
        };
        let sender = press.sender_to(to).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            let all_sent = async {
                while counts(&press, edition.issue).await.sent < 12 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), all_sent)
                .await
                .unwrap();
            stop.cancel();
        });
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!(tally.answers, 12);
    }
);

db_test!(
    good_answers_that_could_not_be_counted_are_counted_the_next_time,
    async |app: &TestApp| {
        let (press, _, edition) = issue(app, 1).await;
        let ready = press.claim_one(&edition).await;
        let ledger = writer::Ledger::new(press.db.clone(), press.time.clone(), leases());
        ledger.mark(&ready, "x").await.unwrap();
        ledger.settle(acknowledged(&press, &ready)).await;
        app.execute(NO_TALLIES).await;
        let counted = brakes::count(&press.db, ledger.uncounted()).await;
        assert!(counted.is_err());
        app.execute(TALLIES).await;
        let counted = brakes::count(&press.db, ledger.uncounted()).await;
        counted.unwrap();
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!(tally.answers, 1);
    }
);

db_test!(
    a_refusal_is_counted_after_the_good_answers_before_it,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 120).await;
        let server = SmtpServer::start().await;
        refuse(&server, &readers, 30, Step::Rcpt, "550 5.1.1 unknown");
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(press.pause_reason(edition.issue).await, None);
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!((tally.answers, tally.hard), (120, 4));
    }
);

db_test!(
    retrying_what_failed_lets_the_brakes_begin_anew,
    async |app: &TestApp| {
        let (press, readers, edition) = issue(app, 12).await;
        let server = SmtpServer::start().await;
        for reader in &readers[..2] {
            let reply = Act::reply("554 5.6.0 odd");
            server.script().always_for(&reader.email, Step::Dot, reply);
        }
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
        assert_eq!(tally.content["554 5.6.0 odd"], 2);
        let (issue, now) = (edition.issue, press.now());
        let again = press.db.write(move |tx| {
            let expires_at = now + Duration::from_hours(48);
            Box::pin(async move { decide::retry_failed(tx, issue, now, expires_at).await })
        });
        assert_eq!(again.await.unwrap(), 2);
        // a third refusal in the same words would have pulled the brake
        sender.run_until_idle().await;
        assert_eq!(press.pause_reason(edition.issue).await, None);
        assert_eq!(counts(&press, edition.issue).await.failed, 2);
    }
);

db_test!(
    what_a_crash_kept_from_being_looked_at_pauses_the_issue_before_more_leaves,
    async |app: &TestApp| {
        let (press, readers, first) = issue(app, 3).await;
        let editions = [first, press.edition(&readers, "resend").await];
        // counted by a worker that died then
        for id in editions.each_ref().map(|edition| edition.issue) {
            press
                .write(move |tx| {
                    Box::pin(async move {
                        let tally = Json(serde_json::json!({ "answers": 100, "hard": 6 }));
                        write_db!(tx, |conn| sqlx::query(TALLY)
                            .bind(id)
                            .bind(tally)
                            .execute(conn)
                            .await
                            .map(drop))
                    })
                })
                .await;
        }
        let server = SmtpServer::start().await;
        press.sender(&server).await.run_until_idle().await;
        for edition in &editions {
            assert_eq!(
                why_paused(&press, edition).await,
                "6 of 100 addresses do not exist (over 5 %)"
            );
        }
        assert_eq!(server.accepted().len(), 0);
    }
);

/// How often the issue's message was refused in these words.
async fn times_refused(press: &Press, edition: &Edition, words: &str) -> Option<u64> {
    let tally = brakes::so_far(&press.db, edition.issue).await.unwrap();
    tally.content.get(words).copied()
}

db_test!(
    what_is_counted_of_one_issue_and_forgotten_says_nothing_of_another,
    async |app: &TestApp| {
        let (press, readers, first) = issue(app, 12).await;
        let second = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let odd = "554 5.6.0 odd";
        refuse(&server, &readers[..2], 1, Step::Dot, odd);
        // one waits, so that neither issue is finished
        refuse(&server, &readers[2..3], 1, Step::Rcpt, "451 4.7.1 later");
        press.sender(&server).await.run_until_idle().await;
        for edition in [&first, &second] {
            assert_eq!(times_refused(&press, edition, odd).await, Some(2));
            assert_eq!(press.pause_reason(edition.issue).await, None);
        }
        press.pause(first.issue).await;
        press.resume(first.issue).await;
        assert_eq!(times_refused(&press, &first, odd).await, None);
        assert_eq!(times_refused(&press, &second, odd).await, Some(2));
    }
);
