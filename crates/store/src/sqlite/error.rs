//! Why a log in a directory cannot be opened.

use std::io;
use std::path::PathBuf;

use engine::{Index, LogId};
use thiserror::Error;

use crate::Corrupt;

/// Why the log in a directory cannot be opened. What is in the log has not changed then, but for its term at most.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    #[error(
        "cannot use {}: {reason}; see that the log's directory is one that this program may use, or name another with --data-dir",
        path.display()
    )]
    Files {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Another leader has it open.
    #[error(
        "another leader{} writes to {} already; stop it, or choose another directory with --data-dir",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The other leader's process, if it told.
        pid: Option<u32>,
    },
    /// There is none.
    #[error("there is no log in {}; a leader makes one when it starts with this --data-dir", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// It was written by another version.
    #[error("{} has format {found}; this version knows format {known}: use the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it has.
        found: i64,
        /// The one that this version knows.
        known: i64,
    },
    /// Events that were acknowledged are not in the log.
    #[error(
        "the log ends at index {tail}, but events up to index {acknowledged} were acknowledged: files in {} were damaged, \
         or restored from an older copy. Restore the directory from a copy that is complete; or, to go on from index \
         {tail} without the later events, remove {}", directory.display(), watermark.display()
    )]
    Lost {
        /// The directory.
        directory: PathBuf,
        /// Where the log ends.
        tail: Index,
        /// Where it ended for those who were told.
        acknowledged: Index,
        /// The file that says so.
        watermark: PathBuf,
    },
    /// The files are not of one log.
    #[error(
        "{} belongs to log {named}, but the log beside it is {found}: restore files that belong together, or remove that \
         one", watermark.display()
    )]
    Mixed {
        /// The file that names the other log.
        watermark: PathBuf,
        /// The log that it names.
        named: LogId,
        /// The log that is there.
        found: LogId,
    },
    /// What is stored is not what was committed.
    #[error(
        "{damage}. Restore {} from a copy (and restart the replicas, which may know later events than it has); \
         `calculator-leader verify --data-dir` tells how far it can be trusted, and `export` prints the events up to there",
        directory.display()
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// Where and what.
        damage: Corrupt,
    },
    /// What is there could not be forced to the disk, so a power cut may take it.
    #[error(
        "{} cannot be forced to the disk: {reason}. What was read may be in memory only, so nothing is built on it. Look at \
         the disk and at the system's log; copy the directory to a sound disk while it can be read, and start there",
        path.display()
    )]
    NotForced {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The database refuses.
    #[error("the log in {} cannot be opened: {reason}", directory.display())]
    Database {
        /// The directory.
        directory: PathBuf,
        /// What it says.
        reason: String,
    },
}

/// What went wrong while reading rows.
#[derive(Debug)]
pub(super) enum RowError {
    /// The rows are there, and wrong.
    Corrupt(Corrupt),
    /// They cannot be had at present.
    Unavailable(String),
}

impl RowError {
    pub(super) fn corrupt(index: Index, what: impl Into<String>) -> Self {
        Self::Corrupt(Corrupt { index, what: what.into() })
    }

    /// Sorts what the database says about reading near `index`.
    pub(super) fn sqlite(error: &rusqlite::Error, index: Index) -> Self {
        use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, DiskFull, NotADatabase, TypeMismatch};
        match error.sqlite_error_code() {
            // Without a code, it is a value of the wrong type, or a row that is not there.
            None | Some(DatabaseCorrupt | NotADatabase | ConstraintViolation | TypeMismatch) => {
                Self::corrupt(index, error.to_string())
            }
            Some(DiskFull) => Self::Unavailable("the disk is full; make room first".to_owned()),
            Some(code) => Self::Unavailable(unavailable(code, error)),
        }
    }

    pub(super) fn into_open(self, directory: PathBuf) -> OpenError {
        match self {
            Self::Corrupt(damage) => OpenError::Damaged { directory, damage },
            Self::Unavailable(reason) => OpenError::Database { directory, reason },
        }
    }
}

/// What the system refused, as far as that can be known, and what to do.
fn unavailable(code: rusqlite::ErrorCode, error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, PermissionDenied, ReadOnly, SystemIoFailure};
    // SQLite keeps the system's own reason to itself. Another file meets the same limit.
    let descriptors = std::fs::File::open("/dev/null").err();
    let advice = match (code, descriptors) {
        (CannotOpen | SystemIoFailure, Some(reason)) => {
            return format!("{error}: {reason}; allow more open files (ulimit -n)");
        }
        (CannotOpen | PermissionDenied, None) => "look at the permissions of the directory and the files in it",
        (ReadOnly, _) => "the files or their file system cannot be written to",
        (DatabaseBusy | DatabaseLocked, _) => "another program has it locked; stop that one",
        (SystemIoFailure, None) => "the disk or its file system failed; look at the system's log",
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn only_what_is_stored_wrong_counts_as_damage() {
        let sorted = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("it says".to_owned()));
            RowError::sqlite(&error, Index(7))
        };
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_CONSTRAINT, ffi::SQLITE_MISMATCH] {
            assert!(matches!(sorted(code), RowError::Corrupt(_)), "{code}");
        }
        for (code, advice) in [
            (ffi::SQLITE_CANTOPEN, "permissions"),
            (ffi::SQLITE_PERM, "permissions"),
            (ffi::SQLITE_READONLY, "cannot be written to"),
            (ffi::SQLITE_BUSY, "another program"),
            (ffi::SQLITE_IOERR, "the system's log"),
            (ffi::SQLITE_FULL, "make room"),
            (ffi::SQLITE_ERROR, "it says"),
            (ffi::SQLITE_PROTOCOL, "it says"),
            (ffi::SQLITE_NOLFS, "it says"),
            (ffi::SQLITE_AUTH, "it says"),
        ] {
            let RowError::Unavailable(reason) = sorted(code) else { panic!("{code} counts as damage") };
            assert!(reason.contains(advice), "{code}: {reason}");
        }
    }
}
