use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use paperround::id::SeededEntropy;
use paperround::token::KeyRing;
use serde_json::json;

use super::{DATABASE, Scene};
use crate::support::{Engine, Program, Stopped, TestApp};

/// As an operator adds it to the secrets.
const NEW_KEY: &str = "
[[keys]]
id = \"k2\"
secret = \"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\"
";
const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// D10: by command, on the machine itself.
async fn restored_by_command(engine: Engine) {
    let scene = Scene::new(engine, &[ADA, BOB]).await;
    scene.work().await;
    let backup = scene.app.folder().join("backup.tar");
    let name = backup.to_str().unwrap().to_owned();
    let program = with_path(scene.program());
    let run = program.run(&["backup", &name]).expect(0);
    assert!(run.err.contains("database, keys and journal"), "{run:?}");
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        !files_in(scene.app.folder())
            .iter()
            .any(|name| Path::new(name).extension().is_some_and(|end| end == "new"))
    );
    let again = program.run(&["backup", &name]).expect(1);
    assert!(again.err.contains("is there already"), "{again:?}");

    // what happens after the backup: an issue goes out, a reader leaves
    scene.article("first").await;
    scene.work().await;
    let link = scene.link(ADA).await;
    scene.leave(&link).await;
    let before = scene.mailed();

    let mut told = None;
    let scene = scene
        .restart(|_| {
            let refused = program.run(&["restore", &name, "--no-input"]).expect(4);
            assert!(refused.err.contains("http://127.0.0.1:8080"), "{refused:?}");
            told = Some(program.run(&["restore", &name, "--yes"]).expect(0));
        })
        .await;
    let told = told.unwrap();
    assert!(told.err.contains("All sending is paused"), "{told:?}");
    assert!(scene.is_paused().await);
    scene.article("first").await;
    scene.work().await;
    scene.work().await;
    assert!(scene.is_paused().await);
    assert_eq!(scene.mailed(), before, "0 mails");
    let aside = files_in(scene.app.folder());
    let aside = aside
        .iter()
        .find(|name| name.starts_with("before-restore-"));
    let kept = scene.app.folder().join(aside.unwrap());
    let aside = files_in(&kept);
    if engine == Engine::Sqlite {
        assert!(told.err.contains("1 unsubscribes"), "{told:?}");
        assert!(aside.contains(&DATABASE.to_owned()), "{aside:?}");
        assert_eq!(
            scene.app.rows_of("subscription ada").await,
            ["subscription ada@example.org world unsubscribed journal"]
        );
    } else {
        assert!(aside.contains(&"database.dump".to_owned()), "{aside:?}");
        let dump = std::process::Command::new("pg_restore")
            .args(["--data-only", "--file=-"])
            .arg(kept.join("database.dump"))
            .output()
            .unwrap();
        let rows = String::from_utf8_lossy(&dump.stdout);
        assert!(rows.contains("one_click"), "what was there before");
    }
    program.run(&["resume", "--yes"]).expect(0);
    scene.work().await;
    assert!(!scene.is_paused().await, "once");
    assert!(
        scene.mailed().len() > before.len(),
        "it was the pause that held them"
    );
    if engine == Engine::Sqlite {
        let ada = |mails: &[String]| mails.iter().filter(|to| *to == ADA).count();
        assert_eq!(ada(&scene.mailed()), ada(&before));
    }
}

/// PostgreSQL's tools are found by the path, and a test's program has no environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness hands its own path on"
)]
fn with_path(program: Program) -> Program {
    program.with("PATH", &std::env::var("PATH").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_restored_by_command_is_paused_and_mails_nobody_who_left() {
    restored_by_command(Engine::Sqlite).await;
}

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgresql_is_restored_and_paused() {
    restored_by_command(Engine::Postgres).await;
}

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_tool_of_postgresql_is_named() {
    let app = TestApp::start(Engine::Postgres).await;
    let program = Program::of(&app).with("PATH", "/nowhere");
    let to = app.folder().join("backup.tar");
    let run = program.run(&["backup", to.to_str().unwrap()]).expect(1);
    assert!(run.err.contains("pg_dump is not there: install"), "{run:?}");
    assert!(!to.exists());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_starts_an_empty_machine_with_the_same_keys() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let link = scene.link(ADA).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.tar");
    let name = backup.to_str().unwrap().to_owned();
    scene.program().run(&["backup", &name]).expect(0);
    let empty = Scene::new(Engine::Sqlite, &[]).await;
    let program = Program::in_folder(empty.app.folder())
        .with("PAPERROUND_SERVER__BASE_URL", "http://127.0.0.1:8080");
    let there = empty
        .restart(|data| {
            for file in [DATABASE, "secrets.toml"] {
                fs::remove_file(data.folder().join(file)).unwrap();
            }
            program.run(&["restore", &name, "--yes"]).expect(0);
        })
        .await;
    assert!(there.is_paused().await);
    there.work().await;
    assert!(there.is_paused().await);
    there.leave(&link).await;
    assert_eq!(
        there.app.rows_of("subscription").await,
        ["subscription ada@example.org world unsubscribed one_click"],
        "links in mails that were sent work on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_added_since_the_backup_outlasts_its_restore() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.tar");
    let name = backup.to_str().unwrap();
    let program = scene.program();
    program.run(&["backup", name]).expect(0);
    let path = scene.app.config.secrets_file();
    let keys = fs::read_to_string(&path).unwrap() + NEW_KEY;
    let restore = |_: &Stopped| {
        fs::write(&path, &keys).unwrap();
        program.run(&["restore", name, "--yes"]).expect(0);
    };
    let scene = scene.restart(restore).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), keys);
    scene.app.finish().await;
}

/// The archive without one of its members.
fn without(archive: &[u8], name: &str) -> Vec<u8> {
    let mut less = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap() != Path::new(name) {
            less.append(&entry.header().clone(), entry).unwrap();
        }
    }
    less.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_newer_or_foreign_backup_is_refused_and_nothing_is_changed() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let whole = path("whole.tar");
    scene
        .program()
        .run(&["backup", whole.to_str().unwrap()])
        .expect(0);
    let newer = path("newer.tar");
    mark_as_newer(&scene.app).await;
    paperround::backup::make(&scene.app, &newer).await.unwrap();
    let program = scene.program();
    let stopped = scene.app.stop().await;
    let before = fs::read(stopped.folder().join(DATABASE)).unwrap();
    let check = |name: &str, words: &str| {
        let archive = path(name);
        let run = program.run(&["restore", archive.to_str().unwrap(), "--yes"]);
        assert!(run.code != Some(0), "{name}: {run:?}");
        assert!(run.err.contains(words), "{name}: {run:?}");
        assert_eq!(fs::read(stopped.folder().join(DATABASE)).unwrap(), before);
        let left = files_in(stopped.folder());
        assert!(
            !left.iter().any(|name| name.contains("restore")),
            "{name}: {left:?}"
        );
    };
    let bytes = fs::read(&whole).unwrap();
    for share in 1..10 {
        let mut damaged = bytes.clone();
        let at = damaged.len() * share / 10;
        damaged[at] ^= 0x10;
        fs::write(path("damaged.tar"), damaged).unwrap();
        check("damaged.tar", "no whole backup");
        fs::write(path("cut.tar"), &bytes[..bytes.len() * share / 10]).unwrap();
        check("cut.tar", "no whole backup");
    }
    fs::write(path("lacking.tar"), without(&bytes, "secrets.toml")).unwrap();
    check("lacking.tar", "secrets.toml is missing");
    fs::write(path("other.tar"), "something else").unwrap();
    check("other.tar", "no whole backup");
    check("newer.tar", "used by a newer release");
    check("missing.tar", "cannot use");
}

/// The archive with this value in its manifest, and another member behind the others if one is given.
fn altered(archive: &[u8], key: &str, value: &serde_json::Value, more: Option<&str>) -> Vec<u8> {
    let mut changed = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        changed.append_data(&mut header, name, bytes).unwrap();
    };
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name == "manifest.json" {
            let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if let Some(there) = manifest.get_mut(key) {
                *there = value.clone();
            }
            bytes = serde_json::to_vec(&manifest).unwrap();
        }
        append(&name, &bytes);
    }
    if let Some(name) = more {
        append(name, b"more");
    }
    changed.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_another_form_or_engine_or_with_more_in_it_is_refused() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.tar");
    let made = paperround::backup::make(&scene.app, &whole).await.unwrap();
    let bytes = fs::read(&whole).unwrap();
    let mut named = serde_json::to_value(&made.manifest).unwrap()["files"].take();
    let member = json!({ "name": "other.txt", "size": 4, "sha256": MORE });
    named.as_array_mut().unwrap().push(member);
    let program = scene.program();
    let stopped = scene.app.stop().await;
    let before = fs::read(stopped.folder().join(DATABASE)).unwrap();
    let (none, later, other) = (json!(0), json!(2), json!("PostgreSQL"));
    for (key, value, more, words) in [
        ("format", later, None, "written by a newer release"),
        ("engine", other, None, "the backup is of PostgreSQL"),
        ("", none.clone(), Some("other.txt"), "does not belong there"),
        ("", none, Some("secrets.toml"), "does not belong there"),
        ("files", named, Some("other.txt"), "does not belong there"),
    ] {
        let archive = folder.path().join("altered.tar");
        fs::write(&archive, altered(&bytes, key, &value, more)).unwrap();
        let run = program.run(&["restore", archive.to_str().unwrap(), "--yes"]);
        assert!(run.code != Some(0), "{words}: {run:?}");
        assert!(run.err.contains(words), "{words}: {run:?}");
        assert_eq!(fs::read(stopped.folder().join(DATABASE)).unwrap(), before);
    }
}

/// SHA-256 of `more`.
const MORE: &str = "187897ce0afcf20b50ba2b37dca84a951b7046f29ed5ab94f010619f69d6e189";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_do_not_cover_the_backups_stand_aside_and_so_does_the_journal() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let link = scene.link(ADA).await;
    scene.leave(&link).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.tar");
    let name = backup.to_str().unwrap();
    let program = scene.program();
    program.run(&["backup", name]).expect(0);
    let path = scene.app.config.secrets_file();
    let keys = fs::read_to_string(&path).unwrap();
    let mut others = String::new();
    let mut journal = String::new();
    let scene = scene
        .restart(|data| {
            fs::remove_file(&path).unwrap();
            KeyRing::load_or_create(&path, &SeededEntropy::new(9)).unwrap();
            others = fs::read_to_string(&path).unwrap();
            journal = fs::read_to_string(data.folder().join(JOURNAL)).unwrap();
            program.run(&["restore", name, "--yes"]).expect(0);
        })
        .await;
    assert_eq!(fs::read_to_string(&path).unwrap(), keys);
    let here = files_in(scene.app.folder());
    let aside = here
        .iter()
        .find(|name| name.starts_with("before-restore-"))
        .unwrap();
    for (file, text) in [("secrets.toml", others), (JOURNAL, journal)] {
        let kept = scene.app.folder().join(aside).join(file);
        assert_eq!(fs::read_to_string(kept).unwrap(), text, "{file}");
    }
    scene.app.finish().await;
}

const JOURNAL: &str = "suppressions.journal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_database_is_gone_is_not_played_into_the_one_that_is_restored() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.tar");
    let made = paperround::backup::make(&scene.app, &backup).await.unwrap();
    let program = scene.program();
    let stopped = scene.app.stop().await;
    let here = |file: &str| stopped.folder().join(file);
    let log = ["paperround.db-shm", "paperround.db-wal"];
    fs::remove_file(here(DATABASE)).unwrap();
    for file in log {
        fs::write(here(file), file).unwrap();
    }
    let told = program
        .run(&["restore", backup.to_str().unwrap(), "--yes"])
        .expect(0);
    let why = format!(
        "Sending is paused because the backup of {} was restored",
        made.manifest.created_at
    );
    assert!(told.err.contains(&why), "{told:?}");
    let names = files_in(stopped.folder());
    let aside = names
        .iter()
        .find(|name| name.starts_with("before-restore-"));
    let aside = here(aside.unwrap());
    for file in log {
        let kept = fs::read_to_string(aside.join(file)).unwrap();
        assert_eq!(kept, file);
    }
    let permissions = fs::metadata(&aside).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o700, "its owner's alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unpacked_by_hand_is_its_owners_alone() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    let folder = tempfile::tempdir().unwrap();
    let made = paperround::backup::make(&scene.app, folder.path()).await;
    let file = fs::File::open(made.unwrap().path).unwrap();
    for entry in tar::Archive::new(file).entries().unwrap() {
        assert_eq!(entry.unwrap().header().mode().unwrap(), 0o600);
    }
    scene.app.finish().await;
}

/// As a later release leaves a database.
async fn mark_as_newer(app: &TestApp) {
    app.db
        .write::<(), sqlx::Error, _>(|tx| {
            Box::pin(async move {
                let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (9999, 'later', TRUE, x'00', 0)";
                paperround::write_db!(tx, |conn| sqlx::query(sql).execute(conn).await.map(drop))
            })
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_restored_beneath_a_worker() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let backup = scene.app.folder().join("backup.tar");
    let name = backup.to_str().unwrap();
    let program = scene.program();
    let lock = scene.app.db.lock_worker().await.unwrap();
    // a backup is made beside it
    program.run(&["backup", name]).expect(0);
    let run = program.run(&["restore", name, "--yes"]).expect(4);
    assert!(run.err.contains("another worker is at work"), "{run:?}");
    drop(lock);
    assert!(!scene.is_paused().await);
}
