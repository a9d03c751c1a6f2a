//! `secrets.toml`: where the ring is kept, and who may read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::KeyRing;
use super::key_ring::Secret;
use crate::id::{Entropy, random_bytes};

/// Why the secrets file cannot be used. The messages never show what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// There is no such file, and it was not to be made.
    #[error(
        "{} does not exist. With PostgreSQL the secrets file is not created by itself, because every process must \
         have the same one: create it once and copy it to each machine",
        .0.display()
    )]
    Missing(PathBuf),
    /// Others than the owner may read or change it.
    #[error("{} may be read or changed by others (mode {mode:04o}): run `chmod 600` on it", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what this service wrote.
    #[error("{} is not a secrets file: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file system refused.
    #[error("cannot use the secrets file {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// The file's form: the newest of each stands last.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    keys: Vec<Entry>,
    peppers: Vec<Entry>,
}

/// `id` has two characters `[A-Za-z0-9]`; `secret` is 32 bytes in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    secret: String,
}

const HEAD: &str = "\
# The secrets of this paperround. Without this file every link in a mail that was sent is dead.
# Keep a copy with each copy of the database; show it to nobody.
# The last key signs and the last pepper blinds; earlier ones are still understood. Remove none.

";

impl KeyRing {
    /// The ring in the file at `path`, which must exist and be its owner's alone (mode 0600 or less).
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => SecretsError::Missing(path.to_owned()),
            _ => SecretsError::Io(path.to_owned(), error),
        };
        let file = File::open(path).map_err(io)?;
        refuse_open_modes(path, &file)?;
        let text = io::read_to_string(&file).map_err(io)?;
        let malformed = |why| SecretsError::Malformed {
            path: path.to_owned(),
            why,
        };
        // toml's own message quotes the text, which is secret.
        let contents: Contents =
            toml::from_str(&text).map_err(|_| malformed("expected [[keys]] and [[peppers]]"))?;
        let ring = Self {
            keys: secrets(&contents.keys).map_err(malformed)?,
            peppers: secrets(&contents.peppers).map_err(malformed)?,
        };
        Ok(ring)
    }

    /// The ring in the file at `path`; when there is none, a new one is written there with mode 0600 first.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, SecretsError> {
        match Self::load(path) {
            Err(SecretsError::Missing(_)) => {
                let text = Self::generate(entropy).to_file_text();
                create(path, &text, entropy)
                    .map_err(|error| SecretsError::Io(path.to_owned(), error))?;
                // Another process may have been first: what stands in the file counts.
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    fn to_file_text(&self) -> String {
        let entries = |secrets: &[Secret]| {
            let entry = |secret: &Secret| Entry {
                id: secret.id.clone(),
                secret: BASE64.encode(&secret.bytes),
            };
            secrets.iter().map(entry).collect()
        };
        let contents = Contents {
            keys: entries(&self.keys),
            peppers: entries(&self.peppers),
        };
        let body = toml::to_string(&contents).expect("strings in tables are always valid TOML");
        format!("{HEAD}{body}")
    }
}

fn secrets(entries: &[Entry]) -> Result<Vec<Secret>, &'static str> {
    let mut secrets: Vec<Secret> = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.id.len() != 2 || !entry.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("an id is not two letters or digits");
        }
        if secrets.iter().any(|other| other.id == entry.id) {
            return Err("two entries have the same id");
        }
        let bytes = BASE64.decode(entry.secret.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        let bytes: [u8; 32] = bytes.ok_or("a secret is not 32 bytes of base64")?;
        secrets.push(Secret::new(&entry.id, bytes));
    }
    if secrets.is_empty() {
        return Err("it needs at least one key and one pepper");
    }
    Ok(secrets)
}

/// Writes the whole file or none, and never over one that is there.
fn create(path: &Path, text: &str, entropy: &dyn Entropy) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let suffix = HEXLOWER.encode(&random_bytes::<6>(entropy));
    let draft = folder.join(format!(".secrets-{suffix}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&draft, path) {
            // Another process was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        })
        .and_then(|()| File::open(folder)?.sync_all());
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

#[cfg(unix)]
fn refuse_open_modes(path: &Path, file: &File) -> Result<(), SecretsError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| SecretsError::Io(path.to_owned(), error))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(SecretsError::TooOpen { path, mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open_modes(_: &Path, _: &File) -> Result<(), SecretsError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SeededEntropy;
    use crate::token::Purpose;

    fn code(ring: &KeyRing) -> [u8; 32] {
        ring.mac(Purpose::Bounce, &[b"x"])
    }

    /// Another process, which makes its file while this one makes its secrets.
    struct Faster(PathBuf);

    impl Entropy for Faster {
        fn fill(&self, bytes: &mut [u8]) {
            if !self.0.exists() {
                KeyRing::load_or_create(&self.0, &SeededEntropy::new(1)).unwrap();
            }
            SeededEntropy::new(2).fill(bytes);
        }
    }

    #[test]
    fn who_was_slower_goes_on_with_what_stands_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let made = KeyRing::load_or_create(&path, &Faster(path.clone())).unwrap();
        let stands = KeyRing::load(&path).unwrap();
        assert_eq!(code(&made), code(&stands));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_is_made_once_and_read_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let first = KeyRing::load_or_create(&path, &SeededEntropy::new(1)).unwrap();
        let again = KeyRing::load_or_create(&path, &SeededEntropy::new(2)).unwrap();
        assert_eq!(code(&first), code(&again));
        assert_eq!(code(&first), code(&KeyRing::load(&path).unwrap()));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft stays behind");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_and_refused_otherwise() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        KeyRing::load_or_create(&path, &SeededEntropy::new(1)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for open in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let error = KeyRing::load_or_create(&path, &SeededEntropy::new(1)).unwrap_err();
            assert!(
                matches!(error, SecretsError::TooOpen { mode, .. } if mode == open),
                "{open:o}"
            );
            assert!(error.to_string().contains("chmod 600"));
        }
    }

    #[test]
    fn a_missing_file_is_an_error_where_it_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let error = KeyRing::load(&folder.path().join("secrets.toml")).unwrap_err();
        assert!(matches!(error, SecretsError::Missing(_)));
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let good = KeyRing::generate(&SeededEntropy::new(1)).to_file_text();
        let secret = good.split("secret = \"").nth(1).unwrap()[..44].to_owned();
        for broken in [
            good.replace("id =", "name ="),
            good.replace("k1", "key1"),
            good.replace(&secret, &secret[..40]),
            good.replacen(
                "[[peppers]]",
                &format!("[[keys]]\nid = \"k1\"\nsecret = \"{secret}\"\n\n[[peppers]]"),
                1,
            ),
            "keys = []\npeppers = []".to_owned(),
            good.replace(&secret, &format!("{secret}\n")),
            good.replace("id = \"k1\"", "id = \"k.\""),
            format!(
                "peppers = []\n{}",
                good.split("[[peppers]]").next().unwrap()
            ),
        ] {
            create(&path, &broken, &SeededEntropy::new(3)).unwrap();
            let error = KeyRing::load(&path).unwrap_err();
            assert!(matches!(error, SecretsError::Malformed { .. }), "{broken}");
            assert!(!format!("{error} {error:?}").contains(&secret[..20]));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn who_comes_second_takes_what_the_first_has_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        for (seed, text) in [(1, "first"), (2, "second")] {
            create(&path, text, &SeededEntropy::new(seed)).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_last_key_of_the_file_signs_and_the_first_names_the_instance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let first = KeyRing::load_or_create(&path, &SeededEntropy::new(1)).unwrap();
        let (added, secret) = (Secret::new("k2", [2; 32]), BASE64.encode(&[2; 32]));
        let more = format!("\n[[keys]]\nid = \"k2\"\nsecret = \"{secret}\"\n");
        let text = fs::read_to_string(&path).unwrap() + &more;
        fs::write(&path, text).unwrap();
        let ring = KeyRing::load(&path).unwrap();
        assert_eq!(ring.instance_id(), first.instance_id());
        let signed = added.mac(Purpose::Bounce.label(), &[b"x"]);
        assert_eq!(code(&ring), signed);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_nobody_may_change_is_its_owners_alone_too() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let made = KeyRing::load_or_create(&path, &SeededEntropy::new(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(code(&KeyRing::load(&path).unwrap()), code(&made));
    }
}
