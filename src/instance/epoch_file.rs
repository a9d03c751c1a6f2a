//! The file beside a SQLite database that a restored copy of the database does not bring along.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::config::{Config, DatabaseTarget};
use crate::files;
use crate::id::{Entropy, InstanceId};
use crate::token::sha256;

const HEAD: &str = "\
# Kept by paperround: by this file a restored or copied database is known, which must not send by itself.
# Do not copy it to another instance. Without it all sending is paused until `paperround resume`.

";

/// The file `epoch` in `data_dir`.
#[derive(Clone, Debug)]
pub struct EpochFile {
    path: PathBuf,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMark {
    pub(super) id: InstanceId,
    pub(super) epoch: i64,
    /// Stands for the machine and the folder.
    pub(super) place: String,
}

impl EpochFile {
    /// The file of the instance with these settings; `None` on PostgreSQL.
    pub fn of(config: &Config) -> Option<Self> {
        match config.database_target() {
            DatabaseTarget::Sqlite(_) => Some(Self {
                path: config.data_dir.join("epoch"),
            }),
            DatabaseTarget::Postgres(_) => None,
        }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; `None` where there is none, or none that can be understood.
    pub(super) fn read(&self) -> io::Result<Option<FileMark>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| toml::from_str(text).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, durably.
    pub(super) fn write(&self, mark: &FileMark, entropy: &dyn Entropy) -> io::Result<()> {
        let body = toml::to_string(mark).map_err(io::Error::other)?;
        files::replace(&self.path, format!("{HEAD}{body}").as_bytes(), entropy)
    }

    /// Stands for this machine and this folder. Hashed: the machine's id is not to be told to others.
    ///
    /// Where a machine has no id, as in most containers, the folder's path stands alone.
    pub(super) fn place(&self) -> io::Result<String> {
        let folder = fs::canonicalize(files::folder_of(&self.path))?;
        let machine = fs::read("/etc/machine-id").unwrap_or_default();
        let mut text = machine.trim_ascii().to_vec();
        text.push(b'\n');
        text.extend(folder.as_os_str().as_encoded_bytes());
        Ok(HEXLOWER.encode(&sha256(&text)[..16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_place_by_whatever_path_it_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let [data, other, link] = ["data", "other", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let place = |folder: &Path| {
            let path = folder.join("epoch");
            EpochFile { path }.place().unwrap()
        };
        assert_eq!(place(&link), place(&data));
        assert_ne!(place(&other), place(&data));
    }
}
