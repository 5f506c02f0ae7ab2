//! Before a leader builds on a log, everything in it is forced to the disk.
//!
//! After a write to the disk failed, the system reports it once and then treats its copy in memory as written. That copy can
//! be read, forcing it again changes nothing, and a power cut takes it. The leader that was told ends; the next one must not
//! build on the copy. So it writes everything that the write-ahead log holds into the database, and truncates the
//! write-ahead log. Pages that are only in the database are safe: SQLite keeps a page in the write-ahead log until the
//! database with it was forced to the disk. The watermark is written whenever a log is opened.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use engine::Index;
use rusqlite::{Connection, ErrorCode};

use super::error::{Cause, OpenError, RowError};
use super::files;
use super::watermark::Watermark;

/// Forces the files to the disk as they are, which brings up failures that nobody was told of. Only for a process without
/// a connection to the database: closing the file gives up SQLite's locks on it.
pub(super) fn force_files(directory: &Path) -> Result<(), OpenError> {
    let database = files::database(directory);
    // The write-ahead log is beside the real database, if there is a symbolic link to it.
    let wal = files::beside(&database.canonicalize().unwrap_or_else(|_| database.clone()), "-wal");
    for path in Watermark::paths(directory).into_iter().chain([wal, database, directory.to_owned()]) {
        match File::open(&path) {
            Ok(file) => file
                .sync_all()
                .map_err(|error| OpenError::NotForced { path: path.clone(), reason: error.to_string() })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(reason) => return Err(OpenError::Files { path, reason }),
        }
    }
    Ok(())
}

/// Writes what the write-ahead log holds into the database, forces that to the disk, and truncates the write-ahead log.
pub(super) fn move_wal(database: &Connection, directory: &Path) -> Result<(), OpenError> {
    let busy = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    let error = match busy {
        Ok(0) => return Ok(()),
        Ok(_) => {
            let what = "another program has been reading it for too long, so that the write-ahead log cannot be moved into \
                        the database and forced to the disk";
            return Err(RowError::unavailable(Cause::LongRead, what).into_open(directory.to_owned()));
        }
        Err(error) => error,
    };
    match (error.sqlite_error(), error.sqlite_error_code()) {
        (Some(precise), Some(ErrorCode::SystemIoFailure)) => {
            Err(OpenError::NotForced { path: files::database(directory), reason: precise.to_string() })
        }
        _ => Err(RowError::sqlite(&error, Index::ZERO).into_open(directory.to_owned())),
    }
}
