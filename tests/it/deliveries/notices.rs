use std::time::Duration;

use paperround::clock::Timestamp;
use paperround::config::InDoubt;
use paperround::deliveries::claim::{self, Ready, Terms};
use paperround::deliveries::mailroom::Decision;
use paperround::deliveries::mailroom::Mailroom;
use paperround::deliveries::writer::{Ledger, Marked};
use paperround::deliveries::{Kind, Leases, Reason, State, recover};
use paperround::id::NewsletterId;
use paperround::worker::mailroom::ServiceMailroom;
use paperround::write_db;
use std::sync::Arc;

use super::Press;
use super::senders::leases;
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{TestApp, db_test};

const SUPPRESS: &str =
    "INSERT INTO suppressions (key, scope, reason, at) VALUES ($1, $2, 'request', $3)";

/// Nothing of this newsletter goes to the address any more.
async fn suppress(press: &Press, key: &'static str, newsletter: NewsletterId, at: Timestamp) {
    press
        .write(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(SUPPRESS)
                    .bind(key.as_bytes())
                    .bind(newsletter.to_string())
                    .bind(at)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await;
}

async fn claim_notice(press: &Press) -> Vec<Ready> {
    let worker = press.worker().await;
    let mailroom: Arc<dyn Mailroom> = press.desk.clone();
    let terms = Terms {
        owner: worker.id(),
        now: press.now(),
        limit: 10,
        suspects: false,
    };
    claim::notices(&press.db, &mailroom, terms).await.unwrap()
}

fn ledger(press: &Press) -> Ledger {
    Ledger::new(press.db.clone(), press.time.clone(), leases())
}

db_test!(
    a_notice_overtakes_the_digests_that_wait,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(30).await;
        press.edition(&readers, "resend").await;
        let (_, notice) = press.sign_up("new@example.org").await;
        let server = SmtpServer::start().await;
        press.sender_with(&server, 1).await.run_until_idle().await;
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 31);
        let place = accepted
            .iter()
            .position(|mail| mail.recipient == "new@example.org");
        assert!(place.unwrap() < 2, "{place:?}");
        assert_eq!(press.state(notice).await, State::Sent);
    }
);

db_test!(
    a_notice_that_comes_while_digests_wait_in_line_goes_before_them,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(20).await;
        press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        let takes_its_time = Act::reply("250 ok").delayed(Duration::from_millis(50));
        server.script().always(Step::Dot, takes_its_time);
        let sender = press.sender_with(&server, 1).await;
        let ((), before) = tokio::join!(sender.run_until_idle(), async {
            while server.accepted().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            press.sign_up("new@example.org").await;
            server.accepted().len()
        });
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 21);
        let place = accepted
            .iter()
            .position(|mail| mail.recipient == "new@example.org");
        let place = place.unwrap();
        // some are on the wire, or leave while it is claimed
        assert!(place < before + 10, "{place} after {before}");
    }
);

db_test!(
    a_notice_becomes_what_its_claim_decides,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let (_, notice) = press.sign_up(&reader.email).await;
        *press.desk.decision.lock().unwrap() = Some(Decision::Send {
            kind: Kind::ManageLink,
            subscription_id: Some(reader.subscription),
            suppression_keys: Vec::new(),
        });
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        sender.run_until_idle().await;
        let delivery = press.delivery(notice).await;
        assert_eq!(
            (delivery.state, delivery.kind),
            (State::Sent, Kind::ManageLink)
        );

        let (_, notice) = press.sign_up(&reader.email).await;
        *press.desk.decision.lock().unwrap() = Some(Decision::Skip(Reason::ToldAlready));
        sender.run_until_idle().await;
        let delivery = press.delivery(notice).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Skipped, Some(Reason::ToldAlready))
        );
        assert_eq!(server.accepted().len(), 1);
    }
);

db_test!(
    what_changes_between_claim_and_mark_stops_a_notice_and_the_next_claim_decides_anew,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        // Confirmed in the meantime.
        let (signup, notice) = press.sign_up("one@example.org").await;
        let ready = claim_notice(&press).await;
        press.confirm(signup).await;
        assert_eq!(
            ledger(&press).mark(&ready[0], "x").await.unwrap(),
            Marked::No
        );
        assert_eq!(press.state(notice).await, State::Pending);
        *press.desk.decision.lock().unwrap() = Some(Decision::Skip(Reason::NothingToConfirm));
        press.time.advance(Duration::from_secs(5));
        assert!(claim_notice(&press).await.is_empty());
        assert_eq!(press.state(notice).await, State::Skipped);
        // Suppressed in the meantime.
        *press.desk.decision.lock().unwrap() = None;
        let (_, notice) = press.sign_up("two@example.org").await;
        let ready = claim_notice(&press).await;
        press.suppress(b"key").await;
        assert_eq!(
            ledger(&press).mark(&ready[0], "x").await.unwrap(),
            Marked::No
        );
        assert_eq!(press.state(notice).await, State::Pending);
    }
);

db_test!(
    a_suppression_stops_a_claimed_notice_of_its_newsletter_and_no_other,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (own, another) = (press.newsletter, press.ids.next());
        for (name, newsletter, after_claim, is_marked) in [
            ("ada", own, 1, false),
            ("ben", another, 1, true),
            ("eve", own, 0, true),
        ] {
            *press.desk.decision.lock().unwrap() = Some(Decision::Send {
                kind: Kind::Confirmation,
                subscription_id: None,
                suppression_keys: vec![name.as_bytes().to_vec()],
            });
            press.sign_up(&format!("{name}@example.org")).await;
            let ready = claim_notice(&press).await;
            let at = press.now() + Duration::from_micros(after_claim);
            suppress(&press, name, newsletter, at).await;
            let marked = ledger(&press).mark(&ready[0], "x").await.unwrap();
            assert_eq!(matches!(marked, Marked::Yes { .. }), is_marked, "{name}");
        }
    }
);

db_test!(
    a_confirmation_whose_link_expires_between_claim_and_mark_is_not_sent,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("late@example.org").await;
        let second = Duration::from_secs(1);
        press
            .time
            .advance(Duration::from_hours(48).saturating_sub(second));
        let ready = claim_notice(&press).await;
        press.time.advance(second);
        let marked = ledger(&press).mark(&ready[0], "x").await.unwrap();
        assert_eq!(marked, Marked::No);
        assert_eq!(press.state(notice).await, State::Pending);
    }
);

db_test!(
    a_notice_on_the_wire_is_in_doubt_when_its_lease_is_over_and_goes_once_more_to_its_relay,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("ada@example.org").await;
        let ready = claim_notice(&press).await;
        ledger(&press).mark(&ready[0], "spare").await.unwrap();
        let leases = leases();
        for (passed, state) in [
            (leases.transmission, State::Transmitting),
            (Duration::from_secs(1), State::InDoubt),
            (leases.notice_grace, State::Pending),
        ] {
            press.time.advance(passed);
            let swept = recover::sweep(&press.db, press.now(), &leases).await;
            swept.unwrap();
            assert_eq!(press.state(notice).await, state);
        }
        let again = claim_notice(&press).await;
        assert_eq!(again[0].claimed.relay_in_doubt(), Some("spare"));
    }
);

db_test!(
    a_confirmation_is_never_sent_after_its_token_expired,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("late@example.org").await;
        let server = SmtpServer::start().await;
        let sender = press.sender(&server).await;
        server
            .script()
            .always(Step::Rcpt, Act::reply("451 4.7.1 later"));
        sender.run_until_idle().await;
        server.script().clear();
        press.time.advance(Duration::from_hours(49));
        sender.run_until_idle().await;
        let delivery = press.delivery(notice).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Failed, Some(Reason::Expired))
        );
        assert_eq!(server.accepted().len(), 0);
    }
);

db_test!(
    with_the_setting_hold_a_notice_whose_reply_was_lost_is_not_sent_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (_, notice) = press.sign_up("ada@example.org").await;
        let ready = claim_notice(&press).await;
        let marked = ledger(&press).mark(&ready[0], "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
        // its worker dies
        press.worker().await;
        assert_eq!(press.state(notice).await, State::InDoubt);
        let hold = Leases {
            in_doubt: InDoubt::Hold,
            ..leases()
        };
        press.time.advance(hold.notice_grace);
        let swept = recover::sweep(&press.db, press.now(), &hold).await;
        assert_eq!(swept.unwrap().decided, 1);
        let delivery = press.delivery(notice).await;
        assert_eq!(
            (delivery.state, delivery.reason),
            (State::Held, Some(Reason::Doubt))
        );
    }
);

/// A sign-up by the form, and its confirmation claimed so many times, each time a minute later.
async fn claimed_again(app: &TestApp, times: usize) -> (Arc<dyn Mailroom>, Vec<Ready>) {
    let press = Press::new(app).await;
    let site = app.serve().await;
    let form = [("email", "ada@example.org")];
    let answer = site.post("/subscribe/world", &form).await;
    answer.assert_status(303);
    site.stop().await;
    let mailroom: Arc<dyn Mailroom> = Arc::new(ServiceMailroom::new(app.app.clone()));
    let (worker, ledger) = (press.worker().await, ledger(&press));
    let mut claims = Vec::new();
    for _ in 0..times {
        let terms = Terms {
            owner: worker.id(),
            now: press.now(),
            limit: 10,
            suspects: false,
        };
        let claimed = claim::notices(&press.db, &mailroom, terms).await.unwrap();
        assert_eq!(claimed.len(), 1, "it may be sent");
        ledger.give_back(&claimed[0].claimed, press.now()).await;
        claims.extend(claimed);
        press.time.advance(Duration::from_mins(1));
    }
    (mailroom, claims)
}

db_test!(
    a_notice_counts_against_its_addresss_limits_once_however_often_it_is_claimed,
    async |app: &TestApp| {
        claimed_again(app, 4).await;
    }
);

db_test!(
    a_notice_has_the_same_bytes_at_each_attempt,
    async |app: &TestApp| {
        let (mailroom, claims) = claimed_again(app, 2).await;
        let mut copies = Vec::new();
        for ready in &claims {
            app.time.advance(Duration::from_mins(1));
            let mail = mailroom.mail(&ready.claimed).await.unwrap();
            copies.push(String::from_utf8(mail.wire.unstuffed()).unwrap());
        }
        assert_ne!(claims[0].claimed.attempt, claims[1].claimed.attempt);
        assert_eq!(copies[0], copies[1]);
    }
);

db_test!(
    a_notice_is_from_its_claim_on_what_it_became_and_ends_with_the_subscription_it_is_about,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let reader = press.reader("ada@example.org").await;
        let (_, notice) = press.sign_up(&reader.email).await;
        *press.desk.decision.lock().unwrap() = Some(Decision::Send {
            kind: Kind::ManageLink,
            subscription_id: Some(reader.subscription),
            suppression_keys: Vec::new(),
        });
        let claimed = claim_notice(&press).await.remove(0).claimed;
        assert_eq!(
            (claimed.kind, claimed.subscription_id),
            (Kind::ManageLink, Some(reader.subscription))
        );
        press.unsubscribe(&reader).await;
        let row = press.delivery(notice).await;
        assert_eq!(
            (row.state, row.reason),
            (State::Skipped, Some(Reason::Unsubscribed))
        );
    }
);

db_test!(
    what_stood_against_an_address_when_its_notice_was_decided_about_stops_no_mark,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        press.sign_up("ada@example.org").await;
        // since it was queued, and before its claim
        press.time.advance(Duration::from_secs(1));
        press.suppress(b"key").await;
        press.time.advance(Duration::from_secs(1));
        let ready = claim_notice(&press).await;
        let marked = ledger(&press).mark(&ready[0], "x").await.unwrap();
        assert!(matches!(marked, Marked::Yes { .. }));
    }
);
