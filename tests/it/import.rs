//! Bringing readers along, and writing them out again, as an operator does it.

use paperround::subscribers::SubscriptionState;

use crate::support::{Program, TestApp, db_test};

/// A file in the service's folder with these bytes.
fn file(app: &TestApp, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = app.folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn export(app: &TestApp) -> Vec<serde_json::Value> {
    let run = Program::of(app)
        .run(&["export", "subscribers", "--format", "jsonl"])
        .expect(0);
    run.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

db_test!(
    a_thousand_readers_are_imported_once_however_often_the_file_is,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let rows: Vec<_> = (0..1000)
            .map(|n| format!("reader{n}@example.org"))
            .collect();
        let rows = rows.join(
            "
",
        );
        let path = file(
            app,
            "readers.csv",
            format!("\u{feff}Email\r\n{rows}\r\nREADER7@example.org\r\n"),
        );
        for (added, already) in [(1000, 0), (0, 1000)] {
            let report = Program::of(app)
                .run(&["import", &path, "--json"])
                .expect(0)
                .json();
            assert_eq!(
                (&report["added"], &report["already"]),
                (&added.into(), &already.into())
            );
            assert_eq!(report["duplicates"], 1);
        }
        let readers = export(app);
        assert_eq!(readers.len(), 1000);
        assert_eq!(readers[0]["state"], "active");
        assert_eq!(readers[0]["topics"], serde_json::json!(["all"]));
        assert_eq!(readers[0]["cadence"], "daily");
    }
);

db_test!(
    nobody_who_left_comes_back_by_an_import,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let site = app.serve().await;
        let path = file(
            app,
            "readers.csv",
            "email\nada@example.org\nbob@example.org\n",
        );
        Program::of(app).run(&["import", &path]).expect(0);
        let run = Program::of(app).run(&["subscriber", "unsubscribe", "ada@example.org", "--yes"]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        let report = Program::of(app)
            .run(&["import", &path, "--json"])
            .expect(0)
            .json();
        assert_eq!(
            (&report["added"], &report["ended"], &report["already"]),
            (&0.into(), &1.into(), &1.into())
        );
        let states: Vec<_> = export(app)
            .iter()
            .map(|reader| reader["state"].to_string())
            .collect();
        assert!(
            states.contains(&format!("\"{}\"", SubscriptionState::Unsubscribed)),
            "{states:?}"
        );
        site.stop().await;
    }
);

db_test!(
    a_wrong_row_is_named_and_the_others_are_imported,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let path = file(
            app,
            "readers.csv",
            "email;topic;cadence\nada@example.org;;weekly\nnobody;;\nbob@example.org;mars;\n",
        );
        let rejects = app.folder().join("rejects.csv").display().to_string();
        let run = Program::of(app)
            .run(&["import", &path, "--rejects", &rejects])
            .expect(3);
        assert!(run.err.contains("Added 1 readers"), "{}", run.err);
        let rejects = std::fs::read_to_string(rejects).unwrap();
        assert!(
            rejects.contains("3,nobody,") && rejects.contains("4,mars,"),
            "{rejects}"
        );
    }
);

db_test!(a_dry_run_changes_nothing, async |app: &TestApp| {
    app.newsletter("world").await;
    let path = file(app, "readers.csv", "email\nada@example.org\n");
    let report = Program::of(app)
        .run(&["import", &path, "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(report["added"], 1);
    assert!(export(app).is_empty());
    let run = Program::of(app)
        .run_with_input(&["import", "-"], b"email\nada@example.org\n")
        .expect(0);
    assert!(run.err.contains("Added 1 readers"), "{}", run.err);
    assert_eq!(export(app).len(), 1);
});

db_test!(
    a_file_that_is_no_list_is_refused_with_what_it_needs,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let path = file(app, "readers.csv", "name,phone\nAda,1\n");
        let run = Program::of(app).run(&["import", &path]).expect(2);
        assert!(
            run.err.contains("no column is called `email`"),
            "{}",
            run.err
        );
        let run = Program::of(app).run(&["import", "/nowhere.csv"]).expect(2);
        assert!(run.err.contains("cannot read /nowhere.csv"), "{}", run.err);
    }
);

db_test!(
    an_export_can_be_imported_elsewhere,
    async |app: &TestApp| {
        app.newsletter("world").await;
        app.newsletter("second").await;
        let path = file(
            app,
            "readers.csv",
            "email,cadence\nada@example.org,weekly\n+bob@example.org,daily\n",
        );
        Program::of(app)
            .run(&["import", &path, "--newsletter", "world"])
            .expect(0);
        let csv = Program::of(app)
            .run(&["export", "subscribers", "--newsletter", "world"])
            .expect(0)
            .out;
        assert!(csv.contains("'+bob@example.org"), "{csv}");
        let path = file(app, "export.csv", csv);
        let report = Program::of(app)
            .run(&["import", &path, "--newsletter", "second", "--json"])
            .expect(0)
            .json();
        assert_eq!(report["added"], 2);
    }
);
