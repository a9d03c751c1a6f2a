use super::Press;
use crate::support::{Program, TestApp, db_test};

db_test!(
    the_name_that_the_list_prints_is_what_the_commands_take,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(2).await;
        press.edition(&readers, "resend").await;
        let edition = press.edition(&readers, "resend").await;
        let program = Program::of(app);
        let list = program.run(&["issue", "list"]).expect(0).out;
        let names: Vec<_> = list
            .lines()
            .filter_map(|line| {
                line.split_whitespace()
                    .find(|word| word.starts_with("world/"))
            })
            .collect();
        assert_eq!(names, ["world/2", "world/1"], "{list}");
        let json = program.run(&["issue", "list", "--json"]).expect(0).json();
        assert_eq!(json["issues"][0]["issue"], "world/2");

        // The name, the number alone while there is one newsletter, and the id are the same issue.
        let id = edition.issue.to_string();
        for name in ["world/2", "2", &id] {
            let shown = program.run(&["issue", "show", name, "--json"]).expect(0);
            assert_eq!(shown.json()["id"], id.as_str(), "{name}");
        }
        let run = program.run(&["issue", "pause", "world/2"]).expect(0);
        assert!(
            run.err.contains("Next: paperround issue resume world/2"),
            "{}",
            run.err
        );
        assert!(press.pause_reason(edition.issue).await.is_some());
        program
            .run(&["issue", "resume", "2", "--reason", "looked at"])
            .expect(0);
        assert_eq!(press.pause_reason(edition.issue).await, None);
        let run = program.run(&["issue", "cancel", &id, "--yes"]).expect(0);
        assert!(
            run.err.contains("Issue world/2 is cancelled: 2 mails"),
            "{}",
            run.err
        );
        assert_eq!(press.issue_state(edition.issue).await, "cancelled");
        let run = program.run(&["issue", "show", "world/2"]).expect(0);
        assert!(
            run.err
                .contains("Issue world/2 was cancelled: by an operator"),
            "{}",
            run.err
        );
    }
);

db_test!(
    a_name_without_an_issue_says_what_to_do,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        press.edition(&readers, "resend").await;
        let program = Program::of(app);
        let check = |name: &str, words: &str| {
            for act in [
                &["issue", "show", name][..],
                &["issue", "deliveries", name],
                &["issue", "release", name],
                &["issue", "pause", name],
                &["issue", "resume", name, "--reason", "looked at"],
                &["issue", "cancel", name, "--yes"],
                &["issue", "retry", name],
                &["issue", "decide", name, "--sent", "--yes"],
            ] {
                let run = program.run(act).expect(2);
                assert!(run.err.contains(words), "{act:?}: {}", run.err);
                assert_eq!(run.out, "", "{act:?}");
            }
        };
        check(
            "world/7",
            "there is no issue world/7: `paperround issue list world` prints what there is",
        );
        check("7", "there is no issue 7: `paperround issue list world`");
        check(
            "wrold/1",
            "there is no newsletter \"wrold\". There is: world",
        );
        check(
            "0198e0a2-7c1b-7000-8000-000000000001",
            "`paperround issue list` prints what there is",
        );
        check(
            "world",
            "must be a newsletter and a number, such as world/12, or an id; `paperround issue list` prints them",
        );
        // With a second newsletter a number alone says too little.
        app.newsletter("sport").await;
        check("1", "say which newsletter: sport, world");
    }
);

db_test!(
    an_older_issue_is_found_by_its_number,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        let readers = press.readers(1).await;
        let first = press.edition(&readers, "resend").await;
        press.edition(&readers, "resend").await;
        let program = Program::of(app);
        let shown = program.run(&["issue", "show", "world/1", "--json"]);
        assert_eq!(shown.expect(0).json()["id"], first.issue.to_string());
    }
);
