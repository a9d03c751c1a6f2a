use std::sync::Arc;
use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{State, operate};
use paperround::id::DeliveryId;
use paperround::write_db;

use super::Press;
use super::senders::leases;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const EXPIRES: &str = "UPDATE deliveries SET expires_at = $2 WHERE id = $1";
const WAITS: &str = "UPDATE deliveries SET not_before = $2 WHERE id = $1";
const FIRST_IS_DUE_WITH_THE_THIRD: &str = "UPDATE issues
     SET due_at = (SELECT third.due_at FROM issues AS third WHERE third.number = 3) WHERE number = 1";
const CRASHED: &str = "UPDATE deliveries SET crashes = 2";
const PREPARED: &str = "UPDATE issues SET state = 'preparing'";

pub(super) async fn at_most(press: &Press, limit: usize) -> Terms {
    Terms {
        owner: press.worker().await.id(),
        now: press.now(),
        limit,
        suspects: false,
    }
}

fn ids(claimed: &[Ready]) -> Vec<DeliveryId> {
    claimed.iter().map(|ready| ready.claimed.id).collect()
}

async fn claim_notices(press: &Press, terms: Terms) -> Vec<DeliveryId> {
    let mailroom: Arc<dyn Mailroom> = press.desk.clone();
    let claimed = claim::notices(&press.db, &mailroom, terms).await;
    ids(&claimed.unwrap())
}

/// Changes one of a mail's times.
async fn set(press: &Press, sql: &'static str, id: DeliveryId, at: Timestamp) {
    press
        .write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(sql)
                    .bind(id)
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
}

db_test!(
    a_digest_whose_time_is_over_or_has_not_come_is_not_claimed_along_with_the_others,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for (sql, after, domain) in [(EXPIRES, 0, "over.example"), (WAITS, 1, "waits.example")] {
            let readers = press.readers_at(domain, 2).await;
            let edition = press.edition(&readers, "resend").await;
            let at = press.now() + Duration::from_secs(after);
            set(&press, sql, edition.deliveries[0], at).await;
            let terms = at_most(&press, 10).await;
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            assert_eq!(ids(&claimed.unwrap()), edition.deliveries[1..], "{sql}");
        }
    }
);

db_test!(
    the_notices_that_came_first_are_claimed_first,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut notices = Vec::new();
        for name in ["ada", "ben", "eve"] {
            let (_, notice) = press.sign_up(&format!("{name}@example.org")).await;
            notices.push(notice);
            press.time.advance(Duration::from_secs(1));
        }
        let terms = at_most(&press, 2).await;
        assert_eq!(claim_notices(&press, terms).await, notices[..2]);
    }
);

db_test!(
    a_notice_whose_time_is_over_or_has_not_come_is_not_claimed_along_with_the_others,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, over) = press.sign_up("over@example.org").await;
        let (_, waits) = press.sign_up("waits@example.org").await;
        let (_, due) = press.sign_up("due@example.org").await;
        let now = press.now();
        set(&press, EXPIRES, over, now).await;
        set(&press, WAITS, waits, now + Duration::from_secs(1)).await;
        let terms = at_most(&press, 10).await;
        assert_eq!(claim_notices(&press, terms).await, [due]);
    }
);

db_test!(
    a_notice_that_may_have_killed_the_process_is_claimed_alone,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, deadly) = press.sign_up("deadly@example.org").await;
        for crash in 1..=2 {
            let terms = at_most(&press, 10).await;
            assert_eq!(claim_notices(&press, terms).await, [deadly], "{crash}");
        }
        let (_, other) = press.sign_up("other@example.org").await;
        let terms = at_most(&press, 10).await;
        assert_eq!(claim_notices(&press, terms).await, [other]);
        let alone = Terms {
            suspects: true,
            ..terms
        };
        assert_eq!(claim_notices(&press, alone).await, [deadly]);
    }
);

db_test!(
    issues_of_which_nothing_can_be_claimed_take_no_turns,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let mut editions = Vec::new();
        for _ in 0..4 {
            editions.push(press.edition(&readers, "resend").await);
        }
        let [due, over, waits, paused] = &editions[..] else {
            panic!("there are four");
        };
        let now = press.now();
        set(&press, EXPIRES, over.deliveries[0], now).await;
        let later = now + Duration::from_secs(1);
        set(&press, WAITS, waits.deliveries[0], later).await;
        press.pause(paused.issue).await;
        let open = claim::open_issues(&press.db, now).await;
        assert_eq!(open.unwrap(), [(due.issue, press.newsletter)]);
    }
);

db_test!(
    while_all_sending_is_paused_nobody_looks_for_what_waits,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.sign_up("new@example.org").await;
        let found = async || {
            let now = press.now();
            let open = claim::open_issues(&press.db, now).await.unwrap();
            (open, claim::notices_wait(&press.db, now).await.unwrap())
        };
        let everything = (vec![(edition.issue, press.newsletter)], true);
        assert_eq!(found().await, everything);
        press.pause_sending().await;
        assert_eq!(found().await, (vec![], false));
        press.resume_sending().await;
        assert_eq!(found().await, everything);
    }
);

db_test!(
    no_digest_is_claimed_of_an_issue_that_waits_nor_while_all_sending_is_paused,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = at_most(&press, 10).await;
        let none = async |why: &str| {
            let claimed = claim::digests(&press.db, edition.issue, terms).await;
            assert!(claimed.unwrap().is_empty(), "{why}");
        };
        press.pause_sending().await;
        none("all sending is paused").await;
        press.resume_sending().await;
        press.pause(edition.issue).await;
        none("it is paused").await;
        press.resume(edition.issue).await;
        app.execute(PREPARED).await;
        none("it is not released").await;
        let waits = press.delivery(edition.deliveries[0]).await;
        assert_eq!((waits.state, waits.attempt), (State::Pending, 0));
    }
);

db_test!(
    the_digest_that_waits_longest_is_claimed_first_and_no_more_than_asked_for,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let earlier = press.now();
        press.time.advance(Duration::from_secs(1));
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        let youngest = *edition.deliveries.iter().max().unwrap();
        set(&press, WAITS, youngest, earlier).await;
        let terms = at_most(&press, 1).await;
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        assert_eq!(ids(&claimed.unwrap()), [youngest]);
    }
);

db_test!(
    the_issue_that_is_due_first_stands_in_front,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let mut issues = Vec::new();
        for _ in 0..3 {
            issues.push(press.edition(&readers, "resend").await.issue);
            press.time.advance(Duration::from_secs(1));
        }
        app.execute(FIRST_IS_DUE_WITH_THE_THIRD).await;
        let open = claim::open_issues(&press.db, press.now()).await.unwrap();
        let turns: Vec<_> = open.into_iter().map(|(issue, _)| issue).collect();
        assert_eq!(turns, [issues[1], issues[0], issues[2]]);
    }
);

db_test!(
    a_claim_skips_those_who_left_but_for_what_is_on_the_wire,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(3).await;
        let edition = press.edition(&readers, "resend").await;
        let terms = at_most(&press, 1).await;
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let first = claimed.unwrap().remove(0);
        let ledger = Ledger::new(press.db.clone(), press.time.clone(), leases());
        let marked = ledger.mark(&first, "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        for reader in &readers {
            press.subscription_ends(reader).await;
        }
        let rest = Terms { limit: 10, ..terms };
        let claimed = claim::digests(&press.db, edition.issue, rest).await;
        assert!(claimed.unwrap().is_empty(), "nobody is there to send to");
        for id in &edition.deliveries {
            let is_first = *id == first.claimed.id;
            let state = if is_first {
                State::Transmitting
            } else {
                State::Skipped
            };
            assert_eq!(press.state(*id).await, state);
        }
    }
);

db_test!(
    mails_that_may_have_killed_the_process_are_on_their_way_one_at_a_time,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        app.execute(CRASHED).await;
        let server = SmtpServer::start().await;
        let slow = Act::reply("250 ok").delayed(Duration::from_millis(100));
        server.script().always(Step::Dot, slow);
        let sender = press.sender(&server).await;
        let ((), most) = tokio::join!(sender.run_until_idle(), async {
            let mut most = 0;
            loop {
                let counts = operate::counts(&press.db, edition.issue).await.unwrap();
                most = most.max(counts.claimed + counts.transmitting);
                if counts.sent == 2 {
                    break most;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!(most, 1);
    }
);

db_test!(
    an_issue_of_suspects_and_one_without_any_hold_up_neither_each_other_nor_themselves,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for (domain, crashed) in [
            (
                "a.example",
                "UPDATE deliveries SET crashes = 2 WHERE recipient = 'reader0@a.example'",
            ),
            (
                "b.example",
                "UPDATE deliveries SET crashes = 2 WHERE recipient = 'reader1@b.example'",
            ),
        ] {
            let readers = press.readers_at(domain, 2).await;
            let mut editions = Vec::new();
            for reader in readers.chunks(1) {
                editions.push(press.edition(reader, "resend").await);
                press.time.advance(Duration::from_millis(1));
            }
            app.execute(crashed).await;
            let server = SmtpServer::start().await;
            press.sender(&server).await.run_until_idle().await;
            for edition in editions {
                assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
            }
        }
    }
);

db_test!(
    an_issue_that_waits_for_its_release_takes_no_turn,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        press.edition(&readers, "resend").await;
        app.execute(PREPARED).await;
        let open = claim::open_issues(&press.db, press.now()).await;
        assert!(open.unwrap().is_empty());
    }
);

db_test!(
    a_notice_that_becomes_nothing_keeps_none_behind_it_from_being_claimed,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut notices = Vec::new();
        for name in ["ada", "ben", "eve"] {
            let email = format!("{name}@example.org");
            let (_, notice) = press.sign_up(&email).await;
            notices.push((notice, email));
        }
        notices.sort_unstable();
        let (nothing, email) = notices.remove(0);
        press.desk.skips.lock().unwrap().push(email);
        let terms = at_most(&press, 10).await;
        let others: Vec<_> = notices.iter().map(|(notice, _)| *notice).collect();
        assert_eq!(claim_notices(&press, terms).await, others);
        assert_eq!(press.state(nothing).await, State::Skipped);
    }
);
