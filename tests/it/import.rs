//! Bringing readers along, and writing them out again, as an operator does it.

use std::time::Duration;

use paperround::newsletters::{Cadence, add, store};
use paperround::subscribers::SubscriptionState;
use paperround::subscribers::consent::ConsentKind;
use paperround::subscribers::email_address::{AddressRules, EmailAddress};
use paperround::subscribers::evidence::Channel;
use paperround::subscribers::explain::explain;

use crate::decided::suppress_in;
use crate::returning::NEW_PEPPER;
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

/// A topic of the newsletter called `world`, which comes no more often than this.
async fn topic(app: &TestApp, slug: &str, most: Option<Cadence>) {
    let found = store::by_slug(&app.db, "world").await;
    let newsletter = found.unwrap().unwrap().id;
    let name = slug.to_uppercase();
    let made = add::topic(app, newsletter, slug.parse().unwrap(), name, most).await;
    made.unwrap();
}

db_test!(
    whoever_may_not_be_mailed_is_not_imported_whichever_pepper_hid_them,
    async |app: &TestApp| {
        let world = app.newsletter("world").await.id.to_string();
        let asia = app.newsletter("asia").await.id.to_string();
        for (email, scope, reason) in [
            ("ada@example.org", "all", "erased"),
            ("bob@example.org", &*world, "operator"),
            ("eve@example.org", &*asia, "complaint"),
        ] {
            suppress_in(app, email, scope, reason).await;
        }
        let secrets = app.config.secrets_file();
        let more = std::fs::read_to_string(&secrets).unwrap() + NEW_PEPPER;
        std::fs::write(&secrets, more).unwrap();
        let rows = "email\nada@example.org\nbob@example.org\neve@example.org\n";
        let path = file(app, "readers.csv", rows);
        let report = Program::of(app)
            .run(&["import", &path, "--newsletter", "world", "--json"])
            .expect(0)
            .json();
        assert_eq!(
            (&report["added"], &report["suppressed"]),
            (&1.into(), &2.into())
        );
        assert_eq!(
            app.rows_of("subscription").await,
            ["subscription eve@example.org world active -"]
        );
    }
);

db_test!(
    an_imported_reader_gets_what_the_row_says_and_the_record_says_from_where,
    async |app: &TestApp| {
        app.newsletter("world").await;
        app.newsletter("other").await;
        topic(app, "europe", None).await;
        let site = app.serve().await;
        app.reader(&site, "other", "ada@example.org").await;
        site.stop().await;
        let rows = "email,topic,cadence\nbob@example.org,,\nada@example.org,europe,weekly\n";
        let path = file(app, "readers.csv", rows);
        Program::of(app)
            .run(&["import", &path, "--newsletter", "world"])
            .expect(0);
        assert_eq!(
            app.rows_of("interest").await,
            [
                "interest all daily 0 0",
                "interest all daily 0 0",
                "interest europe weekly 0 0"
            ]
        );
        let ada = EmailAddress::parse("ada@example.org", AddressRules::default()).unwrap();
        let explained = explain(&app.db, &ada).await.unwrap().remove(0);
        assert!(explained.consent_is_whole, "{:?}", explained.consent);
        assert_eq!(explained.consent.len(), 2, "one in each newsletter");
        let imported = &explained.consent[1];
        assert_eq!(
            (imported.kind, imported.channel),
            (ConsentKind::Imported, Channel::CommandLine)
        );
        let detail = &imported.detail;
        assert_eq!(
            (&detail["source"], &detail["line"]),
            (&path.into(), &3.into())
        );
        assert_eq!(detail["topics"], serde_json::json!(["europe"]));
        assert_eq!(detail["cadence"], "weekly");
    }
);

const ERASED: &str = "UPDATE subscribers SET erased_at = created_at
     WHERE email_key IN ('reader0@example.org', 'reader1001@example.org')";

db_test!(
    every_page_of_an_export_is_of_its_newsletter_alone_and_without_the_erased,
    async |app: &TestApp| {
        for (slug, readers) in [("world", 0..1003), ("asia", 1003..1005)] {
            app.newsletter(slug).await;
            let rows: Vec<_> = readers.map(|n| format!("reader{n}@example.org")).collect();
            let rows = format!("email\n{}\n", rows.join("\n"));
            let path = file(app, "readers.csv", rows);
            Program::of(app)
                .run(&["import", &path, "--newsletter", slug])
                .expect(0);
        }
        app.execute(ERASED).await;
        let run = Program::of(app)
            .run(&["export", "subscribers", "--newsletter", "world"])
            .expect(0);
        let mut found: Vec<_> = run
            .out
            .lines()
            .skip(1)
            .map(|line| line.split(',').next().unwrap().to_owned())
            .collect();
        found.sort();
        let mut expected: Vec<_> = (1..1003)
            .filter(|n| *n != 1001)
            .map(|n| format!("reader{n}@example.org"))
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    }
);

db_test!(
    an_export_says_what_is_in_force_and_the_rhythm_that_comes_most_often,
    async |app: &TestApp| {
        app.newsletter("world").await;
        topic(app, "africa", None).await;
        topic(app, "asia", Some(Cadence::Weekly)).await;
        topic(app, "europe", None).await;
        let site = app.serve().await;
        let choose = async |first, second| {
            app.time.advance(Duration::from_secs(1));
            let form = [
                ("email", "ada@example.org"),
                ("cadence", "daily"),
                ("topic", first),
                ("topic", second),
            ];
            let answer = site.post("/subscribe/world", &form).await;
            answer.assert_status(303);
            let token = app.confirm_token("ada@example.org").await;
            let page = site.post(&format!("/confirm/{token}"), &[]).await;
            page.assert_status(200);
            // the newsletter's one schedule is a daily one
            assert!(page.body.contains("The first mail can come"));
        };
        choose("africa", "europe").await;
        let token = app.unsubscribe_token(app.subscription("ada@example.org").await);
        let answer = site.post(&format!("/unsubscribe/{token}"), &[]).await;
        answer.assert_status(200);
        choose("asia", "europe").await;
        let reader = export(app).remove(0);
        assert_eq!(reader["topics"], serde_json::json!(["asia", "europe"]));
        assert_eq!(reader["cadence"], "daily");
        site.stop().await;
    }
);

db_test!(
    every_topic_of_every_imported_reader_is_in_force_however_many_there_are,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let topics: Vec<_> = (0..11).map(|n| format!("topic-{n}")).collect();
        for slug in &topics {
            topic(app, slug, None).await;
        }
        let topics = topics.join("|");
        let rows: Vec<_> = (0..500)
            .map(|n| format!("reader{n}@example.org,{topics}"))
            .collect();
        let rows = format!("email,topic\n{}\n", rows.join("\n"));
        let path = file(app, "readers.csv", rows);
        let report = Program::of(app)
            .run(&["import", &path, "--json"])
            .expect(0)
            .json();
        assert_eq!(report["added"], 500);
        assert_eq!(app.rows_of("interest topic-").await.len(), 500 * 11);
    }
);

const BOUNCED: &str = "UPDATE subscriptions SET state = 'bounced', ended_at = started_at
     WHERE subscriber_id = (SELECT id FROM subscribers WHERE email_key = 'ada@example.org')";
const COMPLAINED: &str = "UPDATE subscriptions SET state = 'complained', ended_at = started_at
     WHERE subscriber_id = (SELECT id FROM subscribers WHERE email_key = 'bob@example.org')";

db_test!(
    whoever_bounced_or_complained_is_kept_out_by_an_import_and_counted_so,
    async |app: &TestApp| {
        app.newsletter("world").await;
        let rows = "email\nada@example.org\nbob@example.org\n";
        let path = file(app, "readers.csv", rows);
        Program::of(app).run(&["import", &path]).expect(0);
        app.execute(BOUNCED).await;
        app.execute(COMPLAINED).await;
        let report = Program::of(app)
            .run(&["import", &path, "--json"])
            .expect(0)
            .json();
        assert_eq!(
            (&report["added"], &report["already"], &report["ended"]),
            (&0.into(), &0.into(), &2.into())
        );
        assert_eq!(
            app.rows_of("subscription").await,
            [
                "subscription ada@example.org world bounced -",
                "subscription bob@example.org world complained -"
            ]
        );
    }
);
