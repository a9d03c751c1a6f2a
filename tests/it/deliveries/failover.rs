use std::time::Duration;

use paperround::deliveries::relays::{self, RelayRow, RelayState};
use paperround::deliveries::{State, operate};
use paperround::issues::store::issues;
use paperround::smtp::health::Health;
use paperround::smtp::route::Standing;
use paperround::worker::sender::Sender;

use super::senders::leases;
use super::{Edition, Press};
use crate::support::smtp_server::script::After;
use crate::support::smtp_server::{Act, Offers, SmtpServer, Step};
use crate::support::{Program, TestApp, db_test};

async fn issue(app: &TestApp, readers: usize) -> (Press, Edition) {
    let press = Press::new(app).await;
    let readers = press.readers(readers).await;
    let edition = press.edition(&readers, "resend").await;
    (press, edition)
}

fn is_busy(server: &SmtpServer) {
    let busy = Act::reply("421 4.3.2 busy").then(After::Close);
    server.script().always(Step::Banner, busy);
}

/// Two relays that work, and a sender along them.
async fn two_relays(press: &Press) -> (SmtpServer, SmtpServer, Sender) {
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let sender = press
        .sender_along(&[("first", &first, None), ("second", &second, None)])
        .await;
    (first, second, sender)
}

async fn standing(press: &Press, relay: &str) -> RelayRow {
    let rows = relays::standing(&press.db, &[relay.to_owned()])
        .await
        .unwrap();
    rows.into_iter().next().expect("it was written down")
}

async fn sent(press: &Press, edition: &Edition) -> i64 {
    operate::counts(&press.db, edition.issue)
        .await
        .unwrap()
        .sent
}

db_test!(
    the_next_relay_takes_over_after_half_a_minute_and_the_first_gets_its_turn_back,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 12).await;
        let (first, second, sender) = two_relays(&press).await;
        is_busy(&first);
        sender.run_until_idle().await;
        assert_eq!(second.counters().connections, 0, "the first may come back");
        let row = standing(&press, "first").await;
        assert_eq!(row.state, RelayState::BackingOff);
        let trouble = row.trouble().unwrap();
        assert!(trouble.contains("first rests until") && trouble.contains("421 4.3.2 busy"));

        press.time.advance(Duration::from_secs(30));
        sender.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 12);
        assert_eq!(second.accepted().len(), 12);
        for id in &edition.deliveries {
            let delivery = press.delivery(*id).await;
            assert_eq!(
                (delivery.tries, delivery.relay_id.as_deref()),
                (1, Some("second"))
            );
        }

        first.script().clear();
        press.time.advance(Duration::from_mins(20));
        let readers = press.readers_at("later.example", 6).await;
        press.edition(&readers, "resend").await;
        sender.run_until_idle().await;
        assert!(!first.accepted().is_empty(), "the first is probed");
        let readers = press.readers_at("last.example", 6).await;
        let before = first.accepted().len();
        press.edition(&readers, "resend").await;
        sender.run_until_idle().await;
        assert_eq!(first.accepted().len(), before + 6, "and has its turn back");
        let row = standing(&press, "first").await;
        assert_eq!((row.state, row.trouble()), (RelayState::Ok, None));
    }
);

db_test!(
    a_deferred_row_may_go_elsewhere_and_a_refused_one_never,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 2).await;
        let (first, second, sender) = two_relays(&press).await;
        let refusal = Act::reply("550 5.1.1 unknown");
        first
            .script()
            .always_for("reader0@example.org", Step::Rcpt, refusal);
        let later = Act::reply("451 4.7.1 greylisted");
        first
            .script()
            .always_for("reader1@example.org", Step::Rcpt, later);
        sender.run_until_idle().await;
        is_busy(&first);
        for _ in 0..4 {
            press.time.advance(Duration::from_mins(2));
            sender.run_until_idle().await;
        }
        assert_eq!(press.state(edition.deliveries[0]).await, State::Failed);
        assert_eq!(press.state(edition.deliveries[1]).await, State::Sent);
        let recipients: Vec<_> = second
            .accepted()
            .into_iter()
            .map(|mail| mail.recipient)
            .collect();
        assert_eq!(recipients, ["reader1@example.org"]);
    }
);

db_test!(
    a_mail_that_the_spare_deferred_goes_over_the_first_as_soon_as_that_works,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 1).await;
        let (first, second, sender) = two_relays(&press).await;
        is_busy(&first);
        sender.run_until_idle().await;
        press.time.advance(Duration::from_secs(30));
        let later = Act::reply("451 4.7.1 later");
        second.script().once(Step::Dot, later);
        sender.run_until_idle().await;
        let deferred = press.delivery(edition.deliveries[0]).await;
        assert_eq!(
            (deferred.tries, deferred.relay_id.as_deref()),
            (1, Some("second"))
        );
        first.script().clear();
        press.time.advance(Duration::from_mins(20));
        sender.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 1);
        assert_eq!((first.accepted().len(), second.accepted().len()), (1, 0));
    }
);

/// Two relays. The first was busy and is not any more; the second may have the issue's one mail.
async fn in_doubt_at_the_second(
    press: &Press,
    edition: &Edition,
) -> (SmtpServer, SmtpServer, Sender) {
    let (first, second, sender) = two_relays(press).await;
    is_busy(&first);
    second.script().once(Step::Dot, Act::close().accepted());
    sender.run_until_idle().await;
    press.time.advance(Duration::from_secs(30));
    sender.run_until_idle().await;
    assert_eq!(press.state(edition.deliveries[0]).await, State::InDoubt);
    first.script().clear();
    (first, second, sender)
}

db_test!(
    what_is_in_doubt_goes_once_more_to_the_relay_that_may_have_it,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 1).await;
        let (first, second, sender) = in_doubt_at_the_second(&press, &edition).await;
        press.time.advance(leases().grace * 2);
        sender.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 1);
        assert_eq!((first.accepted().len(), second.accepted().len()), (0, 2));
    }
);

db_test!(
    what_is_in_doubt_at_the_spare_goes_there_once_more_though_the_first_works_again,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 1).await;
        let (first, second, sender) = in_doubt_at_the_second(&press, &edition).await;
        // longer than the first may rest
        press.time.advance(leases().grace.mul_f64(0.99));
        let readers = press.readers_at("later.example", 1).await;
        press.edition(&readers, "resend").await;
        sender.run_until_idle().await;
        assert_eq!((first.accepted().len(), second.accepted().len()), (1, 1));
        press.time.advance(leases().grace);
        sender.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 1);
        assert_eq!((first.accepted().len(), second.accepted().len()), (1, 2));
    }
);

db_test!(
    what_is_in_doubt_goes_elsewhere_where_the_relay_that_may_have_it_refuses_its_sender,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 1).await;
        let (first, second, sender) = in_doubt_at_the_second(&press, &edition).await;
        let refusal = Act::reply("550 5.7.1 not your domain");
        second.script().always(Step::Mail, refusal);
        press.time.advance(leases().grace * 2);
        let sending = tokio::time::timeout(Duration::from_secs(20), sender.run_until_idle());
        sending.await.expect("it is not asked again and again");
        assert_eq!(sent(&press, &edition).await, 1);
        assert_eq!((first.accepted().len(), second.accepted().len()), (1, 1));
    }
);

db_test!(
    s4_a_sender_that_one_relay_refuses_goes_over_the_next_and_pauses_where_none_is_left,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 8).await;
        let (first, second, sender) = two_relays(&press).await;
        let refusal = Act::reply("550 5.7.1 not your domain");
        first.script().always(Step::Mail, refusal.clone());
        sender.run_until_idle().await;
        assert_eq!(
            (sent(&press, &edition).await, second.accepted().len()),
            (8, 8)
        );
        assert_eq!(press.pause_reason(edition.issue).await, None);

        second.script().always(Step::Mail, refusal);
        let readers = press.readers_at("later.example", 5).await;
        let edition = press.edition(&readers, "resend").await;
        sender.run_until_idle().await;
        let why = press
            .pause_reason(edition.issue)
            .await
            .expect("it is paused");
        assert!(why.contains("not your domain"), "{why}");
        let counts = operate::counts(&press.db, edition.issue).await.unwrap();
        assert_eq!((counts.pending, counts.failed), (5, 0));

        // resumed, all relays are asked anew
        first.script().clear();
        press.resume(edition.issue).await;
        sender.run_until_idle().await;
        assert_eq!(
            (sent(&press, &edition).await, first.accepted().len()),
            (5, 5)
        );
    }
);

db_test!(
    a_message_that_a_relay_refuses_pauses_its_issue_and_does_not_go_over_the_next,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 3).await;
        let (first, second, sender) = two_relays(&press).await;
        let refusal = Act::reply("554 5.6.0 no newsletters here");
        first.script().always(Step::Data, refusal);
        sender.run_until_idle().await;
        let why = press.pause_reason(edition.issue).await;
        assert!(why.is_some_and(|why| why.contains("no newsletters here")));
        assert_eq!(second.accepted().len(), 0);
    }
);

db_test!(each_relay_keeps_its_own_pace, async |app: &TestApp| {
    use paperround::smtp::allowance::Allowance;
    let (press, edition) = issue(app, 3).await;
    let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
    let slow = Some(Allowance::per_second(0.01, 1));
    let sender = press
        .sender_along(&[("first", &first, slow), ("second", &second, None)])
        .await;
    is_busy(&first);
    sender.run_until_idle().await;
    press.time.advance(Duration::from_secs(30));
    sender.run_until_idle().await;
    assert_eq!(
        (sent(&press, &edition).await, second.accepted().len()),
        (3, 3)
    );
});

db_test!(
    a_relay_is_written_down_with_its_latest_reason_without_addresses_and_since_when_it_stands_so,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let (since, until) = (press.now(), press.now() + Duration::from_mins(15));
        let mut known = Vec::new();
        let rests = |reason: &str| Health::BackingOff {
            until,
            reason: reason.to_owned(),
        };
        for (health, reason) in [
            (rests("421 busy"), Some("421 busy")),
            (
                rests("421 <ada@example.org> must wait"),
                Some("421 <a***@example.org> must wait"),
            ),
            (Health::Ok, None),
        ] {
            let works = health == Health::Ok;
            let relay = "own".to_owned();
            let standings = [Standing { relay, health }];
            let noted = relays::note(&press.db, &standings, &mut known, press.now()).await;
            noted.unwrap();
            let row = standing(&press, "own").await;
            let changed_at = if works { press.now() } else { since };
            assert_eq!(
                (row.reason.as_deref(), row.changed_at),
                (reason, changed_at)
            );
            press.time.advance(Duration::from_secs(1));
        }
    }
);

db_test!(
    a_paused_issue_and_a_relay_that_rests_are_named_at_every_front_door,
    [
        ("smtp.url", "smtp://relay.example.org"),
        ("smtp.rate", "14")
    ],
    async |app: &TestApp| {
        let (press, edition) = issue(app, 2).await;
        let server = SmtpServer::start().await;
        is_busy(&server);
        let sender = press
            .sender_along(&[("relay.example.org", &server, None)])
            .await;
        sender.run_until_idle().await;
        let trouble = "Relay relay.example.org rests until";
        let site = app.serve().await;
        let ready = site.get("/readyz").await;
        let body = &ready.assert_status(200).body;
        assert!(
            body.starts_with("ok\n") && body.contains(trouble) && body.contains("421 4.3.2 busy"),
            "{body}"
        );
        site.stop().await;
        let program = Program::of(app)
            .with("PAPERROUND_SMTP__URL", "smtp://relay.example.org")
            .with("PAPERROUND_SMTP__RATE", "14");
        let id = edition.issue.to_string();
        let list = program.run(&["relay", "list"]).expect(0).out;
        assert!(
            list.contains(trouble) && list.contains("14/s, 1 at once"),
            "{list}"
        );
        let show = program.run(&["issue", "show", &id]).expect(0).err;
        assert!(show.contains(trouble), "{show}");

        press.pause(edition.issue).await;
        let list = program.run(&["issue", "list"]).expect(0).out;
        assert!(
            list.contains("sending, paused") && list.contains("by hand"),
            "{list}"
        );
        program.run(&["issue", "resume", &id]).expect(2);
        let resume = ["issue", "resume", &id, "--reason", "the relay was mended"];
        program.run(&resume).expect(0);
        let show = program.run(&["issue", "show", &id]).expect(0).err;
        assert!(
            show.contains("by hand") && show.contains("the relay was mended"),
            "{show}"
        );
    }
);

/// To whom mails went, in their order.
fn recipients(server: &SmtpServer) -> Vec<String> {
    let accepted = server.accepted().into_iter();
    accepted.map(|mail| mail.recipient).collect()
}

db_test!(
    a_mail_that_another_relay_may_have_does_not_go_along_with_one_before_it,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 2).await;
        let (first, second) = (SmtpServer::start().await, SmtpServer::start().await);
        let (doubted, waiting) = ("reader0@example.org", "reader1@example.org");
        {
            let mut script = second.script();
            script.always_for(doubted, Step::Dot, Act::close().accepted());
            script.always_for(waiting, Step::Rcpt, Act::reply("451 4.7.1 later"));
        }
        let sender = press.sender_along(&[("second", &second, None)]).await;
        sender.run_until_idle().await;
        assert_eq!(press.state(edition.deliveries[0]).await, State::InDoubt);
        assert_eq!(press.state(edition.deliveries[1]).await, State::Pending);
        second.script().clear();
        press.time.advance(leases().grace * 2);
        // both work; the two mails are claimed together, for one line
        let relays = [("first", &first), ("second", &second)];
        press.sender_in_line(&relays).await.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 2);
        assert_eq!(recipients(&first), [waiting]);
        assert_eq!(recipients(&second), [doubted, doubted]);
    }
);

db_test!(
    a_sender_that_ends_closes_its_connections_to_every_relay,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 1).await;
        let (first, second, sender) = two_relays(&press).await;
        let refusal = Act::reply("550 5.7.1 not your domain");
        first.script().always(Step::Mail, refusal);
        sender.run_until_idle().await;
        assert_eq!(sent(&press, &edition).await, 1);
        let closed = async {
            while first.counters().open + second.counters().open > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let closed = tokio::time::timeout(Duration::from_secs(10), closed);
        closed.await.expect("none stays open");
    }
);

db_test!(
    what_a_resting_relay_alone_takes_waits_for_it_and_is_not_claimed_in_vain,
    async |app: &TestApp| {
        let (press, edition) = issue(app, 3).await;
        let (first, second, sender) = two_relays(&press).await;
        let refused = Act::reply("550 5.7.1 sender not wanted");
        first.script().always(Step::Mail, refused);
        is_busy(&second);
        tokio::time::timeout(Duration::from_secs(10), sender.run_until_idle())
            .await
            .expect("nothing more can be sent now");
        assert_eq!(sent(&press, &edition).await, 0);
        second.script().clear();
        press.time.advance(Duration::from_mins(2));
        sender.run_until_idle().await;
        assert_eq!(second.accepted().len(), 3);
    }
);

db_test!(
    a_size_that_a_relay_does_not_take_is_no_matter_of_its_sender,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let too_big = Act::reply("552 5.3.4 too big");
        for (domain, size) in [("known.example", Some(100)), ("told.example", None)] {
            let offers = Offers {
                size,
                ..Offers::default()
            };
            let first = SmtpServer::offering(offers).await;
            first.script().always(Step::Mail, too_big.clone());
            let second = SmtpServer::start().await;
            let ways = [("first", &first, None), ("second", &second, None)];
            let sender = press.sender_along(&ways).await;
            let readers = press.readers_at(domain, 1).await;
            let edition = press.edition(&readers, "resend").await;
            sender.run_until_idle().await;
            let issue = issues::by_id(&press.db, edition.issue).await.unwrap();
            assert!(issue.unwrap().paused_at.is_some(), "{domain}");
            assert!(second.accepted().is_empty(), "{domain}");
        }
    }
);
