//! A log whose files are removed, moved or replaced under the leader that writes to it, and one that only looks so.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::{Digest, Durability, Index, LogId, Position, ProducerChanges, Snapshot};
use store::sqlite::{Options, SqliteReader, SqliteStore};
use store::{AppendError, Commit, Opened, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(7);

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Fsync,
        snapshot_every: NonZeroU64::new(100).unwrap(),
        retain: NonZeroU64::new(1_000).unwrap(),
        retain_bytes: None,
    }
}

fn open(options: Options) -> Opened {
    SqliteStore::new(options, LOG).open_blocking().unwrap()
}

fn commit(store: &Opened, index: u64) -> Commit {
    let end = Position { index: Index(index), digest: Digest(index * 10) };
    let batch = StoredBatch { first: Index(index), end, term: store.term, frame: Bytes::from_static(b"a frame") };
    Commit { batch, tail: Snapshot::take(LOG, end, 5), producers: ProducerChanges::default() }
}

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What happens to the files in the directory `log` of `parent`.
type Happens = fn(parent: &Path, log: &Path);

const REPLACED: [(&str, Happens); 9] = [
    ("removed", |_, log| fs::remove_dir_all(log).unwrap()),
    ("moved away", |parent, log| fs::rename(log, parent.join("elsewhere")).unwrap()),
    ("moved away, and an empty one made", |parent, log| {
        fs::rename(log, parent.join("elsewhere")).unwrap();
        fs::create_dir(log).unwrap();
    }),
    ("replaced by an equal copy", |parent, log| {
        let copy = parent.join("copy");
        fs::create_dir(&copy).unwrap();
        copy_files(log, &copy);
        fs::rename(log, parent.join("elsewhere")).unwrap();
        fs::rename(copy, log).unwrap();
    }),
    ("database replaced", |parent, log| {
        fs::copy(log.join("log.sqlite"), parent.join("copy")).unwrap();
        fs::rename(parent.join("copy"), log.join("log.sqlite")).unwrap();
    }),
    ("database removed", |_, log| fs::remove_file(log.join("log.sqlite")).unwrap()),
    ("write-ahead log removed", |_, log| fs::remove_file(log.join("log.sqlite-wal")).unwrap()),
    ("its index removed", |_, log| fs::remove_file(log.join("log.sqlite-shm")).unwrap()),
    ("watermark removed", |_, log| fs::remove_file(log.join("watermark")).unwrap()),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_after_files_were_replaced() {
    for (what, happens) in REPLACED {
        let parent = TempDir::new().unwrap();
        let log = parent.path().join("log");
        let mut store = open(options(&log));
        {
            let next = commit(&store, 1);
            store.writer.append(next)
        }
        .await
        .unwrap();
        happens(parent.path(), &log);
        let refused = {
            let next = commit(&store, 2);
            store.writer.append(next)
        }
        .await;
        assert!(matches!(refused, Err(AppendError::Replaced(_))), "{what}: {refused:?}");
        let lost = tokio::time::timeout(Duration::from_secs(1), store.lost.wait()).await;
        assert!(matches!(lost, Ok(AppendError::Replaced(_))), "{what}: {lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_like_it_and_is_not_disturbs_nobody() {
    let parent = TempDir::new().unwrap();
    fs::create_dir(parent.path().join("real")).unwrap();
    let linked = parent.path().join("linked");
    std::os::unix::fs::symlink("real", &linked).unwrap();
    let mut store = open(options(&linked));
    let started = Instant::now();
    let mut index = 0;
    while started.elapsed() < Duration::from_millis(1_500) {
        index += 1;
        {
            let next = commit(&store, index);
            store.writer.append(next)
        }
        .await
        .unwrap();
        if index % 50 == 0 {
            // A copy for a backup, one that reads as this program does, and one that tidies up as SQLite's own does.
            let backup = TempDir::new().unwrap();
            drop(SqliteReader::open(&linked).unwrap());
            let program = rusqlite::Connection::open(linked.join("log.sqlite")).unwrap();
            program.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            program.execute("VACUUM INTO ?1", [backup.path().join("copy").to_str().unwrap()]).unwrap();
        }
    }
    let lost = tokio::time::timeout(Duration::from_millis(600), store.lost.wait()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_the_write_ahead_log_was_removed_is_rescued_at_the_end() {
    let directory = TempDir::new().unwrap();
    let mut store = open(options(directory.path()));
    for index in 1..=20 {
        {
            let next = commit(&store, index);
            store.writer.append(next)
        }
        .await
        .unwrap();
    }
    fs::remove_file(directory.path().join("log.sqlite-wal")).unwrap();
    tokio::time::timeout(Duration::from_secs(2), store.lost.wait()).await.unwrap();
    drop(store);
    let again = open(options(directory.path()));
    assert_eq!(again.tail.position().index, Index(20));
}

/// A directory by a relative path, as `--data-dir` often is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relative_path_is_as_good_as_another() {
    let directory = TempDir::new_in(".").unwrap();
    let relative = PathBuf::from(directory.path().file_name().unwrap());
    let mut store = open(options(&relative));
    {
        let next = commit(&store, 1);
        store.writer.append(next)
    }
    .await
    .unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(600), store.lost.wait()).await.is_err());
}
