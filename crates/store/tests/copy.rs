//! Copies of a log, and logs that are made from them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use engine::{Digest, Durability, Index, LogId, Position, ProducerChanges, Snapshot, Term};
use store::sqlite::{Cause, OpenError, Options, RestoreError, Restoring, SqliteReader, SqliteStore};
use store::{Commit, Opened, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(7);

fn open(directory: &Path) -> Result<Opened, OpenError> {
    let options = Options {
        directory: directory.to_owned(),
        durability: Durability::Os,
        snapshot_every: NonZeroU64::new(100).unwrap(),
        retain: NonZeroU64::MAX,
        retain_bytes: None,
    };
    SqliteStore::new(options, LOG).open_blocking()
}

async fn append(store: &mut Opened, index: u64) {
    let end = Position { index: Index(index), digest: Digest(index * 10) };
    let frame = Bytes::from(index.to_be_bytes().repeat(20));
    let batch = StoredBatch { first: Index(index), end, term: store.term, frame };
    let commit = Commit { batch, tail: Snapshot::take(LOG, end, 5), producers: ProducerChanges::default() };
    store.writer.append(commit).await.unwrap();
}

/// A closed log of `events` events.
async fn closed(events: u64) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path()).unwrap();
    for index in 1..=events {
        append(&mut store, index).await;
    }
    directory
}

fn copy(from: &Path, restoring: &Restoring) {
    SqliteReader::open(from).unwrap().copy_to(&restoring.database()).unwrap();
}

/// A copy in several steps would begin again with each commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_finished_while_commits_are_made_without_a_pause() {
    let directory = closed(10_000).await;
    let mut store = open(directory.path()).unwrap();
    append(&mut store, 10_001).await;
    let is_copied = AtomicBool::new(false);
    let (path, elsewhere) = (directory.path().to_owned(), TempDir::new().unwrap());
    let to = elsewhere.path().join("log.sqlite");
    let (ends, committed) = tokio::join!(
        async {
            let copying = tokio::task::spawn_blocking(move || {
                (0..3)
                    .map(|_| {
                        let _ = fs::remove_file(&to);
                        SqliteReader::open(&path).unwrap().copy_to(&to).unwrap();
                        SqliteReader::open(to.parent().unwrap()).unwrap().tail().position()
                    })
                    .collect::<Vec<_>>()
            });
            let ends = copying.await.unwrap();
            is_copied.store(true, Ordering::Release);
            ends
        },
        async {
            let mut index = 10_001;
            while !is_copied.load(Ordering::Acquire) {
                index += 1;
                append(&mut store, index).await;
            }
            index
        }
    );
    assert!(committed > 10_100, "only {committed} events were committed meanwhile");
    assert!(ends.is_sorted_by_key(|end| end.index) && ends[2].index.0 <= committed, "{ends:?}");
    let mut copied = SqliteReader::open(elsewhere.path()).unwrap();
    for end in ends {
        assert_eq!(copied.digest_at(end.index), Ok(Some(Digest(end.index.0 * 10))));
    }
}

#[tokio::test]
async fn a_restored_log_has_the_term_that_it_was_given_and_the_next_leader_the_one_after() {
    let lost = closed(50).await;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("made/for/it");
    let restoring = Restoring::begin(&directory).unwrap();
    copy(lost.path(), &restoring);
    let refused = open(&directory).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "no leader begins a log meanwhile: {refused}");
    restoring.finish(Term(1 << 40)).unwrap();

    let reader = SqliteReader::open(&directory).unwrap();
    assert_eq!((reader.log(), reader.term(), reader.tail().position().index), (LOG, Term(1 << 40), Index(50)));
    let mut store = open(&directory).unwrap();
    assert_eq!(store.term, Term((1 << 40) + 1));
    append(&mut store, 51).await;
    assert_eq!(store.writer.probe().await, Ok(()));
}

#[tokio::test]
async fn a_restore_that_is_not_finished_leaves_no_log_and_can_be_begun_again() {
    let lost = closed(50).await;
    let directory = TempDir::new().unwrap();
    for _ in 0..2 {
        let restoring = Restoring::begin(directory.path()).unwrap();
        copy(lost.path(), &restoring);
        drop(restoring);
        let missing = SqliteReader::open(directory.path()).unwrap_err();
        assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    }
    let restoring = Restoring::begin(directory.path()).unwrap();
    copy(lost.path(), &restoring);
    let refused = restoring.finish(Term(1)).unwrap_err();
    assert!(matches!(refused, RestoreError::TermTooLow { asked: Term(1), held: Term(1) }), "{refused}");

    // As if the process had been killed.
    fs::create_dir(directory.path().join("restoring")).unwrap();
    fs::write(directory.path().join("restoring/log.sqlite"), "half of it").unwrap();
    let restoring = Restoring::begin(directory.path()).unwrap();
    copy(lost.path(), &restoring);
    restoring.finish(Term(2)).unwrap();
    assert!(!directory.path().join("restoring").exists());
    let occupied = Restoring::begin(directory.path()).unwrap_err();
    assert!(matches!(&occupied, RestoreError::Occupied { file } if file.ends_with("log.sqlite")), "{occupied}");
}

#[tokio::test]
async fn a_copy_to_where_nothing_can_be_written_says_so() {
    let lost = closed(5).await;
    let reader = SqliteReader::open(lost.path()).unwrap();
    let refused = reader.copy_to(&lost.path().join("no/such/place")).unwrap_err();
    assert_eq!(refused.problem.cause, Cause::NotPermitted, "{refused}");
    assert!(refused.to_string().starts_with("cannot copy the log to "), "{refused}");
}
