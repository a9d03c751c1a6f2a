use crate::support::{Program, TestApp, db_test};

const ADD_WORLD: &[&str] = &[
    "newsletter",
    "add",
    "world",
    "--name",
    "World News",
    "--from-address",
    "Editor@Example.org",
    "--timezone",
    "Europe/Berlin",
];

db_test!(
    a_newsletter_is_set_up_beside_the_running_service,
    async |app: &TestApp| {
        let program = Program::of(app);
        let run = program.run(ADD_WORLD).expect(0);
        assert_eq!(run.out, "");
        assert!(
            run.err
                .contains("Made the newsletter world: daily at 07:00, Europe/Berlin."),
            "{}",
            run.err
        );
        assert!(
            run.err.contains("newsletter edit world --postal-address"),
            "the next step is named: {}",
            run.err
        );

        let list = program
            .run(&["newsletter", "list", "--json"])
            .expect(0)
            .json();
        assert_eq!(list[0]["slug"], "world");
        assert_eq!(list[0]["from_address"], "Editor@example.org");
        assert_eq!(list[0]["postal_address"], serde_json::Value::Null);

        program
            .run(&[
                "newsletter",
                "edit",
                "world",
                "--postal-address",
                "1 Main St",
            ])
            .expect(0);
        let list = program.run(&["newsletter", "list"]).expect(0);
        assert!(list.out.starts_with("SLUG   NAME"), "{}", list.out);
        assert!(list.out.contains("yes") && list.err.is_empty(), "{list:?}");

        program
            .run(&[
                "topic",
                "add",
                "europe",
                "--name",
                "Europe",
                "--max-cadence",
                "weekly",
            ])
            .expect(0);
        let topics = program.run(&["topic", "list", "--json"]).expect(0).json();
        assert_eq!(topics[0]["slug"], "all");
        assert_eq!(topics[1]["max_cadence"], "weekly");
    }
);

db_test!(
    schedules_show_their_next_five_slots,
    async |app: &TestApp| {
        let program = Program::of(app);
        program.run(ADD_WORLD).expect(0);
        let run = program
            .run(&["schedule", "add", "--cadence", "weekly", "--days", "mon"])
            .expect(0);
        assert!(run.err.contains("First due: Mon "), "{}", run.err);
        let next = program
            .run(&["schedule", "next", "world", "--json"])
            .expect(0)
            .json();
        let next = next.as_array().unwrap();
        assert_eq!(next.len(), 5);
        let both = serde_json::json!(["daily", "weekly"]);
        // Five days in a row hold at most one Monday; seven hold exactly one.
        let week = program
            .run(&["schedule", "next", "--count", "7", "--json"])
            .expect(0)
            .json();
        assert_eq!(
            week.as_array()
                .unwrap()
                .iter()
                .filter(|slot| slot["cadences"] == both)
                .count(),
            1
        );
        let text = program.run(&["schedule", "next"]).expect(0).out;
        assert_eq!(text.lines().count(), 6);
        assert!(
            text.contains("Europe/Berlin")
                && (text.contains("+01:00 CET") || text.contains("+02:00 CEST")),
            "{text}"
        );
    }
);

db_test!(
    what_cannot_be_done_says_why_and_has_its_code,
    async |app: &TestApp| {
        let program = Program::of(app);
        let check = |arguments: &[&str], code: i32, words: &str| {
            let run = program.run(arguments).expect(code);
            assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
            assert_eq!(run.out, "", "{arguments:?}");
        };
        check(
            &["topic", "list"],
            2,
            "there is no newsletter yet: make one with `paperround newsletter add`",
        );
        check(
            &["newsletter", "add", "--name", "World"],
            2,
            "--from-address is required",
        );
        check(
            &["newsletter", "add", "W O", "--name", "W"],
            2,
            "must be 1 to 40 lower-case letters",
        );
        check(
            &[
                "newsletter",
                "add",
                "w",
                "--name",
                "W",
                "--from-address",
                "a@b\r\nBcc: x",
            ],
            2,
            "from-address: An email address has no spaces",
        );
        check(
            &[
                "newsletter",
                "add",
                "w",
                "--name",
                "W",
                "--from-address",
                "w@example.org",
                "--timezone",
                "Berlin",
            ],
            2,
            "must be the name of a time zone",
        );
        check(
            &[
                "newsletter",
                "add",
                "w",
                "--name",
                "W",
                "--from-address",
                "w@example.org",
                "--cadence",
                "off",
            ],
            2,
            "not off",
        );
        program.run(ADD_WORLD).expect(0);
        check(ADD_WORLD, 4, "world is taken");
        check(
            &["topic", "list", "-n", "wrold"],
            2,
            "there is no newsletter \"wrold\". There is: world",
        );
        check(
            &["schedule", "add", "--cadence", "daily", "--at", "7"],
            2,
            "must be a time of day",
        );
        check(
            &["schedule", "add", "--cadence", "hourly"],
            2,
            "must be one of: off immediate daily weekly monthly",
        );
        check(&["frobnicate"], 2, "unrecognized subcommand");
    }
);

#[test]
fn wrong_settings_end_with_their_own_code_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path())
        .with("PAPERROUND_SERVER__BASE_URL", "ftp://x")
        .with("PAPERROUND_LOG__LEVL", "x");
    let run = program.run(&["newsletter", "list"]).expect(2);
    assert!(
        run.err.contains("Did you mean PAPERROUND_LOG__LEVEL?"),
        "{}",
        run.err
    );
    let program = Program::in_folder(folder.path()).with("PAPERROUND_SERVER__BASE_URL", "ftp://x");
    let run = program.run(&["newsletter", "list"]).expect(2);
    assert!(
        run.err
            .contains("server.base_url (PAPERROUND_SERVER__BASE_URL) must begin with https://"),
        "{}",
        run.err
    );
    // Shown all the same, so that the operator sees what is in force.
    let run = program.run(&["config", "show"]).expect(2);
    assert!(
        run.out.contains("ftp://x") && run.out.contains("PAPERROUND_SERVER__BASE_URL"),
        "{}",
        run.out
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[test]
fn the_settings_file_is_found_in_the_working_folder_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paperround.toml");
    std::fs::write(
        &file,
        "[server]\nbase_url = 'https://news.example.org'\nbind = '[::1]:9'\n",
    )
    .unwrap();
    let shown = |program: &Program, arguments: &[&str]| {
        let shown = program.run(arguments).expect(0).json();
        shown
            .as_array()
            .unwrap()
            .iter()
            .find(|setting| setting["key"] == "server.bind")
            .unwrap()
            .clone()
    };
    let bind = shown(
        &Program::in_folder(folder.path()),
        &["config", "show", "--json"],
    );
    assert_eq!(
        (&bind["value"], &bind["source"]),
        (&"[::1]:9".into(), &"file paperround.toml".into())
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let bind = shown(
        &Program::in_folder(elsewhere.path()),
        &[
            "config",
            "show",
            "--json",
            "--config",
            file.to_str().unwrap(),
        ],
    );
    assert_eq!(bind["value"], "[::1]:9");
    let run = Program::in_folder(elsewhere.path())
        .run(&["config", "check", "--config", "/nowhere.toml"])
        .expect(2);
    assert!(
        run.err.contains("file /nowhere.toml cannot be read"),
        "{}",
        run.err
    );
}

#[test]
fn keys_are_made_where_they_are_asked_for_by_a_name_without_a_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path())
        .with("PAPERROUND_SERVER__BASE_URL", "http://localhost:8080")
        .with("PAPERROUND_SECRETS__FILE", "keys.toml");
    program.run(&["migrate"]).expect(0);
    program.run(ADD_WORLD).expect(0);
    assert!(folder.path().join("keys.toml").exists());
    assert!(!folder.path().join("secrets.toml").exists());
}

#[test]
fn the_first_start_makes_the_folder_the_keys_and_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let program = Program::in_folder(folder.path())
        .with("PAPERROUND_SERVER__BASE_URL", "http://localhost:8080")
        .with("PAPERROUND_DATA_DIR", data.to_str().unwrap());
    let dry = program.run(&["migrate", "--dry-run"]).expect(0);
    assert!(dry.err.contains("Would apply: 0001"), "{}", dry.err);
    assert!(
        program
            .run(&["migrate"])
            .expect(0)
            .err
            .contains("Applied: 0001")
    );
    assert!(
        program
            .run(&["migrate"])
            .expect(0)
            .err
            .contains("The database is up to date.")
    );
    assert!(
        program
            .run(&["migrate", "--status", "--json"])
            .expect(0)
            .json()[0]["applied"]
            .as_bool()
            .unwrap()
    );
    program.run(ADD_WORLD).expect(0);
    #[cfg(unix)]
    for name in ["secrets.toml", "paperround.db"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(data.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
