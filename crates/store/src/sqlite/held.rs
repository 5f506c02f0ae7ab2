//! Whether the files that a leader holds are still those at their paths.
//!
//! Files that were removed or replaced can be written to for as long as they are open, and are gone afterwards. So their
//! identities are compared before and after each commit, and now and then between commits.

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
    /// Kept open, so that no new directory gets its inode. The files are open already: by SQLite, and as the watermark.
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
    /// Remembers what is at the paths now. The lock is not among it: without its file a second leader can start, and then
    /// its term ends this one.
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

    /// Compares what is at the paths with what was there. Takes some microseconds and opens nothing: closing a file gives
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

/// What a look at the paths came to, if not to the files that are held.
#[derive(Debug)]
pub(super) enum Look {
    /// Something else is there, or nothing.
    Replaced(Replaced),
    /// That cannot be seen at present.
    Failed { path: PathBuf, error: io::Error },
}
