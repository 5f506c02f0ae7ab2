//! Why a log in a directory cannot be opened.

use std::io;
use std::path::PathBuf;

use engine::{Index, LogId};
use thiserror::Error;

use crate::Corrupt;

/// Why the log in a directory cannot be opened. What is in the log has not changed, except that the term may have been
/// taken.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Files {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Another leader has it open.
    #[error(
        "another leader{} writes to {} already",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The other leader's process, if its lock names it.
        pid: Option<u32>,
    },
    /// There is no log.
    #[error("there is no log in {}", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// A later version wrote it.
    #[error("{} has format {found}; this version knows format {known}", path.display())]
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
         or restored from an older copy", directory.display()
    )]
    Lost {
        /// The directory.
        directory: PathBuf,
        /// Where the log ends.
        tail: Index,
        /// Where it ended when somebody was last told so.
        acknowledged: Index,
        /// The file that says so. Without it, the log counts as complete.
        watermark: PathBuf,
    },
    /// The files are not of one log.
    #[error("{} belongs to log {named}, but the log beside it is {found}", watermark.display())]
    Mixed {
        /// The file that names the other log.
        watermark: PathBuf,
        /// The log that it names.
        named: LogId,
        /// The log that is there.
        found: LogId,
    },
    /// What is stored is not what was committed.
    #[error("{damage}")]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// Where and what.
        damage: Corrupt,
    },
    /// What is there could not be forced to the disk, so a power cut may take it.
    #[error(
        "{} cannot be forced to the disk: {reason}. What was read may be in memory only, so nothing is built on it",
        path.display()
    )]
    NotForced {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The database cannot be used at present.
    #[error("the log in {} cannot be opened: {problem}", directory.display())]
    Database {
        /// The directory.
        directory: PathBuf,
        /// Why.
        problem: Problem,
    },
}

/// Why a database cannot be used at present.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Problem {
    /// What kind of problem it is.
    pub cause: Cause,
    /// The problem in words.
    pub what: String,
}

/// The kinds of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The disk is full.
    DiskFull,
    /// This process may open no more files.
    TooManyOpenFiles,
    /// The directory or a file in it is not permitted to this process, or missing.
    NotPermitted,
    /// The files or their file system cannot be written to.
    ReadOnly,
    /// Another program has the database locked.
    Locked,
    /// The disk or its file system failed.
    DiskFailed,
    /// The file system has no shared memory for a write-ahead log.
    NoWriteAheadLog,
    /// Another program is in the middle of a long read.
    LongRead,
    /// Another leader wrote to the log while it was opened.
    AnotherLeader,
    /// Something else.
    Other,
}

/// What went wrong with rows.
#[derive(Debug)]
pub(super) enum RowError {
    /// The rows are there, and wrong.
    Corrupt(Corrupt),
    /// The database cannot be used at present.
    Unavailable(Problem),
}

impl RowError {
    pub(super) fn corrupt(index: Index, what: impl Into<String>) -> Self {
        Self::Corrupt(Corrupt { index, what: what.into() })
    }

    pub(super) fn unavailable(cause: Cause, what: impl Into<String>) -> Self {
        Self::Unavailable(Problem { cause, what: what.into() })
    }

    /// Tells damage near `index` from a database that cannot be used.
    pub(super) fn sqlite(error: &rusqlite::Error, index: Index) -> Self {
        use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase, TypeMismatch};
        match error.sqlite_error_code() {
            // Without a code, it is a value of the wrong type, or a row that is not there.
            None | Some(DatabaseCorrupt | NotADatabase | ConstraintViolation | TypeMismatch) => {
                Self::corrupt(index, error.to_string())
            }
            Some(code) => Self::Unavailable(problem(code, error)),
        }
    }

    pub(super) fn into_open(self, directory: PathBuf) -> OpenError {
        match self {
            Self::Corrupt(damage) => OpenError::Damaged { directory, damage },
            Self::Unavailable(problem) => OpenError::Database { directory, problem },
        }
    }
}

/// What the system refused, as far as that can be known.
fn problem(code: rusqlite::ErrorCode, error: &rusqlite::Error) -> Problem {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    // SQLite does not pass the system's reason on. Another file meets the same limit.
    let no_descriptor = std::fs::File::open("/dev/null").err();
    let (cause, what) = match (code, no_descriptor) {
        (DiskFull, _) => (Cause::DiskFull, "the disk is full".to_owned()),
        (CannotOpen | SystemIoFailure, Some(reason)) => (Cause::TooManyOpenFiles, format!("{error}: {reason}")),
        (CannotOpen | PermissionDenied, None) => {
            (Cause::NotPermitted, format!("{error}; the directory or a file in it is not permitted, or missing"))
        }
        (ReadOnly, _) => (Cause::ReadOnly, format!("{error}; the files or their file system cannot be written to")),
        (DatabaseBusy | DatabaseLocked, _) => (Cause::Locked, format!("{error}; another program has it locked")),
        (SystemIoFailure, None) => (Cause::DiskFailed, format!("{error}; the disk or its file system failed")),
        _ => (Cause::Other, error.to_string()),
    };
    Problem { cause, what }
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
        for (code, cause, words) in [
            (ffi::SQLITE_CANTOPEN, Cause::NotPermitted, "not permitted"),
            (ffi::SQLITE_PERM, Cause::NotPermitted, "not permitted"),
            (ffi::SQLITE_READONLY, Cause::ReadOnly, "cannot be written to"),
            (ffi::SQLITE_BUSY, Cause::Locked, "another program"),
            (ffi::SQLITE_IOERR, Cause::DiskFailed, "the disk or its file system"),
            (ffi::SQLITE_FULL, Cause::DiskFull, "the disk is full"),
            (ffi::SQLITE_ERROR, Cause::Other, "it says"),
            (ffi::SQLITE_PROTOCOL, Cause::Other, "it says"),
            (ffi::SQLITE_NOLFS, Cause::Other, "it says"),
            (ffi::SQLITE_AUTH, Cause::Other, "it says"),
        ] {
            let RowError::Unavailable(problem) = sorted(code) else { panic!("{code} counts as damage") };
            assert!(problem.cause == cause && problem.what.contains(words), "{code}: {problem:?}");
        }
    }
}
