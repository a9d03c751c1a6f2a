use std::fs;
use std::path::Path;

use paperround::backup;
use paperround::id::SubscriptionId;
use paperround::suppressions::journal::{Entry, Kind};

use super::{DATABASE, Scene};
use crate::support::{Engine, Program};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_put_where_the_settings_say_with_its_keys_and_its_journal() {
    let scene = Scene::new(Engine::Sqlite, &["ada@example.org"]).await;
    // one that the tables do not know
    let goodbye = Entry {
        kind: Kind::Unsubscribe,
        at: scene.app.now(),
        subscription: SubscriptionId(uuid::Uuid::from_u128(7)),
        address: None,
    };
    let journal = scene.app.journal.as_ref().expect("there is one on SQLite");
    journal.append(&[goodbye]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let (archive, data) = (place("backup.tar"), place("data"));
    backup::make(&scene.app, &archive).await.unwrap();
    fs::create_dir(&data).unwrap();
    fs::create_dir(place("keys")).unwrap();
    let (database, keys) = (place("tables/news.db"), place("keys/ring.toml"));
    let url = format!("sqlite:{}", database.display());
    Program::in_folder(&data)
        .with("PAPERROUND_SERVER__BASE_URL", "http://127.0.0.1:8080")
        .with("PAPERROUND_DATABASE__URL", &url)
        .with("PAPERROUND_SECRETS__FILE", keys.to_str().unwrap())
        .run(&["restore", archive.to_str().unwrap(), "--yes"])
        .expect(0);
    assert!(database.exists() && !data.join(DATABASE).exists());
    assert_eq!(text(&keys), text(&scene.app.config.secrets_file()));
    let theirs = text(&data.join("suppressions.journal"));
    assert_eq!(theirs, text(journal.path()));
    scene.app.finish().await;
}
