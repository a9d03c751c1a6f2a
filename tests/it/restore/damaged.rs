use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use paperround::backup;
use serde_json::{Value, json};

use super::{DATABASE, Scene};
use crate::support::Engine;

const PAGE: usize = 4096;

/// An archive of these members, as whole as its manifest says.
fn archive_of(mut manifest: Value, members: &[(&str, &[u8])]) -> Vec<u8> {
    let member = |(name, bytes): &(&str, &[u8])| {
        let sum = HEXLOWER.encode(digest(&SHA256, bytes).as_ref());
        json!({ "name": name, "size": bytes.len(), "sha256": sum })
    };
    manifest["files"] = members.iter().map(member).collect();
    let text = serde_json::to_vec(&manifest).unwrap();
    let mut all = vec![("manifest.json", text.as_slice())];
    all.extend(members);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in all {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn put_aside(folder: &Path) -> bool {
    let names = fs::read_dir(folder).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .any(|name| name.starts_with("before-restore-"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_not_put_in_place() {
    let scene = Scene::new(Engine::Sqlite, &["ada@example.org"]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = backup::make(&scene.app, &path("whole.tar")).await.unwrap();
    let secrets = fs::read(scene.app.config.secrets_file()).unwrap();
    let program = scene.program();
    let stopped = scene.app.stop().await;
    let before = fs::read(stopped.folder().join(DATABASE)).unwrap();
    // damaged before its checksum was taken, in the last page
    let mut damaged = before.clone();
    let end = damaged.len();
    damaged[end - PAGE..end - PAGE + 100].fill(0xFF);
    let manifest = serde_json::to_value(&made.manifest).unwrap();
    let members = [
        (DATABASE, damaged.as_slice()),
        ("secrets.toml", secrets.as_slice()),
    ];
    fs::write(path("bad.tar"), archive_of(manifest, &members)).unwrap();
    let bad = path("bad.tar");
    let run = program.run(&["restore", bad.to_str().unwrap(), "--yes"]);
    assert!(run.code != Some(0), "{run:?}");
    assert!(run.err.contains("the database is damaged"), "{run:?}");
    assert_eq!(fs::read(stopped.folder().join(DATABASE)).unwrap(), before);
    assert!(!put_aside(stopped.folder()));
}

const NO_CHECKS: &str = "PRAGMA ignore_check_constraints = ON";
/// What no release writes, and SQLite calls a fault.
const FAULT: &str = "INSERT INTO workers (id, started_at, heartbeat_at, host, version)
     VALUES (x'00', 0, 0, 'here', '0')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_damaged_database_no_backup_is_made() {
    let scene = Scene::new(Engine::Sqlite, &[]).await;
    scene.app.execute(NO_CHECKS).await;
    scene.app.execute(FAULT).await;
    let folder = tempfile::tempdir().unwrap();
    let made = backup::make(&scene.app, folder.path()).await;
    let words = made.unwrap_err().to_string();
    assert!(words.contains("the database is damaged"), "{words}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    scene.app.finish().await;
}
