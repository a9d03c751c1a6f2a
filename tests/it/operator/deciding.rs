use std::sync::Arc;
use std::time::Duration;

use paperround::clock::{Clock as _, SystemClock};
use paperround::deliveries::State;
use paperround::id::IssueId;
use tokio::sync::Notify;

use super::{Edition, GRACE, Press, send_and_wait_out_doubts, states};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Program, TestApp, db_test};

const RESUME: &[&str] = &["issue", "resume", "world/1", "--reason", "mended"];
const NOT_PAUSED: &str = "issue world/1 is not paused, or over";

/// An issue of three readers: one mail is held, one failed, one was sent.
async fn troubled(press: &Press, server: &SmtpServer) -> Edition {
    let readers = press.readers(3).await;
    let edition = press.edition(&readers, "hold").await;
    server
        .script()
        .always_for(&readers[0].email, Step::Dot, Act::close().accepted());
    server
        .script()
        .always_for(&readers[1].email, Step::Rcpt, Act::reply("550 5.7.1 no"));
    send_and_wait_out_doubts(press, server).await;
    server.script().clear();
    assert_eq!(
        states(press, &edition).await,
        [State::Held, State::Failed, State::Sent]
    );
    assert_eq!(press.issue_state(edition.issue).await, "finished");
    edition
}

/// The program goes by the machine's clock: what it lets wait is due when the test's clock has come as far.
fn catch_up(press: &Press) {
    let machine = SystemClock.now() + Duration::from_secs(1);
    press.time.set(machine.max(press.now()));
}

/// What an act may change: the rows and the issue.
async fn everything(app: &TestApp, press: &Press, issue: IssueId) -> (Vec<String>, String) {
    (app.rows().await, press.issue_state(issue).await)
}

db_test!(
    a_mail_of_another_issue_is_not_decided,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = troubled(&press, &server).await;
        let other = press.edition(&[], "resend").await;
        let before = everything(app, &press, other.issue).await;
        let held = edition.deliveries[0].to_string();
        for decision in ["--sent", "--again", "--not-sent"] {
            let run = Program::of(app)
                .run(&["issue", "decide", "world/2", "--delivery", &held, decision])
                .expect(2);
            assert!(
                run.err
                    .contains(&format!("the issue has no mail with the id {held}"))
                    && run.err.contains("paperround issue deliveries"),
                "{}",
                run.err
            );
            assert_eq!(
                everything(app, &press, other.issue).await,
                before,
                "{decision}"
            );
        }
        // Of its own issue it is.
        Program::of(app)
            .run(&["issue", "decide", "world/1", "--delivery", &held, "--sent"])
            .expect(0);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Sent);
    }
);

db_test!(
    nothing_of_a_cancelled_issue_is_sent_again,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = troubled(&press, &server).await;
        // Reopened by the retry, and cancelled before anything was sent.
        let retried = Program::of(app)
            .run(&["issue", "retry", "world/1"])
            .expect(0);
        assert!(
            retried
                .err
                .contains("Issue world/1: 1 failed mails are tried again."),
            "{}",
            retried.err
        );
        assert_eq!(press.issue_state(edition.issue).await, "sending");
        catch_up(&press);
        server
            .script()
            .once(Step::Rcpt, Act::reply("550 5.7.1 no, again"));
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(press.issue_state(edition.issue).await, "finished");
        let again = ["issue", "decide", "world/1", "--again", "--yes"];
        Program::of(app).run(&again).expect(0);
        catch_up(&press);
        server.script().once(Step::Dot, Act::close().accepted());
        press.sender(&server).await.run_until_idle().await;
        press.cancel(edition.issue).await;
        press.time.advance(GRACE);
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(
            states(&press, &edition).await,
            [State::Held, State::Failed, State::Sent]
        );

        let before = everything(app, &press, edition.issue).await;
        let held = edition.deliveries[0].to_string();
        for (act, words) in [
            (
                &["issue", "retry", "world/1"][..],
                "the issue is cancelled, so none of its mails is sent again",
            ),
            (&again, "say --sent, or --not-sent"),
            (
                &["issue", "decide", "world/1", "--again", "--delivery", &held],
                "the issue is cancelled, so none of its mails is sent again",
            ),
        ] {
            let run = Program::of(app).run(act).expect(4);
            assert!(run.err.contains(words), "{act:?}: {}", run.err);
            assert_eq!(
                everything(app, &press, edition.issue).await,
                before,
                "{act:?}"
            );
        }
        // What did not arrive comes with the next issue.
        Program::of(app)
            .run(&["issue", "decide", "world/1", "--not-sent", "--yes"])
            .expect(0);
        assert_eq!(press.state(edition.deliveries[0]).await, State::Skipped);
        assert_eq!(press.issue_state(edition.issue).await, "cancelled");
    }
);

db_test!(
    with_nothing_to_decide_a_finished_issue_stays_finished,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(1).await;
        let edition = press.edition(&readers, "resend").await;
        press.sender(&server).await.run_until_idle().await;
        let before = everything(app, &press, edition.issue).await;
        let sent = edition.deliveries[0].to_string();
        for (act, words) in [
            (
                &["issue", "retry", "world/1"][..],
                "none of its mails failed",
            ),
            (
                &["issue", "decide", "world/1", "--again", "--yes"],
                "no mail of issue world/1 is held",
            ),
            (
                &["issue", "decide", "world/1", "--again", "--delivery", &sent],
                "the mail is not held, it is sent",
            ),
        ] {
            let run = Program::of(app).run(act).expect(4);
            assert!(run.err.contains(words), "{act:?}: {}", run.err);
            assert_eq!(
                everything(app, &press, edition.issue).await,
                before,
                "{act:?}"
            );
        }
        assert_eq!(before.1, "finished");
    }
);

/// An issue whose last mail is refused while its operator pauses it: finished, and paused.
async fn paused_at_its_end(press: &Press, server: &SmtpServer) -> Edition {
    let readers = press.readers(1).await;
    let edition = press.edition(&readers, "resend").await;
    let asked = Arc::new(Notify::new());
    let hears = asked.clone();
    let sender_ok = Act::reply("250 2.1.0 ok").calling(move || hears.notify_one());
    let refusal = Act::reply("550 5.7.1 no").delayed(Duration::from_millis(300));
    server.script().once(Step::Mail, sender_ok);
    server.script().once(Step::Rcpt, refusal);
    let sender = press.sender(server).await;
    tokio::join!(sender.run_until_idle(), async {
        asked.notified().await;
        press.pause(edition.issue).await;
    });
    assert_eq!(states(press, &edition).await, [State::Failed]);
    assert_eq!(press.issue_state(edition.issue).await, "finished");
    assert!(press.pause_reason(edition.issue).await.is_some());
    edition
}

db_test!(
    a_finished_issue_re_opens_also_where_it_was_paused_with_its_last_mail,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let edition = paused_at_its_end(&press, &server).await;
        let run = Program::of(app).run(RESUME).expect(4);
        assert!(run.err.contains(NOT_PAUSED), "{}", run.err);
        Program::of(app)
            .run(&["issue", "retry", "world/1"])
            .expect(0);
        catch_up(&press);
        press.sender(&server).await.run_until_idle().await;
        assert_eq!(states(&press, &edition).await, [State::Sent]);
        let shown = Program::of(app)
            .run(&["issue", "show", "world/1"])
            .expect(0);
        assert!(
            shown.err.contains("its mails are sent again"),
            "{}",
            shown.err
        );
    }
);

db_test!(
    what_waits_again_of_a_paused_issue_waits_for_it_to_go_on,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let server = SmtpServer::start().await;
        let readers = press.readers(2).await;
        let edition = press.edition(&readers, "resend").await;
        let (refused, later) = (&readers[0].email, &readers[1].email);
        let script = |recipient: &str, reply: &str| {
            server
                .script()
                .always_for(recipient, Step::Rcpt, Act::reply(reply));
        };
        script(refused, "550 5.7.1 no");
        script(later, "451 4.7.1 later");
        press.sender(&server).await.run_until_idle().await;
        press.pause(edition.issue).await;
        for (act, words) in [
            (
                &["issue", "retry", "world/1"][..],
                "1 failed mails are tried again",
            ),
            (
                &["issue", "decide", "world/1", "--again", "--yes"],
                "are sent again",
            ),
        ] {
            let run = Program::of(app).run(act).expect(0);
            let words =
                format!("{words} as soon as it goes on. Next: paperround issue resume world/1");
            assert!(run.err.contains(&words), "{}", run.err);
            assert_eq!(states(&press, &edition).await, [State::Pending; 2]);
            app.execute("UPDATE deliveries SET state = 'held', is_open = FALSE")
                .await;
        }
        assert!(press.pause_reason(edition.issue).await.is_some());

        press.cancel(edition.issue).await;
        let run = Program::of(app).run(RESUME).expect(4);
        assert!(run.err.contains(NOT_PAUSED), "{}", run.err);
    }
);
