//! Damage in old history: it is told where it is, and everything else goes on.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use bytes::Bytes;
use engine::{Digest, Durability, Index, LogId, Position, ProducerChanges, Snapshot};
use store::sqlite::{Options, SqliteStore};
use store::{Commit, Opened, ReadError, StoredBatch};
use tempfile::TempDir;

const LOG: LogId = LogId(7);
const PAGE: usize = 4_096;
const EVENTS: u64 = 3_000;

fn options(directory: &Path, retain: u64) -> Options {
    Options {
        directory: directory.to_owned(),
        durability: Durability::Os,
        snapshot_every: NonZeroU64::new(100).unwrap(),
        retain: NonZeroU64::new(retain).unwrap(),
        retain_bytes: None,
    }
}

fn open(options: Options) -> Opened {
    SqliteStore::new(options, LOG).open_blocking().unwrap()
}

fn frame(index: u64) -> Bytes {
    Bytes::from(index.to_be_bytes().repeat(8))
}

async fn fill(store: &mut Opened, events: std::ops::RangeInclusive<u64>) {
    for index in events {
        let end = Position { index: Index(index), digest: Digest(index * 10) };
        let batch = StoredBatch { first: Index(index), end, term: store.term, frame: frame(index) };
        let commit = Commit { batch, tail: Snapshot::take(LOG, end, 5), producers: ProducerChanges::default() };
        store.writer.append(commit).await.unwrap();
    }
}

/// A closed log, and what `alter` makes of the page in which the event at `index` is.
async fn log_with(index: u64, alter: impl Fn(&mut [u8])) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = open(options(directory.path(), u64::MAX));
    fill(&mut store, 1..=EVENTS).await;
    drop(store);
    let path = directory.path().join("log.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == frame(index)).unwrap();
    alter(&mut bytes[at / PAGE * PAGE..][..PAGE]);
    fs::write(&path, bytes).unwrap();
    directory
}

/// Reads everything that can be read, and returns what cannot.
async fn lost(store: &mut Opened) -> Vec<u64> {
    let mut lost = Vec::new();
    let mut next = 1;
    while next <= EVENTS {
        match store.reader.read(Index(next), 10_000).await {
            Ok(batches) => {
                for batch in batches {
                    assert_eq!((batch.first.0, &batch.frame), (next, &frame(next)));
                    next += 1;
                }
            }
            Err(ReadError::Corrupt(damage)) => {
                assert_eq!(damage.index, Index(next));
                lost.push(next);
                next += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    lost
}

#[tokio::test]
async fn a_page_that_is_lost_takes_its_events_and_no_others() {
    let directory = log_with(1_500, |page| page.fill(0)).await;
    let mut store = open(options(directory.path(), u64::MAX));
    let lost = lost(&mut store).await;
    assert!(lost.contains(&1_500) && lost.len() > 10 && lost.len() < 100, "{lost:?}");
    let damage = store.reader.damage();
    let (first, last) = (damage[0].first, damage[0].last);
    assert_eq!((damage.len(), first.0, last.0), (1, lost[0], *lost.last().unwrap()), "{damage:?}");
    assert_eq!(last.events_since(first) + 1, lost.len() as u64, "they are consecutive");
    // Those beside it are known by their digests, and the last one of it by what comes after.
    for (index, known) in [(lost[0] - 1, true), (1_500, false), (last.0, true), (last.0 + 1, true)] {
        let digest = store.reader.digest_at(Index(index)).await;
        assert_eq!(digest.is_ok(), known, "{index}: {digest:?}");
        assert!(!known || digest == Ok(Some(Digest(index * 10))));
    }
    // A state is that of a readable batch, or damaged.
    for (index, known) in [(lost[0] - 1, true), (1_500, false), (last.0 + 1, true), (EVENTS, true)] {
        let state = store.reader.snapshot_at(Index(index)).await;
        assert_eq!(state.is_ok(), known, "{index}: {state:?}");
        assert!(!known || state.is_ok_and(|state| state.position().index == Index(index)));
    }
    assert_eq!(store.reader.damage(), damage, "the same events");
    let ended = tokio::time::timeout(std::time::Duration::from_millis(400), store.lost.wait()).await;
    assert!(ended.is_err(), "{ended:?}");
    fill(&mut store, EVENTS + 1..=EVENTS + 10).await;
}

/// Rows that say that they are elsewhere lead a search astray, also one for where the damage begins.
#[tokio::test]
async fn a_row_that_claims_to_be_another_takes_no_more_than_its_page() {
    for claimed in [1_u16, 40, 1_000, 2_900] {
        // The key in front of the row, as SQLite writes numbers from 128 to 16,383, and forces smaller ones to be written.
        let key = |last: u16| [0x80 | u8::try_from(last >> 7).unwrap(), u8::try_from(last & 0x7f).unwrap()];
        let directory = log_with(1_500, |page| {
            let at = page.windows(2).position(|window| window == key(1_500)).unwrap();
            page[at..at + 2].copy_from_slice(&key(claimed));
        })
        .await;
        let mut store = open(options(directory.path(), u64::MAX));
        let lost = lost(&mut store).await;
        let near = 1_400..=1_600;
        assert!(lost.contains(&1_500) && lost.iter().all(|index| near.contains(index)), "{claimed}: {lost:?}");
        let damage = store.reader.damage();
        assert!(damage.iter().all(|place| near.contains(&place.first.0) && near.contains(&place.last.0)), "{damage:?}");
    }
}

#[tokio::test]
async fn a_damaged_page_below_the_floor_stops_nobody() {
    let directory = log_with(500, |page| page.fill(0)).await;
    let mut store = open(options(directory.path(), 1_000));
    fill(&mut store, EVENTS + 1..=EVENTS + 300).await;
    assert!(store.reader.floor() > Index(2_000));
    assert_eq!(store.reader.damage(), []);
    drop(store);
    let mut store = open(options(directory.path(), 1_000));
    fill(&mut store, EVENTS + 301..=EVENTS + 310).await;
}

/// The room of rows that cannot be deleted is not taken from newer history.
#[tokio::test]
async fn a_damaged_page_that_cannot_be_deleted_costs_no_further_history() {
    let directory = log_with(500, |page| page.fill(0)).await;
    let bounded = Options { retain_bytes: NonZeroU64::new(100_000), ..options(directory.path(), u64::MAX) };
    let mut store = open(bounded);
    // Row after row is deleted, up to the damaged page.
    fill(&mut store, EVENTS + 1..=EVENTS + 300).await;
    let floor = store.reader.floor();
    assert!((500..1_000).contains(&floor.0), "{floor}");
    fill(&mut store, EVENTS + 301..=EVENTS + 600).await;
    assert_eq!(store.reader.floor(), floor);
}

#[tokio::test]
async fn damage_after_the_newest_snapshot_ends_the_leader() {
    let directory = log_with(1, |_| {}).await;
    let options = Options { snapshot_every: NonZeroU64::MAX, ..options(directory.path(), u64::MAX) };
    let mut store = open(options.clone());
    fill(&mut store, EVENTS + 1..=EVENTS + 50).await;
    drop(store);
    // The frame of an event after the newest snapshot.
    let path = directory.path().join("log.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == frame(EVENTS + 20)).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut store = open(options);
    let read = store.reader.read(Index(EVENTS + 20), 1).await.unwrap_err();
    let ReadError::Corrupt(damage) = read else { panic!("{read}") };
    assert_eq!(store.lost.wait().await, damage.into());
}
