use std::fs;
use std::path::Path;

use paperround::deliveries::operate;
use paperround::id::SeededEntropy;
use paperround::token::KeyRing;
use paperround::{backup, instance};

use super::{DATABASE, Scene};
use crate::deliveries::Press;
use crate::support::{Engine, TestApp, db_test};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_with_a_due_issue_is_paused_and_sends_no_mail() {
    let scene = Scene::new(Engine::Sqlite, &[ADA, BOB]).await;
    scene.work().await;
    let scene = scene.keep("copy").await;
    scene.article("first").await;
    scene.work().await;
    assert!(!scene.is_paused().await);
    let sent = scene.mailed();
    assert_eq!(sent, [ADA, ADA, BOB, BOB], "a welcome and an issue each");

    let scene = scene.put_back("copy").await;
    scene.article("first").await;
    scene.work().await;
    assert!(scene.is_paused().await);
    assert_eq!(scene.mailed(), sent, "no mail");

    // an operator sees what they do
    let program = scene.program();
    let refused = program.run(&["resume", "--no-input"]).expect(4);
    assert!(refused.err.contains("restored from a copy"), "{refused:?}");
    assert!(
        refused.err.contains("2 mails of released issues"),
        "{refused:?}"
    );
    assert!(scene.is_paused().await);
    program.run(&["resume", "--yes"]).expect(0);
    scene.work().await;
    assert_eq!(
        scene.mailed().len(),
        sent.len() + 2,
        "it was the pause that held them"
    );
    assert!(
        !scene.is_paused().await,
        "the next start finds nothing strange"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_folder_started_twenty_times_is_never_paused_and_its_copy_is() {
    let mut scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    for start in 0..20 {
        if start % 5 == 0 {
            scene.article(&format!("article{start}")).await;
        }
        scene.work().await;
        assert!(!scene.is_paused().await, "start {start}");
        scene = scene.restart(|_| {}).await;
    }
    let Scene { app, relay } = scene;
    let original = app.stop().await;
    let copy = Scene {
        app: original.copy().start().await,
        relay,
    };
    let sent = copy.mailed();
    copy.article("last").await;
    copy.work().await;
    assert!(copy.is_paused().await, "the copy");
    assert_eq!(copy.mailed(), sent);
    let original = Scene {
        app: original.start().await,
        relay: copy.relay,
    };
    original.work().await;
    assert!(!original.is_paused().await, "the original");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_an_operator_had_paused_is_known_as_a_copy() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    scene.program().run(&["pause"]).expect(0);
    let scene = scene.keep("copy").await;
    scene.program().run(&["resume", "--no-input"]).expect(0);
    scene.article("first").await;
    scene.work().await;
    let scene = scene.put_back("copy").await;
    scene.work().await;
    let refused = scene.program().run(&["resume", "--no-input"]).expect(4);
    assert!(refused.err.contains("restored from a copy"), "{refused:?}");
    assert!(scene.is_paused().await);
}

async fn epoch(scene: &Scene) -> i64 {
    let mark = instance::mark(&scene.app.db).await.unwrap();
    mark.expect("it has begun").epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_start_and_each_release_raises_the_epoch_beyond_all_that_was() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let first = epoch(&scene).await;
    let scene = scene.keep("copy").await;
    scene.work().await;
    let second = epoch(&scene).await;
    assert!(second > first, "a start");
    scene.article("first").await;
    scene.work().await;
    let third = epoch(&scene).await;
    assert!(third > second + 1, "a start and a release");
    // a later copy than this must be known for one as well
    let scene = scene.put_back("copy").await;
    scene.work().await;
    assert!(epoch(&scene).await > third, "a start of what was put back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_tells_the_epoch_before_it_and_raises_it_afterwards() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let before = epoch(&scene).await;
    let folder = tempfile::tempdir().unwrap();
    let made = backup::make(&scene.app, folder.path()).await.unwrap();
    assert_eq!(made.manifest.epoch, before);
    assert!(epoch(&scene).await > before, "the copy is known as one");
    // in a folder it is named by the time
    let name = made.path.file_name().unwrap().to_str().unwrap();
    let stamp = name
        .strip_prefix("paperround-")
        .and_then(|rest| rest.strip_suffix("Z.tar"));
    assert_eq!(stamp.map(str::len), Some("20260707T050000".len()), "{name}");
    assert!(made.path.starts_with(folder.path()) && made.path.is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_file_goes_up_alone_and_another_instances_is_left_alone() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let path = scene.app.folder().join("epoch");
    let text = || fs::read_to_string(&path).unwrap();
    let (ours, now) = (text(), epoch(&scene).await);
    // another process was further
    instance::publish(&scene.app, Some(now - 1)).await;
    assert_eq!(text(), ours);
    let id = scene.app.keys.instance_id().to_string();
    let others = ours.replace(&id, "00000000-0000-4000-8000-000000000001");
    assert_ne!(others, ours);
    fs::write(&path, &others).unwrap();
    instance::publish(&scene.app, Some(now + 1)).await;
    assert_eq!(text(), others, "the next start judges it");
    fs::write(&path, &ours).unwrap();
    instance::publish(&scene.app, Some(now + 1)).await;
    let raised = ours.replace(&format!("epoch = {now}"), &format!("epoch = {}", now + 1));
    assert_eq!(text(), raised);
}

/// What a crash after the commit and before the file leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_database_and_the_file_pauses_nothing() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    // the very first start: the file alone was written
    scene.work().await;
    for article in ["first", "second"] {
        let epoch = fs::read(scene.app.folder().join("epoch")).unwrap();
        scene.article(article).await;
        scene.work().await;
        fs::write(scene.app.folder().join("epoch"), epoch).unwrap();
        scene.work().await;
        assert!(!scene.is_paused().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_its_file_or_its_keys_is_paused() {
    fs_changed(
        |folder| fs::remove_file(folder.join("epoch")).unwrap(),
        true,
    )
    .await;
    fs_changed(|folder| fs::write(folder.join("epoch"), "").unwrap(), true).await;
    let other_keys = |folder: &Path| {
        let path = folder.join("secrets.toml");
        fs::remove_file(&path).unwrap();
        KeyRing::load_or_create(&path, &SeededEntropy::new(9)).unwrap();
    };
    fs_changed(other_keys, true).await;
    // a new beginning is nobody's copy
    fs_changed(
        |folder| fs::remove_file(folder.join(DATABASE)).unwrap(),
        false,
    )
    .await;
}

async fn fs_changed(change: impl Fn(&Path), paused: bool) {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.work().await;
    let scene = scene.restart(|data| change(data.folder())).await;
    scene.work().await;
    assert_eq!(scene.is_paused().await, paused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_readers_is_not_paused() {
    let scene = Scene::new(Engine::Sqlite, &[]).await;
    scene.work().await;
    let scene = scene
        .restart(|data| fs::remove_file(data.folder().join("epoch")).unwrap())
        .await;
    scene.work().await;
    assert!(!scene.is_paused().await);
}

const NO_MARKS: &str =
    "CREATE TRIGGER no_marks BEFORE INSERT ON settings BEGIN SELECT RAISE(ABORT, 'no'); END";
const MARKS: &str = "DROP TRIGGER no_marks";

/// What a crash at the very first start leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_database_is_marked_for_the_first_time_its_file_is_there() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    scene.app.execute(NO_MARKS).await;
    assert!(instance::begin(&scene.app).await.is_err());
    let path = scene.app.folder().join("epoch");
    let first = fs::read(&path).unwrap();
    scene.app.execute(MARKS).await;
    instance::begin(&scene.app).await.unwrap();
    // the database was marked, and the file was not written any more
    fs::write(&path, first).unwrap();
    instance::begin(&scene.app).await.unwrap();
    assert!(!scene.is_paused().await);
}

const RELEASED: &str = "UPDATE issues SET released_at = due_at";
const OTHER_KEYS: &str = "UPDATE settings
     SET value = '{\"id\": \"00000000-0000-4000-8000-000000000001\", \"epoch\": 0, \"base_url\": \"\"}'
     WHERE key = 'instance'";

db_test!(
    a_database_without_readers_is_somebodys_copy_where_it_has_released_an_issue,
    async |app: &TestApp| {
        let press = Press::new(app).await;
        press.edition(&[], "resend").await;
        for is_released in [false, true] {
            if is_released {
                app.execute(RELEASED).await;
            }
            instance::begin(app).await.unwrap();
            app.execute(OTHER_KEYS).await;
            instance::begin(app).await.unwrap();
            let is_paused = operate::sending_is_paused(&app.db).await.unwrap();
            assert_eq!(is_paused, is_released);
        }
    }
);

#[cfg(feature = "test-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_another_address_or_other_keys_pause_once() {
    let set = |data: &mut Vec<(String, String)>, url: &str| {
        data.push(("server.base_url".to_owned(), url.to_owned()));
    };
    let scene = Scene::new(Engine::Postgres, &[ADA]).await;
    scene.work().await;
    scene.work().await;
    assert!(!scene.is_paused().await);
    let Scene { app, relay } = scene;
    let mut stopped = app.stop().await;
    set(&mut stopped.settings, "http://127.0.0.1:8090");
    let scene = Scene {
        app: stopped.start().await,
        relay,
    };
    scene.work().await;
    assert!(scene.is_paused().await, "another address");
    let run = scene.program().run(&["resume", "--yes"]).expect(0);
    assert!(run.err.contains("127.0.0.1:8090"), "{run:?}");
    scene.work().await;
    assert!(!scene.is_paused().await, "once");
    let scene = scene
        .restart(|data| {
            let path = data.folder().join("secrets.toml");
            fs::remove_file(&path).unwrap();
            KeyRing::load_or_create(&path, &SeededEntropy::new(9)).unwrap();
        })
        .await;
    scene.work().await;
    assert!(scene.is_paused().await, "other keys");
}

const RESUMED: &str = "DELETE FROM settings WHERE key = 'sending_paused'";

async fn starts_paused(scene: &Scene) -> bool {
    instance::begin(&scene.app).await.unwrap();
    scene.is_paused().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_has_resumed_is_strange_to_no_later_start() {
    let scene = Scene::new(Engine::Sqlite, &[ADA]).await;
    assert!(!starts_paused(&scene).await);
    let path = scene.app.folder().join("epoch");
    let id = scene.app.keys.instance_id().to_string();
    let other = "00000000-0000-4000-8000-000000000001";
    for strange in ["no file", "a place", "a file", "a database"] {
        let text = fs::read_to_string(&path).unwrap();
        match strange {
            "no file" => fs::remove_file(&path).unwrap(),
            "a place" => {
                fs::write(&path, text.replace("place = \"", "place = \"0")).unwrap();
            }
            "a file" => fs::write(&path, text.replace(&id, other)).unwrap(),
            _ => scene.app.execute(OTHER_KEYS).await,
        }
        assert!(starts_paused(&scene).await, "{strange}");
        scene.app.execute(RESUMED).await;
        assert!(!starts_paused(&scene).await, "{strange}, once");
    }
}
