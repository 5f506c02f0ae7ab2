//! The directory of a log: where its files are, and the lock that keeps other leaders out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::error::OpenError;

/// Where the database is in its directory.
pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join("log.sqlite")
}

/// The file whose name is that of `database` followed by `end`.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes the directory, so that it survives a power cut.
pub(super) fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let make = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        File::open(directory.canonicalize()?.parent().unwrap_or(directory))?.sync_all()
    };
    make().map_err(|reason| OpenError::Files { path: directory.to_owned(), reason })
}

/// Forces the names in the directory to the disk.
pub(super) fn force_names(directory: &Path) -> Result<(), OpenError> {
    let forced = File::open(directory).and_then(|file| file.sync_all());
    forced.map_err(|reason| OpenError::Files { path: directory.to_owned(), reason })
}

/// Keeps other leaders out of a directory until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    /// The lock is the open file's.
    _file: File,
}

impl Lock {
    /// Whether this process writes to the log in `directory`.
    pub(super) fn is_ours(directory: &Path) -> Result<bool, OpenError> {
        let path = directory.join("leader.lock");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(reason) => return Err(OpenError::Files { path, reason }),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(false);
        }
        let mut text = String::new();
        // A file that does not name this process names another.
        let _ = file.read_to_string(&mut text);
        Ok(text.trim().parse() == Ok(std::process::id()))
    }

    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("leader.lock");
        let files = |reason| OpenError::Files { path: path.clone(), reason };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(files)?;
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..5 {
            if locked != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            // Somebody may only be looking whether it is free.
            std::thread::sleep(Duration::from_millis(5));
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        if let Err(error) = locked {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(files(error.into()));
            }
            let mut text = String::new();
            // The error is as good without the process.
            let _ = file.read_to_string(&mut text);
            return Err(OpenError::InUse { directory: directory.to_owned(), pid: text.trim().parse().ok() });
        }
        let note = || -> io::Result<()> {
            let mut file = &file;
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        if let Err(error) = note() {
            // The lock holds without the note.
            warn!(%error, "could not note who holds the lock");
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_leader() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::take(directory.path()).unwrap();
        let refused = Lock::take(directory.path()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
        drop(held);
        Lock::take(directory.path()).unwrap();
    }
}
