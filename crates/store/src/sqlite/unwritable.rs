//! Reading a log where nothing can be written, such as on a file system that is mounted read-only.
//!
//! SQLite keeps an index of the write-ahead log in a file, and makes both files when they are missing. Where it cannot, it
//! does not open the database. But then no leader has the log open there, because a leader keeps both files. So the log is
//! read without locks, with an index in memory. Nothing is copied, however large the log is.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::files;

/// Connects to the database at `path` if the ordinary way fails; else returns `None`.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let length = |end| std::fs::metadata(files::beside(&path, end)).map(|file| file.len());
    let (wal, index) = (length("-wal"), length("-shm"));
    let directory = path.parent().unwrap_or(&path);
    if (wal.is_ok() && index.is_ok()) || access(directory, Access::WRITE_OK).is_ok() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if wal.is_ok_and(|length| length > 0) {
        let database = Connection::open_with_flags_and_vfs(&path, flags, "unix-none")?;
        // Keeps the index in memory.
        database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        return Ok(Some(database));
    }
    // SQLite looks for no write-ahead log of such a file.
    Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI).map(Some)
}

/// The name under which SQLite treats the file as one that never changes.
fn immutable(path: &Path) -> OsString {
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            _ => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    OsString::from_vec(name)
}
