//! Whether the files that a leader holds are still those at their paths.
//!
//! Files that were removed or replaced can be written to while they are open, and are gone afterwards. So the files are
//! compared with those at their paths before and after each commit, and a few times a second between commits.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::files;
use super::watermark::Watermark;
use crate::Replaced;

/// The files of a log that is open, by device and inode.
#[derive(Debug)]
pub(super) struct Held {
    files: Vec<(PathBuf, Identity)>,
    /// Kept open, so that no new directory gets its inode. The files themselves are open elsewhere.
    _directory: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl From<Metadata> for Identity {
    fn from(file: Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}

impl Held {
    /// Remembers what is at the paths now. The lock is left out: if its file is gone, a second leader can start, and its
    /// term ends this one.
    pub(super) fn look(directory: &Path) -> Result<Self, OpenError> {
        let database = files::database(directory);
        let mut paths = vec![directory.to_owned(), Watermark::path(directory)];
        // Beside the real database, if there is a symbolic link to it.
        let real = fs::canonicalize(&database).map_err(|reason| OpenError::Files { path: database.clone(), reason })?;
        paths.extend(["-wal", "-shm"].map(|end| files::beside(&real, end)));
        paths.push(database);
        let identify = |path: PathBuf| match fs::metadata(&path) {
            Ok(file) => Ok((path, file.into())),
            Err(reason) => Err(OpenError::Files { path, reason }),
        };
        let files = paths.into_iter().map(identify).collect::<Result<_, _>>()?;
        let opened = File::open(directory).map_err(|reason| OpenError::Files { path: directory.to_owned(), reason })?;
        Ok(Self { files, _directory: opened })
    }

    /// Compares what is at the paths with what was there. Takes some microseconds. Opens no file, because closing one gives
    /// up SQLite's locks on it.
    pub(super) fn check(&self) -> Result<(), Look> {
        for (path, identity) in &self.files {
            match fs::metadata(path).map(Identity::from) {
                Ok(found) if found == *identity => {}
                Ok(_) => return Err(Look::Replaced(Replaced { path: path.clone(), removed: false })),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Err(Look::Replaced(Replaced { path: path.clone(), removed: true }));
                }
                Err(error) => return Err(Look::Failed { path: path.clone(), error }),
            }
        }
        Ok(())
    }
}

/// What a look at the paths found, if not the files that are held.
#[derive(Debug)]
pub(super) enum Look {
    /// Another file is there, or none.
    Replaced(Replaced),
    /// The path cannot be looked at.
    Failed { path: PathBuf, error: io::Error },
}
