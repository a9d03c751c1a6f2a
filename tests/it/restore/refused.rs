use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::support::Program;

/// A folder that everybody may enter, whoever runs the tests.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    mode(folder.path(), 0o777);
    folder
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// `serve` ends by itself, with these words.
fn refused(data: &Path, words: &[&str]) {
    let folder = open_folder();
    let run = Program::in_folder(folder.path())
        .with("PAPERROUND_DATA_DIR", data.to_str().unwrap())
        .with("PAPERROUND_SERVER__BASE_URL", "http://127.0.0.1:8080")
        .with("PAPERROUND_SERVER__BIND", "127.0.0.1:0")
        .run_by_nobody()
        .run(&["serve"]);
    assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
    for word in words {
        assert!(run.err.contains(word), "{word}: {run:?}");
    }
    assert!(!run.err.contains("panicked"), "{run:?}");
}

/// D4.
#[test]
fn a_folder_that_cannot_be_used_is_refused_at_the_start() {
    let folder = open_folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    mode(&data, 0o555);
    refused(&data, &["cannot use the secrets file", "Permission denied"]);
    refused(
        &data.join("deeper"),
        &["cannot make the folder", "data_dir", "Permission denied"],
    );
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file.join("data"), &["cannot make the folder", "data_dir"]);
    mode(&data, 0o755);
}

/// D4.
#[test]
fn a_file_of_another_owner_or_kind_is_refused_at_the_start() {
    for (name, words) in [
        ("paperround.db", "cannot open the database file"),
        ("paperround.db.lock", "cannot lock"),
        ("epoch", "cannot use the epoch file"),
        ("suppressions.journal", "cannot use the suppression journal"),
    ] {
        let data = open_folder();
        let path = data.path().join(name);
        fs::write(&path, "").unwrap();
        // nobody's, if the tests are root's; else made unreadable for their owner
        mode(&path, 0o000);
        refused(data.path(), &[words, "Permission denied"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        mode(&path, 0o755);
        refused(data.path(), &[words]);
    }
    let data = open_folder();
    let secrets = data.path().join("secrets.toml");
    fs::write(&secrets, "").unwrap();
    mode(&secrets, 0o644);
    refused(data.path(), &["chmod 600"]);
}
