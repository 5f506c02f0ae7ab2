//! Damage to one file of a log.

use std::fmt;
use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;

pub(crate) const DATABASE: &str = "log.sqlite";
pub(crate) const WAL: &str = "log.sqlite-wal";

pub(crate) const PAGE: usize = 4_096;

/// Bytes of the header of the write-ahead log, and of the header before each page in it.
pub(crate) const WAL_HEADER: usize = 32;
pub(crate) const FRAME_HEADER: usize = 24;

/// Picks a file that is not empty, mostly in proportion to its size, but small ones often enough.
pub(crate) fn pick_file(directory: &Path, random: &mut StdRng) -> String {
    let mut files: Vec<(String, u64)> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
        .filter(|(_, length)| *length > 0)
        .collect();
    files.sort();
    if random.random_bool(0.25) {
        return files.swap_remove(random.random_range(0..files.len())).0;
    }
    let mut place = random.random_range(0..files.iter().map(|(_, length)| length).sum());
    for (name, length) in files {
        if place < length {
            return name;
        }
        place -= length;
    }
    unreachable!("the place lies within the sum of the lengths")
}

pub(crate) struct Damage {
    pub(crate) file: String,
    /// The first damaged byte, counted from 0.
    at: u64,
    what: What,
}

enum What {
    Flip { mask: u8 },
    Cut,
    Zero { length: usize },
}

impl Damage {
    pub(crate) fn flip(directory: &Path, file: String, random: &mut StdRng) -> Self {
        let length = fs::metadata(directory.join(&file)).unwrap().len();
        let any = random.random_range(0..length);
        // Headers of pages and frames are a small part of a file, but damage to them has more effects. So they are hit often.
        let head = match file.as_str() {
            DATABASE => any - any % PAGE as u64 + random.random_range(0..64),
            WAL => {
                let frame = (FRAME_HEADER + PAGE) as u64;
                any.saturating_sub(WAL_HEADER as u64) / frame * frame + random.random_range(0..120)
            }
            _ => any,
        };
        let at = if random.random_bool(0.4) { head.min(length - 1) } else { any };
        let mask = if random.random_bool(0.5) { 1 << random.random_range(0..8) } else { random.random_range(1..=255) };
        Self { file, at, what: What::Flip { mask } }
    }

    pub(crate) fn cut(directory: &Path, file: String, random: &mut StdRng) -> Self {
        let length = fs::metadata(directory.join(&file)).unwrap().len();
        Self { file, at: random.random_range(0..length), what: What::Cut }
    }

    /// A sector of a disk.
    pub(crate) fn zero(directory: &Path, file: String, random: &mut StdRng) -> Self {
        let length = fs::metadata(directory.join(&file)).unwrap().len();
        let at = random.random_range(0..length) / 512 * 512;
        Self { file, at, what: What::Zero { length: usize::try_from(length - at).unwrap().min(512) } }
    }

    /// Damages the file. Returns whether that changed a byte.
    pub(crate) fn apply(&self, directory: &Path) -> bool {
        let file = OpenOptions::new().read(true).write(true).open(directory.join(&self.file)).unwrap();
        let length = match self.what {
            What::Flip { .. } => 1,
            What::Cut => {
                file.set_len(self.at).unwrap();
                return true;
            }
            What::Zero { length } => length,
        };
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, self.at).unwrap();
        let before = bytes.clone();
        for byte in &mut bytes {
            *byte = if let What::Flip { mask } = self.what { *byte ^ mask } else { 0 };
        }
        file.write_all_at(&bytes, self.at).unwrap();
        bytes != before
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, what } = self;
        match what {
            What::Flip { mask } => write!(f, "byte {at} of {file} xor {mask:#04x}"),
            What::Cut => write!(f, "{file} cut off at byte {at}"),
            What::Zero { length } => write!(f, "{length} bytes of {file} zeroed from byte {at} on"),
        }
    }
}
