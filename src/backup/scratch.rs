//! A private folder for work in progress.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BackupError, at};
use crate::files;
use crate::id::Entropy;

/// Beside the file that will come of it; gone when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn beside(path: &Path, entropy: &dyn Entropy) -> Result<Self, BackupError> {
        let folder = files::draft_of(path, entropy);
        files::create_private_folder(&folder).map_err(at(files::folder_of(path)))?;
        Ok(Self(folder))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // a folder that stays behind is private, and its name says what it was
        let _kept = fs::remove_dir_all(&self.0);
    }
}
