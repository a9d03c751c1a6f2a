//! The two schemas are one: equal files, tables, columns and nullability.

/// The files of one engine, in order.
fn names(engine: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(format!("migrations/{engine}"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.into_string().expect("its name is text"))
        .collect();
    names.sort();
    names
}

#[test]
fn migrations_are_paired() {
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

/// Like `sha256sum -c SHA256SUMS`. A migration is listed with its first commit; once it has landed it is never edited.
#[test]
fn what_has_landed_is_as_it_was() {
    let listed = std::fs::read_to_string("migrations/SHA256SUMS").expect("the list is there");
    for engine in ["sqlite", "postgres"] {
        for name in names(engine) {
            let entry = format!("  {engine}/{name}\n");
            assert!(
                listed.contains(&entry),
                "{engine}/{name} is not listed: add its sum"
            );
        }
    }
    for line in listed.lines() {
        let (sum, name) = line.split_once("  ").expect("as sha256sum writes it");
        let file = std::fs::read(format!("migrations/{name}"))
            .unwrap_or_else(|error| panic!("{name} has landed and is gone: {error}"));
        let found = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file);
        let found: Vec<String> = found
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let found = found.concat();
        assert_eq!(found, sum, "{name} has landed: write a new migration");
    }
}

#[cfg(feature = "test-postgres")]
mod both_engines {
    use paperround::read_db;

    use crate::support::{Engine, TestApp};

    const SQLITE: &str = "SELECT m.name, c.name, c.\"notnull\" = 0 FROM sqlite_master m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'";
    const POSTGRES: &str = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), is_nullable = 'YES'
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";

    async fn columns(engine: Engine) -> Vec<(String, String, bool)> {
        let app = TestApp::start(engine).await;
        let sql = app.db.pick(SQLITE, POSTGRES);
        let mut columns: Vec<(String, String, bool)> =
            read_db!(&app.db, |conn| sqlx::query_as(sql).fetch_all(conn).await)
                .expect("the catalogue is read");
        columns.sort();
        columns
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_engines_have_the_same_tables_and_columns() {
        let (sqlite, postgres) = (
            columns(Engine::Sqlite).await,
            columns(Engine::Postgres).await,
        );
        assert!(sqlite.len() > 100);
        pretty_assert(&sqlite, &postgres);
    }

    fn pretty_assert(left: &[(String, String, bool)], right: &[(String, String, bool)]) {
        let only = |a: &[(String, String, bool)],
                    b: &[(String, String, bool)]|
         -> Vec<(String, String, bool)> {
            a.iter().filter(|row| !b.contains(row)).cloned().collect()
        };
        assert!(
            only(left, right).is_empty(),
            "only on SQLite: {:?}",
            only(left, right)
        );
        assert!(
            only(right, left).is_empty(),
            "only on PostgreSQL: {:?}",
            only(right, left)
        );
    }
}
