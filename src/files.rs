//! Files beside the database that must be whole after a loss of power, and their owner's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::clock::Timestamp;
use crate::id::{Entropy, random_bytes};

/// Puts `bytes` in the place of the file at `path`: after a crash it holds either these or what it held before.
pub fn replace(path: &Path, bytes: &[u8], entropy: &dyn Entropy) -> io::Result<()> {
    let draft = draft_of(path, entropy);
    let written = create_private(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| put(&draft, path));
    if written.is_err() {
        // the first error is the one to tell
        let _kept = fs::remove_file(&draft);
    }
    written
}

/// Moves `from` to `to`, over what may be there, and makes the move durable.
pub fn put(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// A new file that its owner alone may read.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A new folder that its owner alone may enter.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// A name that nobody else uses, hidden beside `path`.
pub fn draft_of(path: &Path, entropy: &dyn Entropy) -> PathBuf {
    let suffix = HEXLOWER.encode(&random_bytes::<6>(entropy));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}-{suffix}.new"))
}

/// Makes durable which files stand in the folder of `path`.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// An instant for the name of a file: `20260707T050000Z`.
pub fn stamp(at: Timestamp) -> String {
    at.in_zone(jiff::tz::TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// The folder that `path` stands in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::id::SeededEntropy;

    #[test]
    fn a_file_is_replaced_whole_and_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let entropy = SeededEntropy::new(1);
        replace(&path, b"first, and longer", &entropy).unwrap();
        replace(&path, b"second", &entropy).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_no_draft_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x", &SeededEntropy::new(1)).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
