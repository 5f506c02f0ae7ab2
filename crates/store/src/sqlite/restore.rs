//! Puts a copy of a log into a directory, under a term above all that were seen of it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use engine::{Index, Term};
use rusqlite::TransactionBehavior;
use thiserror::Error;

use super::error::{OpenError, RowError};
use super::rows::Summary;
use super::watermark::Watermark;
use super::{files, forced, write_connection};

/// Why a log was not restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// There is a log in the directory, or what is left of one.
    #[error("{} is there already", file.display())]
    Occupied {
        /// A file of that log.
        file: PathBuf,
    },
    /// The term would not be above that of the copy.
    #[error("term {asked} is not above the term {held} of the copy")]
    TermTooLow {
        /// The term that was asked for.
        asked: Term,
        /// The copy's.
        held: Term,
    },
    /// The directory or the copy cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A directory into which a log is being restored. Its lock keeps leaders out meanwhile.
///
/// The copy is put to [`database`](Self::database) and checked there; [`finish`](Self::finish) makes it the directory's log
/// in one step. If this is dropped before, the copy is removed and the directory has no log.
#[derive(Debug)]
pub struct Restoring {
    directory: PathBuf,
    staging: PathBuf,
    _lock: files::Lock,
}

impl Restoring {
    /// Begins to restore a log into `directory`, which is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the directory has a log, or cannot be used.
    pub fn begin(directory: &Path) -> Result<Self, RestoreError> {
        files::make_directory(directory)?;
        let lock = files::Lock::take(directory)?;
        let database = files::database(directory);
        let beside = ["-wal", "-shm", "-journal"].map(|end| files::beside(&database, end));
        let mut of_a_log = [database].into_iter().chain(beside).chain(Watermark::paths(directory));
        if let Some(file) = of_a_log.find(|path| path.symlink_metadata().is_ok()) {
            return Err(RestoreError::Occupied { file });
        }
        let staging = directory.join("restoring");
        let fail = |reason| OpenError::Files { path: staging.clone(), reason };
        match fs::remove_dir_all(&staging) {
            // Another attempt was interrupted.
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(reason) => return Err(fail(reason).into()),
        }
        fs::create_dir(&staging).map_err(fail)?;
        Ok(Self { directory: directory.to_owned(), staging, _lock: lock })
    }

    /// Where the copy is to be put. Its directory can be opened as a log.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        files::database(&self.staging)
    }

    /// The directory of [`database`](Self::database).
    #[must_use]
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Gives the copy the term `term`, forces it to the disk, and makes it the log of the directory. The next leader takes
    /// the term after it.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]. The directory has no log then.
    pub fn finish(self, term: Term) -> Result<(), RestoreError> {
        let failed = |error: RowError| error.into_open(self.staging.clone());
        let mut database = write_connection::connect(&self.staging).map_err(failed)?;
        let sqlite = |error: rusqlite::Error| failed(RowError::sqlite(&error, Index::ZERO));
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        let mut summary = Summary::read(&transaction).map_err(failed)?;
        if term <= summary.term {
            return Err(RestoreError::TermTooLow { asked: term, held: summary.term });
        }
        summary.term = term;
        summary.insert(&transaction).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        forced::move_wal(&database, &self.staging)?;
        drop(database);
        forced::force_files(&self.staging)?;
        let path = files::database(&self.directory);
        fs::rename(self.database(), &path).map_err(|reason| OpenError::Files { path, reason })?;
        files::force_names(&self.directory)?;
        Ok(())
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next attempt, and is no log.
        let _ = fs::remove_dir_all(&self.staging);
    }
}
