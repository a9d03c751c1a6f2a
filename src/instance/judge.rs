//! Whether the database is the one that was here last.

use super::Mark;
use super::epoch_file::FileMark;
use crate::id::InstanceId;

/// How a restored or copied database is known. Each says what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// The database alone is here.
    #[error("there is no epoch file beside the database: it was restored or copied from elsewhere")]
    NoFile,
    /// The file has seen later times.
    #[error(
        "the database is older than the epoch file beside it ({database}, not {file}): it was restored from a copy"
    )]
    Behind {
        /// The database's epoch; 0 where it has none.
        database: i64,
        /// The file's.
        file: i64,
    },
    /// The keys are not those that its mails were signed with.
    #[error("the database belongs to another instance than the secrets file")]
    OtherDatabase,
    /// The epoch file is not this instance's.
    #[error("the epoch file beside the database belongs to another instance")]
    OtherFile,
    /// The folder is a copy, or was moved.
    #[error("the data folder was copied or moved from another place or machine")]
    OtherPlace,
    /// PostgreSQL: the process serves another address.
    #[error(
        "the database belongs to {was}, and server.base_url is {is}: it was copied, or the address has changed"
    )]
    OtherAddress {
        /// The address that the database knows.
        was: String,
        /// The address of the settings.
        is: String,
    },
}

/// Where this process is.
pub(super) struct Here<'a> {
    pub(super) id: InstanceId,
    pub(super) base_url: &'a str,
}

/// SQLite: `None` when the database and the file are the same instance's, at the same place, and the file is not ahead.
///
/// The database may be ahead: a crash between its commit and the file's writing leaves it so.
pub(super) fn beside_file(
    database: Option<&Mark>,
    file: Option<&FileMark>,
    here: &Here<'_>,
    place: &str,
) -> Option<Foreign> {
    let (database, file) = match (database, file) {
        // it has never been looked after: the first start, or the first one of a release that does
        (None, None) => return None,
        (None, Some(file)) if file.epoch == 0 => return None,
        (None, Some(file)) => {
            return Some(Foreign::Behind {
                database: 0,
                file: file.epoch,
            });
        }
        (Some(_), None) => return Some(Foreign::NoFile),
        (Some(database), Some(file)) => (database, file),
    };
    if database.id != here.id {
        Some(Foreign::OtherDatabase)
    } else if file.id != here.id {
        Some(Foreign::OtherFile)
    } else if database.epoch < file.epoch {
        Some(Foreign::Behind {
            database: database.epoch,
            file: file.epoch,
        })
    } else if file.place != place {
        Some(Foreign::OtherPlace)
    } else {
        None
    }
}

/// PostgreSQL: `None` when the database is that of the process's settings.
pub(super) fn by_settings(database: Option<&Mark>, here: &Here<'_>) -> Option<Foreign> {
    let database = database?;
    if database.id != here.id {
        Some(Foreign::OtherDatabase)
    } else if database.base_url != here.base_url {
        Some(Foreign::OtherAddress {
            was: database.base_url.clone(),
            is: here.base_url.to_owned(),
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: InstanceId = InstanceId(uuid::Uuid::from_u128(1));
    const OTHERS: InstanceId = InstanceId(uuid::Uuid::from_u128(2));
    const HERE: Here<'_> = Here {
        id: US,
        base_url: "https://a.example",
    };

    #[expect(clippy::unnecessary_wraps, reason = "what is looked at may be missing")]
    fn database(id: InstanceId, epoch: i64) -> Option<Mark> {
        Some(Mark {
            id,
            epoch,
            base_url: "https://a.example".to_owned(),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is looked at may be missing")]
    fn file(id: InstanceId, epoch: i64, place: &str) -> Option<FileMark> {
        Some(FileMark {
            id,
            epoch,
            place: place.to_owned(),
        })
    }

    #[test]
    fn a_database_that_is_level_or_ahead_is_ours() {
        let check = |database: Option<Mark>, file: Option<FileMark>, expect: Option<Foreign>| {
            assert_eq!(
                beside_file(database.as_ref(), file.as_ref(), &HERE, "here"),
                expect,
                "{database:?} {file:?}"
            );
        };
        let behind = |database, file| Some(Foreign::Behind { database, file });
        check(None, None, None);
        check(None, file(US, 0, "here"), None);
        check(None, file(US, 3, "here"), behind(0, 3));
        check(database(US, 3), file(US, 3, "here"), None);
        check(database(US, 4), file(US, 3, "here"), None);
        check(database(US, 9), file(US, 3, "here"), None);
        check(database(US, 2), file(US, 3, "here"), behind(2, 3));
        check(database(US, 3), None, Some(Foreign::NoFile));
        let elsewhere = Some(Foreign::OtherPlace);
        check(database(US, 3), file(US, 3, "there"), elsewhere);
        let foreign_file = Some(Foreign::OtherFile);
        check(database(US, 3), file(OTHERS, 3, "here"), foreign_file);
        let foreign = Some(Foreign::OtherDatabase);
        check(database(OTHERS, 3), file(US, 3, "here"), foreign);
    }

    #[test]
    fn on_postgresql_the_settings_decide() {
        assert_eq!(by_settings(None, &HERE), None);
        assert_eq!(by_settings(database(US, 0).as_ref(), &HERE), None);
        assert_eq!(
            by_settings(database(OTHERS, 0).as_ref(), &HERE),
            Some(Foreign::OtherDatabase)
        );
        let moved = Here {
            id: US,
            base_url: "https://b.example",
        };
        let expect = Foreign::OtherAddress {
            was: "https://a.example".to_owned(),
            is: "https://b.example".to_owned(),
        };
        assert_eq!(by_settings(database(US, 0).as_ref(), &moved), Some(expect));
    }
}
