use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paperround::deliveries::claim::{self, Terms};
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{State, recover};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::sending::one;
use super::{Edition, Press, leases};
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const THIRD_IS_OF_ANOTHER_NEWSLETTER: &str = "UPDATE issues
     SET newsletter_id = (SELECT id FROM newsletters WHERE slug = 'sport') WHERE number = 3";
const ITS_MAILS: &str = "UPDATE deliveries
     SET newsletter_id = (SELECT i.newsletter_id FROM issues AS i WHERE i.id = deliveries.issue_id)";
const IN_DOUBT: &str = "UPDATE deliveries SET state = 'in_doubt', doubt = 1";

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

db_test!(
    an_issue_that_goes_on_lets_nothing_of_a_paused_or_cancelled_one_go_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        for (domain, is_cancelled) in [("paused.example", false), ("cancelled.example", true)] {
            let readers = press.readers_at(domain, 2).await;
            let stops = press.edition(&readers, "resend").await;
            let goes_on = press.edition(&readers, "resend").await;
            let owner = press.worker().await.id();
            let claim_of = async |edition: &Edition, limit: usize| {
                let terms = Terms {
                    owner,
                    now: press.now(),
                    limit,
                    suspects: false,
                };
                let claimed = claim::digests(&press.db, edition.issue, terms).await;
                claimed.unwrap()
            };
            let in_hand = claim_of(&stops, 1).await.remove(0);
            if is_cancelled {
                press.cancel(stops.issue).await;
            } else {
                press.pause(stops.issue).await;
            }
            let marked = ledger(&press).mark(&in_hand, "x").await.unwrap();
            assert_eq!(marked, Marked::No, "{domain}");
            assert!(claim_of(&stops, 10).await.is_empty(), "{domain}");
            let others = claim_of(&goes_on, 10).await;
            let of_which: Vec<_> = others.iter().map(|ready| ready.claimed.issue_id).collect();
            assert_eq!(of_which, [Some(goes_on.issue); 2]);
        }
    }
);

db_test!(
    a_claim_skips_the_mail_of_who_left_and_gives_that_of_who_stays,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        press.subscription_ends(&readers[0]).await;
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 10,
            suspects: false,
        };
        let claimed = claim::digests(&press.db, edition.issue, terms).await;
        let claimed: Vec<_> = claimed.unwrap().iter().map(|it| it.claimed.id).collect();
        assert_eq!(claimed, edition.deliveries[1..]);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Skipped);
    }
);

db_test!(
    a_worker_that_is_silent_marks_nothing_though_another_shows_life,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let silent = press.worker_beside_others().await;
        let ready = leases::claim(&press, &edition, &silent).await;
        press.time.advance(Duration::from_secs(54));
        press.worker_beside_others().await;
        press.time.advance(Duration::from_secs(1));
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
    }
);

db_test!(
    a_worker_that_shows_life_keeps_no_silent_one_alive,
    async |app: &TestApp| {
        let (press, edition, _server) = one(app).await;
        let silent = press.worker_beside_others().await;
        leases::claim(&press, &edition, &silent).await;
        press.time.advance(Duration::from_secs(40));
        let other = press.worker_beside_others().await;
        other.beat().await.unwrap();
        press.time.advance(Duration::from_secs(20));
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        assert_eq!(swept.unwrap().taken_back, 1);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Pending);
    }
);

db_test!(
    what_becomes_of_a_doubt_is_decided_by_its_own_issue_and_reader,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let mut mails = Vec::new();
        for (name, policy) in [
            ("again", "resend"),
            ("held", "hold"),
            ("cancelled", "resend"),
            ("left", "resend"),
            ("paused", "resend"),
        ] {
            let reader = press.reader(&format!("{name}@example.org")).await;
            let edition = press.edition(slice::from_ref(&reader), policy).await;
            mails.push((name, edition.deliveries[0]));
            match name {
                "cancelled" => press.cancel(edition.issue).await,
                "left" => press.subscription_ends(&reader).await,
                "paused" => press.pause(edition.issue).await,
                _ => {}
            }
        }
        app.execute(IN_DOUBT).await;
        let swept = recover::sweep(&press.db, press.now(), &leases()).await;
        assert_eq!(swept.unwrap().decided, 4);
        for (name, id) in mails {
            let state = match name {
                "again" => State::Pending,
                "paused" => State::InDoubt,
                _ => State::Held,
            };
            assert_eq!(press.state(id).await, state, "{name}");
        }
    }
);

db_test!(
    a_paused_issue_keeps_nothing_of_another_from_growing_old,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let paused = press.edition(&readers, "resend").await;
        let other = press.edition(&readers, "resend").await;
        press.pause(paused.issue).await;
        press.time.advance(Duration::from_hours(48));
        let expired = recover::expire(&press.db, press.now()).await;
        assert_eq!(expired.unwrap(), 1);
        assert_eq!(press.state(paused.deliveries[0]).await, State::Pending);
        assert_eq!(press.state(other.deliveries[0]).await, State::Failed);
    }
);

db_test!(
    a_confirmation_that_is_needed_no_more_is_not_marked_though_another_sign_up_waits,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (signup, notice) = press.sign_up("ada@example.org").await;
        let mailroom: Arc<dyn Mailroom> = press.desk.clone();
        let terms = Terms {
            owner: press.worker().await.id(),
            now: press.now(),
            limit: 1,
            suspects: false,
        };
        let claimed = claim::notices(&press.db, &mailroom, terms).await;
        let ready = claimed.unwrap().remove(0);
        press.sign_up("ben@example.org").await;
        press.confirm(signup).await;
        let marked = ledger(&press).mark(&ready, "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        assert_eq!(press.state(notice).await, State::Pending);
    }
);

db_test!(
    what_was_claimed_of_a_paused_issue_does_not_go_along_with_what_may_leave,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(4).await;
        let edition = press.edition(&readers, "resend").await;
        let (envelopes, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for reader in &readers {
            let (counted, reached) = (envelopes.clone(), first.clone());
            let taken = Act::reply("250 2.1.5 ok").calling(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                reached.notify_one();
            });
            server.script().always_for(&reader.email, Step::Rcpt, taken);
        }
        let slowly = Act::reply("354 go on").delayed(Duration::from_millis(500));
        server.script().once(Step::Data, slowly);
        // over one connection: all four are claimed at once
        let sender = press.sender_with(&server, 1).await;
        let stop = CancellationToken::new();
        tokio::join!(sender.run(stop.clone()), async {
            first.notified().await;
            press.pause(edition.issue).await;
            // one of them is at hand when the mark of the one finds the pause, and the other is next
            for notice in ["eve@example.net", "fay@example.net"] {
                press.sign_up(notice).await;
            }
            server.has_accepted(2, Duration::from_secs(10)).await;
            stop.cancel();
        });
        assert_eq!(envelopes.load(Ordering::Relaxed), 1);
        for id in edition.deliveries {
            assert_eq!(press.state(id).await, State::Pending);
        }
    }
);

db_test!(
    issues_whose_own_relay_rests_hold_up_none_of_another_newsletter,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        app.newsletter("sport").await;
        let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
        let busy = Act::reply("421 4.3.2 busy").then(After::Close);
        second.script().always(Step::Banner, busy);
        let ways = [("first", &first, None), ("second", &second, None)];
        let route = press.route(&ways, press.time.clone());
        let refused = route.refuses("first", &press.newsletter.to_string());
        assert!(refused, "the second relay is left");
        let sender = press.sender_over(route, press.worker().await, press.time.clone());
        let readers = press.readers(1).await;
        for _ in 0..2 {
            press.edition(&readers, "resend").await;
        }
        sender.run_until_idle().await;
        // the two in front are due again, and nothing of them can be sent
        press.time.advance(Duration::from_secs(2));
        let other = press.edition(&readers, "resend").await;
        app.execute(THIRD_IS_OF_ANOTHER_NEWSLETTER).await;
        app.execute(ITS_MAILS).await;
        sender.run_until_idle().await;
        assert_eq!(press.state(other.deliveries[0]).await, State::Sent);
        assert_eq!((first.accepted().len(), second.accepted().len()), (1, 0));
    }
);
