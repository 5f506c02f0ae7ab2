//! Logs of one leader that closed its log, and of several that were killed.

use std::collections::BTreeMap;
use std::fs;
use std::fs::OpenOptions;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use engine::leader::Sequencer;
use engine::{Durability, Index, LogId, Operation, ProducerId, Sequence, Snapshot, Submission, Submitted, Timestamp};
use leader::export::export;
use leader::verify::verify;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::sqlite::{Options, SqliteReader, SqliteStore};
use store::{AppendError, Commit, LogReader, LogWriter, Opened, StoredBatch};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wire::frame::encode_batch;

use crate::damage::{DATABASE, FRAME_HEADER, PAGE, WAL, WAL_HEADER};

pub(crate) struct Base {
    pub(crate) name: &'static str,
    pub(crate) files: TempDir,
    pub(crate) truth: Truth,
}

pub(crate) struct Truth {
    pub(crate) lines: Vec<u8>,
    pub(crate) producers: Vec<Submitted>,
    /// All batches above the floor.
    pub(crate) batches: Vec<StoredBatch>,
    pub(crate) floor: Snapshot,
    pub(crate) tail: Snapshot,
}

pub(crate) fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(200).unwrap(),
        retain: NonZeroU64::new(800).unwrap(),
        retain_bytes: None,
    }
}

pub(crate) struct Leader<'a> {
    writer: Box<dyn LogWriter>,
    reader: Arc<dyn LogReader>,
    pub(crate) sequencer: Sequencer,
    runtime: &'a Runtime,
    /// The last submission of each of a few producers.
    sequences: BTreeMap<u32, u64>,
}

impl<'a> Leader<'a> {
    pub(crate) fn new(opened: Opened, runtime: &'a Runtime) -> Self {
        let of_row = |row: Submitted| (row.producer.as_str()[1..].parse().unwrap(), row.sequence.0);
        let sequences = opened.producers.iter().cloned().map(of_row).collect();
        let sequencer = Sequencer::new(opened.term, opened.tail, opened.producers);
        Self { writer: opened.writer, reader: opened.reader, sequencer, runtime, sequences }
    }

    fn open(directory: &Path, log: LogId, runtime: &'a Runtime) -> Self {
        Self::new(SqliteStore::new(options(directory), log).open_blocking().unwrap(), runtime)
    }

    /// Commits batches of 1 to 50 events.
    pub(crate) fn commit(&mut self, batches: usize, random: &mut StdRng) -> Result<Vec<StoredBatch>, AppendError> {
        let mut stored = Vec::new();
        for _ in 0..batches {
            // Most are small, like a leader's.
            let most = if random.random_bool(0.8) { 8 } else { 50 };
            let events = random.random_range(1..=most);
            let mut proposed = 0;
            while proposed < events {
                let submission = self.draw(random);
                // The calculator refuses some: they overflow.
                if self.sequencer.submit(&submission).is_ok() {
                    proposed += 1;
                }
            }
            let time = Timestamp(1_790_000_000_000_000 + self.sequencer.newest().position().index.0);
            let batch = self.sequencer.seal(time).unwrap();
            let batch = StoredBatch::new(&batch, encode_batch(&batch));
            let (tail, producers) = (self.sequencer.newest(), self.sequencer.producer_changes());
            self.runtime.block_on(self.writer.append(Commit { batch: batch.clone(), tail, producers }))?;
            self.sequencer.commit();
            stored.push(batch);
        }
        Ok(stored)
    }

    fn draw(&mut self, random: &mut StdRng) -> Submission {
        let argument = if random.random_bool(0.9) { random.random_range(-9..=9) } else { random.random() };
        let operation = match random.random_range(0..8) {
            0..3 => Operation::Add(argument),
            3..5 => Operation::Subtract(argument),
            5 => Operation::Multiply(argument),
            6 => Operation::Divide(argument),
            _ => [Operation::SquareRoot, Operation::PowerOfTwo][random.random_range(0..2)],
        };
        let producer = random.random_bool(0.3).then(|| {
            let number = random.random_range(0..60);
            let sequence = self.sequences.entry(number).and_modify(|last| *last += 1).or_insert(1);
            (ProducerId::new(&format!("p{number}")).unwrap(), Sequence(*sequence))
        });
        Submission { producer: producer.filter(|_| argument != 0), ..operation.into() }
    }
}

/// The files of a leader that closed its log, and of several that were killed at different moments.
pub(crate) fn bases(runtime: &Runtime, seed: u64) -> Vec<Base> {
    let mut random = StdRng::seed_from_u64(seed);
    let log = LogId(random.random());
    let mut bases = Vec::new();
    let mut keep = |name, directory: &Path| {
        let files = TempDir::new().unwrap();
        copy_files(directory, files.path());
        // The file's real contents differ between runs; a seed must draw the same places each time.
        fs::write(files.path().join("leader.lock"), "12345\n").unwrap();
        bases.push((name, files));
    };
    let length = |directory: &Path, file: &str| fs::metadata(directory.join(file)).unwrap().len();

    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let mut leader = Leader::open(directory, log, runtime);
    leader.commit(150, &mut random).unwrap();
    assert!(leader.reader.floor() > Index::ZERO, "nothing was compacted");
    keep("killed in its first life", directory);
    assert_eq!(length(directory, DATABASE), PAGE as u64, "the write-ahead log was already copied to the database");
    drop(leader);

    let mut leader = Leader::open(directory, log, runtime);
    leader.commit(50, &mut random).unwrap();
    keep("killed in its second life", directory);
    let interrupted = TempDir::new().unwrap();
    copy_files(directory, interrupted.path());
    checkpoint_in_part(interrupted.path());
    keep("killed while it copied the write-ahead log to the database", interrupted.path());

    // SQLite copies the write-ahead log to the database when it has a thousand pages. The next commit starts again at its
    // beginning.
    let before = length(directory, WAL);
    while length(directory, WAL) < (1_000 * (PAGE + FRAME_HEADER) + WAL_HEADER) as u64 {
        leader.commit(1, &mut random).unwrap();
    }
    assert!(before < length(directory, WAL));
    keep("killed when the write-ahead log was full", directory);
    let full = length(directory, WAL);
    leader.commit(20, &mut random).unwrap();
    keep("killed after the write-ahead log began anew", directory);
    assert_eq!(length(directory, WAL), full, "the write-ahead log did not begin anew");
    drop(leader);
    keep("closed", directory);
    assert!(!directory.join(WAL).exists());

    bases.into_iter().map(|(name, files)| Base { name, truth: truth(&files, runtime), files }).collect()
}

/// Copies the older half of the write-ahead log to the database, and every other page of the rest, as if a leader was killed
/// during a checkpoint.
fn checkpoint_in_part(directory: &Path) {
    let wal = fs::read(directory.join(WAL)).unwrap();
    let database = OpenOptions::new().write(true).open(directory.join(DATABASE)).unwrap();
    let frames: Vec<&[u8]> = wal[WAL_HEADER..].chunks_exact(FRAME_HEADER + PAGE).collect();
    for (n, frame) in frames.iter().enumerate() {
        let number = u64::from(u32::from_be_bytes(frame[..4].try_into().unwrap()));
        if n < frames.len() / 2 || number % 2 == 0 {
            database.write_all_at(&frame[FRAME_HEADER..], (number - 1) * PAGE as u64).unwrap();
        }
    }
}

/// The contents of undamaged files.
fn truth(files: &TempDir, runtime: &Runtime) -> Truth {
    let copy = TempDir::new().unwrap();
    copy_files(files.path(), copy.path());
    let mut lines = Vec::new();
    export(copy.path(), &mut lines).unwrap();
    verify(copy.path(), &mut Vec::new()).unwrap();
    let mut reader = SqliteReader::open(copy.path()).unwrap();
    let (floor, tail, producers) = (reader.floor(), reader.tail(), reader.producers().unwrap());
    assert!(producers.len() > 20 && reader.snapshots().unwrap().len() > 2);
    drop(reader);
    let opened = SqliteStore::new(options(copy.path()), LogId(0)).open_blocking().unwrap();
    let batches = runtime.block_on(opened.reader.read(floor.position().index.next(), usize::MAX)).unwrap();
    assert!(batches.len() > 60 && batches.last().unwrap().end == tail.position());
    Truth { lines, producers, batches, floor, tail }
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
