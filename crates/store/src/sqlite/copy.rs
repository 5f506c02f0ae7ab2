//! Copies a log while a leader writes to it, by SQLite's online backup.
//!
//! All pages are copied in one step, which sees one moment of the log. In several steps, each commit between two of them
//! would make the copy start again, and a busy leader would never let it finish. The leader commits meanwhile, and its
//! write-ahead log grows until the copy is made.

use std::fs::File;
use std::path::{Path, PathBuf};

use engine::Index;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use thiserror::Error;

use super::error::{Cause, Problem, RowError};
use super::reader::SqliteReader;

/// Why a log could not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot copy the log to {}: {problem}", to.display())]
pub struct CopyError {
    /// Where the copy was to be.
    pub to: PathBuf,
    /// What went wrong, there or with the log.
    pub problem: Problem,
}

impl SqliteReader {
    /// Copies the log, as it is at one moment, to the new file `to`, and forces that to the disk. A leader can go on
    /// writing. The copy is a database without a write-ahead log; nothing in it has been checked.
    ///
    /// # Errors
    ///
    /// [`CopyError`]. An incomplete file may be left.
    pub fn copy_to(&self, to: &Path) -> Result<(), CopyError> {
        let failed = |problem| CopyError { to: to.to_owned(), problem };
        self.copy_pages(to).map_err(|error| match RowError::sqlite(&error, Index::ZERO) {
            RowError::Unavailable(problem) => failed(problem),
            RowError::Corrupt(damage) => failed(Problem { cause: Cause::Other, what: damage.what }),
        })?;
        let forced = File::open(to).and_then(|file| file.sync_all());
        forced.map_err(|error| failed(Problem { cause: Cause::DiskFailed, what: error.to_string() }))
    }

    fn copy_pages(&self, to: &Path) -> rusqlite::Result<()> {
        let mut copy = Connection::open(to)?;
        // A copy that is not finished is of no use, so it needs no journal. It is forced to the disk as a whole.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        match Backup::new(&self.database, &mut copy)?.step(-1)? {
            StepResult::Done => Ok(()),
            // Somebody has had it locked for as long as a connection waits.
            _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)),
        }
    }
}
