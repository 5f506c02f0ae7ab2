//! What a log is built on when it is opened is on the disk, and not only in the system's memory.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use engine::{Digest, Durability, Index, LogId, Position, ProducerChanges, Snapshot, Term};
use rusqlite::Connection;
use store::sqlite::{OpenError, Options, SqliteReader, SqliteStore};
use store::{Commit, Opened, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(7);
const EVENTS: u64 = 20;

fn open(directory: &Path) -> Result<Opened, OpenError> {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(100).unwrap(),
        retain: NonZeroU64::new(1_000).unwrap(),
        retain_bytes: None,
    };
    SqliteStore::new(options, LOG).open_blocking()
}

/// A log as a leader leaves it that was killed: all of it is in the write-ahead log.
async fn killed() -> TempDir {
    let (directory, left) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut store = open(directory.path()).unwrap();
    for index in 1..=EVENTS {
        let end = Position { index: Index(index), digest: Digest(index * 10) };
        let batch = StoredBatch { first: Index(index), end, term: store.term, frame: Bytes::from_static(b"a frame") };
        let commit = Commit { batch, tail: Snapshot::take(LOG, end, 5), producers: ProducerChanges::default() };
        store.writer.append(commit).await.unwrap();
    }
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    left
}

#[tokio::test]
async fn what_the_write_ahead_log_held_is_written_anew_before_the_term_is_taken() {
    let directory = killed().await;
    let store = open(directory.path()).unwrap();
    assert_eq!((store.term, store.tail.position().index), (Term(2), Index(EVENTS)));

    // The database alone, without what was written to the write-ahead log since.
    let alone = TempDir::new().unwrap();
    fs::copy(directory.path().join("log.sqlite"), alone.path().join("log.sqlite")).unwrap();
    let reader = SqliteReader::open(alone.path()).unwrap();
    assert_eq!((reader.term(), reader.tail().position().index), (Term(1), Index(EVENTS)));
}

#[tokio::test]
async fn files_that_cannot_be_forced_to_the_disk_are_refused_and_left_alone() {
    let directory = killed().await;
    for name in ["log.sqlite-wal", "log.sqlite", "watermark"] {
        let (path, aside) = (directory.path().join(name), directory.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        // A device without a disk behind it.
        symlink("/dev/null", &path).unwrap();
        let refused = open(directory.path()).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, OpenError::NotForced { .. }), "{text}");
        for words in [name, "cannot be forced to the disk: Invalid argument"] {
            assert!(text.contains(words), "{text}");
        }
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(open(directory.path()).unwrap().term, Term(2), "a refused start takes no term");
}

#[tokio::test]
async fn nobody_leads_while_a_long_read_keeps_the_log_from_being_written_anew() {
    let directory = killed().await;
    let reading = Connection::open(directory.path().join("log.sqlite")).unwrap();
    reading.execute_batch("BEGIN; SELECT term FROM state").unwrap();
    let refused = open(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("another program has been reading it"), "{refused}");
    reading.execute_batch("COMMIT").unwrap();
    assert_eq!(open(directory.path()).unwrap().term, Term(2), "a refused start takes no term");
}
