use paperround::deliveries::State;
use serde_json::Value;

use super::{Press, send_and_wait_out_doubts, states};
use crate::support::smtp_server::{Act, SmtpServer, Step};
use crate::support::{Program, Run, TestApp, db_test};

/// `paperround issue deliveries world/1` with these options.
fn list(app: &TestApp, options: &[&str]) -> Run {
    let command = ["issue", "deliveries", "world/1"];
    Program::of(app)
        .run(&[&command[..], options].concat())
        .expect(0)
}

/// Whom a list names, sorted: ids of one millisecond are in no order.
fn recipients(list: &Value) -> Vec<&str> {
    let deliveries = list["deliveries"].as_array().unwrap();
    let mut recipients: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery["recipient"].as_str().unwrap())
        .collect();
    recipients.sort_unstable();
    recipients
}

/// How often a reader's mail was in doubt, and the copies they can have.
fn doubts_and_copies(list: &Value, recipient: &str) -> (i64, i64) {
    let deliveries = list["deliveries"].as_array().unwrap();
    let found = deliveries
        .iter()
        .find(|delivery| delivery["recipient"] == recipient)
        .unwrap();
    let number = |key: &str| found[key].as_i64().unwrap();
    (number("doubt"), number("copies_at_most"))
}

db_test!(
    each_mail_in_doubt_held_or_sent_again_is_listed,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(4).await;
        let edition = press.edition(&readers, "resend").await;
        let server = SmtpServer::start().await;
        // One reply is lost once, one is lost twice, one says no; the last reader's mail is simply sent.
        server
            .script()
            .once_for(&readers[0].email, Step::Dot, Act::close().accepted());
        server
            .script()
            .always_for(&readers[1].email, Step::Dot, Act::close().accepted());
        server.script().always_for(
            &readers[2].email,
            Step::Rcpt,
            Act::reply("550 5.7.1 go away"),
        );
        let sender = press.sender_with(&server, 1).await;
        sender.run_until_idle().await;
        let doubtful = list(app, &["--state", "in_doubt", "--json"]).json();
        assert_eq!(
            recipients(&doubtful),
            ["reader0@example.org", "reader1@example.org"]
        );
        assert_eq!(doubts_and_copies(&doubtful, "reader0@example.org"), (1, 1));
        send_and_wait_out_doubts(&press, &server).await;
        assert_eq!(
            states(&press, &edition).await,
            [State::Sent, State::Held, State::Failed, State::Sent]
        );

        let held = list(app, &["--state", "held"]);
        let lines: Vec<_> = held.out.lines().collect();
        assert_eq!(lines.len(), 2, "{}", held.out);
        for part in [
            &edition.deliveries[1].to_string(),
            "reader1@example.org",
            "held",
            "doubt",
            "at most 2",
        ] {
            assert!(lines[1].contains(part), "{part}: {}", held.out);
        }
        assert_eq!(held.err, "");
        let failed = list(app, &["--state", "failed"]).out;
        assert!(
            failed.contains("reader2@example.org") && failed.contains("550 5.7.1 go away"),
            "{failed}"
        );
        let resent = list(app, &["--resent", "--json"]).json();
        assert_eq!(
            recipients(&resent),
            ["reader0@example.org", "reader1@example.org"]
        );
        let all = list(app, &["--json"]).json();
        for (reader, expected) in readers.iter().zip([(1, 2), (2, 2), (0, 0), (0, 1)]) {
            assert_eq!(doubts_and_copies(&all, &reader.email), expected);
        }

        // The issue's own page leads there, and the reader's says the same.
        let show = Program::of(app)
            .run(&["issue", "show", "world/1"])
            .expect(0)
            .err;
        for line in [
            "1 held for you to decide: paperround issue deliveries world/1 --state held",
            "then: paperround issue decide world/1",
            "1 failed: paperround issue deliveries world/1 --state failed",
            "2 were in doubt once or more, so a copy may have come twice: paperround issue deliveries world/1 --resent",
        ] {
            assert!(show.contains(line), "{line}: {show}");
        }
        for (reader, words) in [
            (0, "in doubt once: at most 2 copies arrived"),
            (1, "in doubt 2 times: at most 2 copies arrived"),
        ] {
            let page = Program::of(app)
                .run(&["subscriber", "show", &readers[reader].email])
                .expect(0)
                .out;
            assert!(
                page.contains("issue world/1") && page.contains(words),
                "{page}"
            );
        }
        let page = Program::of(app)
            .run(&["subscriber", "show", &readers[3].email])
            .expect(0)
            .out;
        assert!(!page.contains("in doubt"), "{page}");
    }
);

db_test!(
    a_long_list_comes_in_parts_and_says_how_many_more,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(7).await;
        press.edition(&readers, "resend").await;
        let mut found = Vec::new();
        let mut after = Vec::<String>::new();
        for (count, more) in [(3, 4), (3, 1), (1, 0)] {
            let options: Vec<&str> = ["--state", "pending", "--limit", "3"]
                .into_iter()
                .chain(after.iter().map(String::as_str))
                .collect();
            let json = list(app, &[&options[..], &["--json"]].concat()).json();
            let page = recipients(&json);
            assert_eq!((page.len(), &json["more"]), (count, &more.into()));
            found.extend(page.into_iter().map(str::to_owned));
            let last = json["deliveries"][count - 1]["id"].as_str().unwrap();
            let words = list(app, &options).err;
            let next = format!(
                "{more} more: paperround issue deliveries world/1 --state pending --limit 3 --after {last}"
            );
            assert_eq!(words.trim_end() == next, more > 0, "{words}");
            after = vec!["--after".to_owned(), last.to_owned()];
        }
        found.sort();
        let all: Vec<_> = readers.iter().map(|reader| reader.email.clone()).collect();
        assert_eq!(found, all);
        let none = list(app, &["--state", "held"]);
        assert_eq!(
            (none.out.as_str(), none.err.trim_end()),
            ("", "Issue world/1 has no such mail.")
        );
    }
);
