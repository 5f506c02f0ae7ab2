//! Logs that an earlier version wrote still open, with everything that is in them.
//!
//! `fixtures/v1` holds the directory of a leader that closed its log (`closed`), that of one that was killed and left a
//! write-ahead log (`killed`), and a description of each. They are never made again. A later format gets a folder of its
//! own: `RECORD=<folder> cargo test -p store --test fixture -- --ignored`.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use engine::{
    Digest, Durability, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerId, Sequence, Snapshot,
    Submitted, Term,
};
use store::sqlite::{Options, SqliteReader, SqliteStore};
use store::{Commit, Opened, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

fn open(directory: &Path) -> Opened {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(40).unwrap(),
        retain: NonZeroU64::new(250).unwrap(),
        retain_bytes: None,
    };
    SqliteStore::new(options, LOG).open_blocking().unwrap()
}

/// The files of a log without those that a leader makes anew whenever it starts.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if !["leader.lock", "log.sqlite-shm"].map(Into::into).contains(&file.file_name()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// What a log holds, a line each: the batches above `floor`, and what a leader starts with.
fn describe(floor: Index, tail: Snapshot, producers: &[Submitted], batches: &[StoredBatch]) -> String {
    let mut text = String::new();
    writeln!(text, "log {} floor {floor} tail {} value {}", tail.log(), tail.position(), tail.value()).unwrap();
    for Submitted { producer, sequence, event } in producers {
        let Event { index, operation, value } = event;
        writeln!(text, "producer {producer} sequence {sequence} index {index} {operation:?} value {value}").unwrap();
    }
    for StoredBatch { first, end, term, frame } in batches.iter().filter(|batch| batch.first > floor) {
        writeln!(text, "batch {first} to {} digest {} term {term} {frame:x}", end.index, end.digest).unwrap();
    }
    text
}

async fn describe_directory(directory: &Path, term: Term) -> String {
    let store = open(directory);
    assert_eq!(store.term, term);
    let floor = store.reader.floor();
    let batches = store.reader.read(floor.next(), usize::MAX).await.unwrap();
    describe(floor, store.tail, &store.producers, &batches)
}

#[tokio::test]
async fn logs_of_every_format_open_with_all_that_is_in_them() {
    let formats: Vec<PathBuf> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
        .unwrap()
        .map(|format| format.unwrap().path())
        .collect();
    assert!(!formats.is_empty());
    for (format, (state, term)) in formats.iter().flat_map(|format| [(format, ("closed", 1)), (format, ("killed", 2))])
    {
        let directory = TempDir::new().unwrap();
        copy(&format.join(state), directory.path());
        let expected = fs::read_to_string(format.join(format!("{state}.txt"))).unwrap();
        assert!(expected.lines().filter(|line| line.starts_with("batch ")).count() > 90, "{expected}");

        let reader = SqliteReader::open(directory.path()).unwrap();
        assert_eq!((reader.log(), reader.term()), (LOG, Term(term)));
        drop(reader);
        for leaders in 1..=2 {
            let found = describe_directory(directory.path(), Term(term + leaders)).await;
            assert!(found == expected, "{}/{state}: {found}", format.display());
            assert!(directory.path().join("watermark").exists() && !directory.path().join("acknowledged").exists());
        }
    }
}

/// The `n`th batch of the fixture, after `previous`.
fn batch(n: u64, term: Term, previous: Snapshot) -> (StoredBatch, Snapshot) {
    let first = previous.position().index.next();
    let end = Position { index: first.plus(n % 4), digest: Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
    let length = 20 + usize::try_from(n % 30).unwrap();
    let frame: Vec<u8> = end.digest.0.to_be_bytes().into_iter().cycle().take(length).collect();
    let value = (n.wrapping_mul(n) << (n % 40)).cast_signed();
    (StoredBatch { first, end, term, frame: Bytes::from(frame) }, Snapshot::take(LOG, end, value))
}

/// Batches in which one of a few producers submits now and then, and some producers are forgotten.
async fn fill(store: &mut Opened, numbers: impl Iterator<Item = u64>, written: &mut Written) {
    for n in numbers {
        let (batch, tail) = batch(n, store.term, written.tail);
        let mut producers = ProducerChanges::default();
        if n % 3 == 0 {
            let producer = ProducerId::new(&format!("producer-{}", n % 7)).unwrap();
            let event = Event { index: batch.first, operation: Operation::Multiply(-i64::MAX), value: tail.value() };
            let submitted = Submitted { producer: producer.clone(), sequence: Sequence(n), event };
            written.producers.insert(producer, submitted.clone());
            producers.written.push(submitted);
        }
        if n % 50 == 0 {
            let (forgotten, _) = written.producers.pop_last().unwrap();
            producers.written.retain(|submitted| submitted.producer != forgotten);
            producers.forgotten.push(forgotten);
        }
        written.tail = tail;
        written.batches.push(batch.clone());
        store.writer.append(Commit { batch, tail, producers }).await.unwrap();
    }
}

/// What was committed.
struct Written {
    tail: Snapshot,
    producers: BTreeMap<ProducerId, Submitted>,
    batches: Vec<StoredBatch>,
}

impl Written {
    fn describe(&self, floor: Index) -> String {
        let producers: Vec<_> = self.producers.values().cloned().collect();
        describe(floor, self.tail, &producers, &self.batches)
    }
}

#[tokio::test]
#[ignore = "records this version's format into the folder named by RECORD"]
async fn record() {
    let folder = PathBuf::from(std::env::var("RECORD").unwrap());
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    let mut written = Written { tail: store.tail, producers: BTreeMap::new(), batches: Vec::new() };
    fill(&mut store, 1..=200, &mut written).await;
    let floor = store.reader.floor();
    assert!(floor > Index::ZERO, "nothing was compacted");
    drop(store);
    copy(directory.path(), &folder.join("closed"));
    fs::write(folder.join("closed.txt"), written.describe(floor)).unwrap();

    let mut store = open(directory.path());
    fill(&mut store, 201..=206, &mut written).await;
    copy(directory.path(), &folder.join("killed"));
    fs::write(folder.join("killed.txt"), written.describe(store.reader.floor())).unwrap();
}
