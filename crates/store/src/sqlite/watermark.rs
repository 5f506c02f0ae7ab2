//! The watermark: where the log ended when somebody was last told so.
//!
//! SQLite takes a damaged write-ahead log for one that a crash cut off, and silently goes on without its end. So a file
//! beside the database names the end of what was acknowledged. A log that ends before it has lost something.
//!
//! The watermark is written after each commit, before anybody hears of the commit, and is not forced to the disk. So it
//! is never ahead of what was committed. If commits are forced to the disk, it is never ahead of what is there either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use engine::{Digest, Durability, Index, LogId, Position};
use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use super::error::OpenError;

/// What the file is called.
const NAME: &str = "watermark";

/// What version 0.1.0 called it. A leader that opens the log renames it.
const FORMER_NAME: &str = "acknowledged";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub(super) log: LogId,
    pub(super) position: Position,
    /// What the commit at `position` was promised to survive.
    pub(super) durability: Durability,
}

impl Watermark {
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join(NAME)
    }

    /// Where a watermark may be. The former name comes first: a leader that renames the file between two looks does not
    /// hide it.
    pub(super) fn paths(directory: &Path) -> [PathBuf; 2] {
        [directory.join(FORMER_NAME), Self::path(directory)]
    }

    /// The watermarks in `directory` that can be read, and their files. There are two if version 0.1.0 wrote to the log
    /// after a later one.
    pub(super) fn read(directory: &Path) -> Result<Vec<(PathBuf, Self)>, OpenError> {
        let mut found = Vec::new();
        for path in Self::paths(directory) {
            match fs::read(&path).map(|text| Self::parse(&text)) {
                Ok(Some(watermark)) => found.push((path, watermark)),
                Ok(None) => warn!(path = %path.display(), "the watermark cannot be read and is ignored"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(reason) => return Err(OpenError::Files { path, reason }),
            }
        }
        Ok(found)
    }

    /// Always of the same length, so that writing it again needs no room on the disk.
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
    fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["log", log, "index", index, "digest", digest, "durability", durability, "checksum", _] = words[..] else {
            return None;
        };
        let watermark = Self {
            log: log.parse().ok()?,
            position: Position {
                index: Index(index.parse().ok()?),
                digest: Digest(u64::from_str_radix(digest, 16).ok()?),
            },
            durability: if durability == "fsync" { Durability::Fsync } else { Durability::Os },
        };
        (watermark.text() == text).then_some(watermark)
    }
}

/// The open file, which a leader writes.
#[derive(Debug)]
pub(super) struct WatermarkFile {
    file: File,
    failing: bool,
}

impl WatermarkFile {
    /// Opens the file and writes `watermark` to it. A file with the former name is renamed.
    pub(super) fn open(directory: &Path, watermark: &Watermark) -> Result<Self, OpenError> {
        let [former, path] = Watermark::paths(directory);
        let open = || -> io::Result<File> {
            let has_former = former.try_exists()?;
            if has_former && !path.try_exists()? {
                fs::rename(&former, &path)?;
            }
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.write_all_at(watermark.text().as_bytes(), 0)?;
            file.set_len(watermark.text().len() as u64)?;
            file.sync_all()?;
            if has_former {
                match fs::remove_file(&former) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => File::open(directory)?.sync_all()?,
                }
            }
            Ok(file)
        };
        let file = open().map_err(|reason| OpenError::Files { path: path.clone(), reason })?;
        Ok(Self { file, failing: false })
    }

    /// A watermark that cannot be written stays behind. It then proves less, and nothing wrong.
    pub(super) fn write(&mut self, watermark: &Watermark) {
        match self.file.write_all_at(watermark.text().as_bytes(), 0) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                warn!(%error, "the watermark cannot be written");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watermark() -> Watermark {
        let position = Position { index: Index(1_234), digest: Digest(0xabc) };
        Watermark { log: LogId(77), position, durability: Durability::Os }
    }

    #[test]
    fn a_watermark_survives_its_text_and_does_not_count_if_a_bit_is_flipped() {
        let text = watermark().text();
        assert_eq!(Watermark::parse(text.as_bytes()), Some(watermark()));
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] ^= 1;
            assert_eq!(Watermark::parse(&altered), None, "byte {at}");
        }
        assert_eq!(Watermark::parse(&text.as_bytes()[..40]), None);
    }

    #[test]
    fn all_watermarks_are_equally_long() {
        let other = Watermark { position: Position::default(), durability: Durability::Fsync, ..watermark() };
        assert_eq!(watermark().text().len(), other.text().len());
    }

    #[test]
    fn a_file_with_the_former_name_is_read_and_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let [former, path] = Watermark::paths(directory.path());
        fs::write(&former, watermark().text()).unwrap();
        assert_eq!(Watermark::read(directory.path()).unwrap(), [(former.clone(), watermark())]);
        for _ in 0..2 {
            let mut next = watermark();
            next.position.index = Index(1_235);
            WatermarkFile::open(directory.path(), &watermark()).unwrap().write(&next);
            assert_eq!(Watermark::read(directory.path()).unwrap(), [(path.clone(), next)]);
            assert!(!former.exists());
        }
    }

    #[test]
    fn both_files_are_read_if_an_earlier_version_wrote_after_a_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let [former, path] = Watermark::paths(directory.path());
        fs::write(&path, watermark().text()).unwrap();
        let newer = Watermark { position: Position { index: Index(2_000), ..watermark().position }, ..watermark() };
        fs::write(&former, newer.text()).unwrap();
        let found = Watermark::read(directory.path()).unwrap();
        assert_eq!(found, [(former, newer), (path.clone(), watermark())]);
        WatermarkFile::open(directory.path(), &newer).unwrap();
        assert_eq!(Watermark::read(directory.path()).unwrap(), [(path, newer)]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_watermark(bytes: Vec<u8>) {
            prop_assert_eq!(Watermark::parse(&bytes), None);
        }
    }
}
