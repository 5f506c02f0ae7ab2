//! The log in a directory: what it keeps, what it lets go, and what it refuses.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use bytes::Bytes;
use engine::{
    Digest, Durability, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerId, Sequence, Snapshot,
    Submitted, Term,
};
use store::sqlite::{OpenError, Options, SqliteReader, SqliteStore};
use store::{Commit, Compacted, Opened, ReadError, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(7);

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Os,
        snapshot_every: NonZeroU64::new(100).unwrap(),
        retain: NonZeroU64::new(1_000_000).unwrap(),
        retain_bytes: None,
    }
}

fn try_open(options: Options) -> Result<Opened, OpenError> {
    SqliteStore::new(options, LOG).open_blocking()
}

fn open(directory: &Path) -> Opened {
    try_open(options(directory)).unwrap()
}

fn digest(index: u64) -> Digest {
    if index == 0 { Digest::of_log(LOG) } else { Digest(index * 10) }
}

/// Events `first` to `last`, with values that tell the index.
fn commit(term: u64, first: u64, last: u64) -> Commit {
    let end = Position { index: Index(last), digest: digest(last) };
    let frame = Bytes::from(vec![u8::try_from(last % 251).unwrap(); 60]);
    let batch = StoredBatch { first: Index(first), end, term: Term(term), frame };
    let tail = Snapshot::take(LOG, end, i64::try_from(last).unwrap());
    Commit { batch, tail, producers: ProducerChanges::default() }
}

fn submitted(name: &str, sequence: u64, index: u64) -> Submitted {
    let event = Event { index: Index(index), operation: Operation::Add(3), value: i64::try_from(index).unwrap() };
    Submitted { producer: ProducerId::new(name).unwrap(), sequence: Sequence(sequence), event }
}

async fn fill(opened: &mut Opened, first: u64, count: u64, events: u64) {
    for n in 0..count {
        let first = first + n * events;
        opened.writer.append(commit(opened.term.0, first, first + events - 1)).await.unwrap();
    }
}

fn firsts(batches: &[StoredBatch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.first.0).collect()
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_under_a_new_term() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    assert_eq!((store.term, store.tail.position().index), (Term(1), Index::ZERO));
    fill(&mut store, 1, 50, 3).await;
    let mut last = commit(1, 151, 152);
    last.producers.written = vec![submitted("a", 1, 151), submitted("b", 9, 152)];
    store.writer.append(last).await.unwrap();
    let mut more = commit(1, 153, 153);
    more.producers =
        ProducerChanges { written: vec![submitted("a", 2, 153)], forgotten: vec![ProducerId::new("b").unwrap()] };
    store.writer.append(more).await.unwrap();
    drop(store);

    let mut again = SqliteStore::new(options(directory.path()), LogId(999)).open_blocking().unwrap();
    assert_eq!(again.term, Term(2));
    assert_eq!(again.tail, commit(1, 153, 153).tail, "the same log goes on");
    assert_eq!(again.snapshot.position().index, Index(102), "the first end at or after 100");
    assert_eq!(again.producers, [submitted("a", 2, 153)]);
    assert_eq!(again.reader.read(Index(1), usize::MAX).await.unwrap().len(), 52);
    fill(&mut again, 154, 1, 1).await;
    assert_eq!(again.reader.read(Index(154), 1).await.unwrap()[0].term, Term(2));
}

#[tokio::test]
async fn history_and_disk_use_stay_bounded_over_many_compactions() {
    let directory = TempDir::new().unwrap();
    let short = Options { retain: NonZeroU64::new(500).unwrap(), ..options(directory.path()) };
    let mut store = try_open(short).unwrap();
    let size =
        || -> u64 { fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum() };
    let mut sizes = Vec::new();
    let mut floors = std::collections::BTreeSet::new();
    for round in 0..40 {
        for n in 0..500 {
            fill(&mut store, round * 500 + n + 1, 1, 1).await;
            floors.insert(store.reader.floor());
        }
        sizes.push(size());
    }
    assert!(floors.len() > 150, "the floor rose only {} times", floors.len());
    let floor = store.reader.floor().0;
    assert!((19_400..=19_500).contains(&floor), "at least 500 events of 20,000 are kept, and not many more: {floor}");
    assert_eq!(
        store.reader.read(Index(floor), 1).await,
        Err(Compacted { asked: Index(floor), floor: Index(floor) }.into())
    );
    assert_eq!(
        store.reader.digest_at(Index(floor)).await.unwrap(),
        Some(digest(floor)),
        "a replica at the floor resumes"
    );
    assert_eq!(store.reader.digest_at(Index(floor - 1)).await.unwrap(), None);
    let kept = store.reader.read(Index(floor + 1), usize::MAX).await.unwrap();
    assert_eq!((kept.len() as u64, kept[0].first), (20_000 - floor, Index(floor + 1)));
    let (early, late) = (sizes[10..20].iter().max().unwrap(), sizes[30..].iter().max().unwrap());
    assert!(late <= early, "disk use still grows: {sizes:?}");
    drop(store);

    let reader = SqliteReader::open(directory.path()).unwrap();
    assert_eq!(reader.floor(), commit(1, floor, floor).tail);
    let snapshots = reader.snapshots().unwrap();
    assert!((4..=6).contains(&snapshots.len()), "{snapshots:?}");
}

#[tokio::test]
async fn a_second_leader_is_refused_at_once_and_readers_are_not() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 5, 1).await;
    let refused = try_open(options(directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
    let mut reader = SqliteReader::open(directory.path()).unwrap();
    fill(&mut store, 6, 5, 1).await;
    assert_eq!(reader.rows(Index(1), usize::MAX).unwrap().len(), 10);
}

#[tokio::test]
async fn a_log_is_closed_when_its_writer_and_its_readers_are_gone() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 5, 1).await;
    let Opened { writer, reader, .. } = store;
    drop(writer);
    let refused = try_open(options(directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert_eq!(
        reader.read(Index(1), usize::MAX).await.unwrap().len(),
        5,
        "a leader without a writer serves its readers"
    );
    drop(reader);
    assert!(!directory.path().join("log.sqlite-wal").exists(), "it was not closed in order");
    open(directory.path());
}

#[tokio::test]
async fn a_probe_writes_to_the_disk_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 3, 2).await;
    let wal = || fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len();
    let before = wal();
    store.writer.probe().await.unwrap();
    assert!(wal() > before, "only what is written shows that there is room");
    fill(&mut store, 7, 1, 2).await;
    drop(store);

    let again = open(directory.path());
    assert_eq!((again.term, again.tail.position().index), (Term(2), Index(8)));
    assert_eq!(firsts(&again.reader.read(Index(1), 1_000).await.unwrap()), [1, 3, 5, 7]);
}

/// A copy of the files while the log is open, as a crash leaves them.
fn crashed_copy(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_refused_until_somebody_accepts_that() {
    let directory = TempDir::new().unwrap();
    let mut durable = options(directory.path());
    durable.durability = Durability::Fsync;
    let mut store = try_open(durable.clone()).unwrap();
    fill(&mut store, 1, 20, 1).await;
    drop(store);
    let mut store = try_open(durable).unwrap();
    fill(&mut store, 21, 5, 1).await;
    let copy = crashed_copy(directory.path());
    // Cut off in the middle of what was acknowledged, as if it had never been written.
    let wal = copy.path().join("log.sqlite-wal");
    let file = fs::OpenOptions::new().write(true).open(&wal).unwrap();
    file.set_len(fs::metadata(&wal).unwrap().len() / 2).unwrap();

    let before = fs::read(copy.path().join("log.sqlite")).unwrap();
    let refused = try_open(options(copy.path())).unwrap_err();
    // Version 0.1.0 had another name for the file.
    fs::rename(copy.path().join("watermark"), copy.path().join("acknowledged")).unwrap();
    let refused_too = try_open(options(copy.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Lost { .. }), "{refused}");
    let OpenError::Lost { tail, acknowledged, watermark, .. } = &refused_too else { panic!("{refused_too}") };
    assert!(*tail < Index(25) && *acknowledged == Index(25), "{refused_too}");
    assert_eq!(fs::read(copy.path().join("log.sqlite")).unwrap(), before, "nothing was touched");
    assert!(wal.exists() && watermark.ends_with("acknowledged") && watermark.exists());

    fs::remove_file(watermark).unwrap();
    let shortened = try_open(options(copy.path())).unwrap();
    assert_eq!(shortened.tail.position().index, *tail);
}

#[tokio::test]
async fn a_power_cut_may_take_the_end_when_that_was_agreed() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 20, 1).await;
    let copy = crashed_copy(directory.path());
    fs::remove_file(copy.path().join("log.sqlite-wal")).unwrap();
    // Not even the tables had reached the disk.
    let lost = try_open(options(copy.path()));
    assert!(lost.is_err(), "the log's identity is gone, which nobody agreed to");
    drop(store);
    let mut store = open(directory.path());
    fill(&mut store, 21, 5, 1).await;
    let copy = crashed_copy(directory.path());
    fs::remove_file(copy.path().join("log.sqlite-wal")).unwrap();
    assert_eq!(open(copy.path()).tail.position().index, Index(20));
}

#[tokio::test]
async fn an_altered_batch_is_told_to_readers_and_to_the_leader() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 30, 1).await;
    drop(store);
    let path = directory.path().join("log.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(60).position(|window| window == [12; 60]).unwrap();
    bytes[at + 30] ^= 0x40;
    fs::write(&path, bytes).unwrap();

    let mut store = open(directory.path());
    assert_eq!(store.reader.read(Index(1), usize::MAX).await.unwrap().len(), 11, "what comes before is sound");
    let error = store.reader.read(Index(12), usize::MAX).await.unwrap_err();
    let ReadError::Corrupt(damage) = error else { panic!("{error}") };
    assert_eq!(damage.index, Index(12));
    assert_eq!(store.lost.wait().await, damage.into());
}

#[test]
fn what_is_no_log_is_refused_with_a_reason() {
    let directory = TempDir::new().unwrap();
    let missing = SqliteReader::open(directory.path()).unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");

    fs::write(directory.path().join("log.sqlite"), "something else entirely").unwrap();
    for error in [SqliteReader::open(directory.path()).unwrap_err(), try_open(options(directory.path())).unwrap_err()] {
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
    assert_eq!(fs::read(directory.path().join("log.sqlite")).unwrap(), b"something else entirely");

    // An empty file is what is left of a leader that was stopped in its first moment.
    fs::write(directory.path().join("log.sqlite"), "").unwrap();
    drop(open(directory.path()));

    let database = rusqlite::Connection::open(directory.path().join("log.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 2).unwrap();
    drop(database);
    let newer = try_open(options(directory.path())).unwrap_err();
    assert!(matches!(newer, OpenError::Format { found: 2, known: 1, .. }), "{newer}");
}

/// Whether this process holds a POSIX lock on the database, by which other programs know that it is in use.
#[cfg(target_os = "linux")]
fn is_locked(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let inode = format!(":{}", fs::metadata(directory.join("log.sqlite")).unwrap().ino());
    let process = std::process::id().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.contains(&"POSIX") && words.contains(&process.as_str()) && words.iter().any(|word| word.ends_with(&inode))
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_leader_that_also_looks_into_its_log_keeps_sqlites_locks_on_it() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 5, 1).await;
    assert!(is_locked(directory.path()));
    // Without them, a program with an older SQLite that opens and closes the database takes itself for the last one, and
    // deletes the write-ahead log that the leader writes to.
    drop(SqliteReader::open(directory.path()).unwrap());
    store.reader.read(Index(1), 1).await.unwrap();
    assert!(is_locked(directory.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_bounded_while_everybody_reads() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 2_000, 1).await;
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let reader = std::sync::Arc::clone(&store.reader);
            tokio::spawn(async move {
                loop {
                    reader.read(Index(1), 1 << 20).await.unwrap();
                }
            })
        })
        .collect();
    let wal = directory.path().join("log.sqlite-wal");
    let mut longest = 0;
    for n in 0..6_000 {
        fill(&mut store, 2_001 + n, 1, 1).await;
        longest = longest.max(fs::metadata(&wal).unwrap().len());
    }
    for reader in reading {
        reader.abort();
    }
    println!("the write-ahead log had at most {} KiB", longest >> 10);
    // What is committed while the reads under way end comes on top of 32 MiB.
    assert!(longest < 80 << 20, "{longest}");
}

/// Bytes that the database may use in the tests of that bound.
const BOUND: u64 = 1 << 20;

fn bounded(directory: &Path) -> Options {
    // No snapshot would be due for its number of events.
    Options { snapshot_every: NonZeroU64::MAX, retain_bytes: NonZeroU64::new(BOUND), ..options(directory) }
}

#[tokio::test]
async fn a_bound_on_bytes_holds_for_the_file_however_far_apart_snapshots_would_be() {
    let directory = TempDir::new().unwrap();
    let mut store = try_open(bounded(directory.path())).unwrap();
    let mut first = 1;
    let mut floors = std::collections::BTreeSet::new();
    while first < 60_000 {
        // Batches of all sizes, some larger than a page.
        let length = [60, 200, 3_000, 9_000][usize::try_from(first).unwrap() % 4];
        let mut next = commit(1, first, first + 6);
        next.batch.frame = Bytes::from(vec![1; length]);
        store.writer.append(next).await.unwrap();
        first += 7;
        floors.insert(store.reader.floor());
        let size = store.reader.size().unwrap();
        assert!(size.history <= BOUND + BOUND / 16 && size.file <= BOUND + BOUND / 16, "{size:?}");
        if floors.len() > 1 {
            assert!(size.history >= BOUND * 3 / 4, "{size:?}");
        }
    }
    assert!(floors.len() > 100, "the floor rose only {} times", floors.len());
    drop(store);
    let file = fs::metadata(directory.path().join("log.sqlite")).unwrap().len();
    assert!(file <= BOUND + BOUND / 16, "{file}");
}

#[tokio::test]
async fn a_log_that_is_opened_with_a_smaller_bound_shrinks_to_it_and_uses_its_file_again() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    fill(&mut store, 1, 40_000, 1).await;
    let before = store.reader.size().unwrap();
    assert!(before.history > 3 * BOUND, "{before:?}");
    drop(store);

    let mut store = try_open(bounded(directory.path())).unwrap();
    assert_eq!(store.reader.size().unwrap().history, before.history, "known before the first commit");
    fill(&mut store, 40_001, 2_000, 1).await;
    let size = store.reader.size().unwrap();
    assert!(size.history <= BOUND && size.history >= BOUND * 3 / 4, "{size:?}");
    assert_eq!(size.file, before.file, "the file neither shrinks nor grows");
    let kept = store.reader.read(store.reader.floor().next(), usize::MAX).await.unwrap();
    assert_eq!(kept.last().unwrap().end.index, Index(42_000));
}

#[tokio::test]
async fn the_newest_batch_stays_even_if_it_is_larger_than_the_bound() {
    let directory = TempDir::new().unwrap();
    let mut store = try_open(Options { retain_bytes: Some(NonZeroU64::MIN), ..options(directory.path()) }).unwrap();
    for first in 1..20 {
        fill(&mut store, first, 1, 1).await;
        let floor = store.reader.floor();
        let kept = store.reader.read(floor.next(), usize::MAX).await.unwrap();
        assert!((1..=2).contains(&kept.len()), "{} batches", kept.len());
        assert_eq!(kept.last().unwrap().first, Index(first));
    }
}

#[tokio::test]
async fn the_size_follows_the_write_ahead_log() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    let wal = || fs::metadata(directory.path().join("log.sqlite-wal")).unwrap().len();
    fill(&mut store, 1, 10, 1).await;
    let short = store.reader.size().unwrap();
    fill(&mut store, 11, 50, 1).await;
    let size = store.reader.size().unwrap();
    assert_eq!(size.write_ahead, wal());
    assert!(size.write_ahead > short.write_ahead && size.history > short.history, "{short:?}, {size:?}");
}
