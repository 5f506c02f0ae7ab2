//! The files of a log: the database, the lock, and the mark of what was acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Digest, Durability, Index, LogId, Position};
use rustix::fs::{FlockOperation, flock};
use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use super::error::OpenError;

/// Where the database is in its directory.
pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join("log.sqlite")
}

/// The file whose name is that of `database` with `end` behind it.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes the directory, and sees to it that it survives a power cut.
pub(super) fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let make = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        File::open(directory.canonicalize()?.parent().unwrap_or(directory))?.sync_all()
    };
    make().map_err(|reason| OpenError::Files { path: directory.to_owned(), reason })
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
        // Without a note of who holds it, somebody else does.
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
            // It may be somebody who only looks whether it is free.
            std::thread::sleep(Duration::from_millis(5));
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        if let Err(error) = locked {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(files(error.into()));
            }
            let mut text = String::new();
            // Who holds it is a courtesy.
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
            // On a full disk; the lock holds without the note.
            warn!(%error, "could not note who holds the lock");
        }
        Ok(Self { _file: file })
    }
}

/// Where the log ended when somebody was last told so.
///
/// The mark is written after each commit and before anybody hears of it, but not forced to the disk. So it is never
/// ahead of what was committed, nor of what is on the disk if commits are forced there, and then a log that ends before it has lost something: SQLite takes a damaged write-ahead
/// log for one that was cut off by a crash, and would silently go on without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) log: LogId,
    pub(super) position: Position,
    /// What it was promised to survive.
    pub(super) durability: Durability,
}

impl Mark {
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join("acknowledged")
    }

    /// The mark in `directory`, if there is one that can be read.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, OpenError> {
        let path = Self::path(directory);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(OpenError::Files { path, reason }),
        };
        let mark = Self::parse(&text);
        if mark.is_none() {
            warn!(path = %path.display(), "the mark of what was acknowledged cannot be read and is ignored");
        }
        Ok(mark)
    }

    /// Always of the same length, so that writing it anew needs no room on the disk.
    fn text(&self) -> String {
        let durability = match self.durability {
            Durability::Fsync => "fsync",
            Durability::Os | Durability::Memory | Durability::Unknown => "os   ",
        };
        let (index, digest) = (self.position.index.0, self.position.digest);
        let facts = format!("log {} index {index:020} digest {digest} durability {durability}", self.log);
        format!("{facts} checksum {:016x}\n", xxh3_64(facts.as_bytes()))
    }

    /// What [`text`](Self::text) wrote; `None` for anything else.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["log", log, "index", index, "digest", digest, "durability", durability, "checksum", _] = words[..] else {
            return None;
        };
        let mark = Self {
            log: log.parse().ok()?,
            position: Position {
                index: Index(index.parse().ok()?),
                digest: Digest(u64::from_str_radix(digest, 16).ok()?),
            },
            durability: if durability == "fsync" { Durability::Fsync } else { Durability::Os },
        };
        (mark.text() == text).then_some(mark)
    }
}

/// Writes the mark.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    failing: bool,
}

impl Marker {
    pub(super) fn open(directory: &Path, mark: &Mark) -> Result<Self, OpenError> {
        let path = Mark::path(directory);
        let files = |reason| OpenError::Files { path: path.clone(), reason };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(files)?;
        file.write_all_at(mark.text().as_bytes(), 0).map_err(files)?;
        file.set_len(mark.text().len() as u64).map_err(files)?;
        file.sync_all().map_err(files)?;
        Ok(Self { file, failing: false })
    }

    /// A mark that cannot be written stays behind, which makes it weaker and not wrong.
    pub(super) fn write(&mut self, mark: &Mark) {
        let written = self.file.write_all_at(mark.text().as_bytes(), 0);
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                warn!(%error, "the mark of what was acknowledged cannot be written");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> Mark {
        let position = Position { index: Index(1_234), digest: Digest(0xabc) };
        Mark { log: LogId(77), position, durability: Durability::Os }
    }

    #[test]
    fn a_mark_survives_its_text_and_one_that_was_altered_does_not_count() {
        let text = mark().text();
        assert_eq!(Mark::parse(text.as_bytes()), Some(mark()));
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] ^= 1;
            assert_eq!(Mark::parse(&altered), None, "byte {at}");
        }
        assert_eq!(Mark::parse(&text.as_bytes()[..40]), None);
    }

    #[test]
    fn all_marks_are_equally_long() {
        let other = Mark { position: Position::default(), durability: Durability::Fsync, ..mark() };
        assert_eq!(mark().text().len(), other.text().len());
    }

    #[test]
    fn a_directory_has_one_leader() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::take(directory.path()).unwrap();
        let refused = Lock::take(directory.path()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
        drop(held);
        Lock::take(directory.path()).unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_mark(bytes: Vec<u8>) {
            prop_assert_eq!(Mark::parse(&bytes), None);
        }
    }
}
