//! What readers see.

use std::cell::Cell;
use std::sync::Arc;

use engine::{Digest, Index};

use super::model::{FRAME, Model, digest, read};
use super::{Setup, open};
use crate::{Opened, Store, StoredBatch};

/// Batches with the events 1 to 3, 4, 5 to 9.
async fn three_batches(place: &impl Store) -> (Opened, Model) {
    let mut opened = open(place).await;
    let mut model = Model::of(&opened);
    model.fill(&mut opened, [3, 1, 5]).await;
    (opened, model)
}

fn firsts(batches: &[StoredBatch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.first.0).collect()
}

/// The first batch that a read gives is the one that holds the event, wherever in the batch it is.
pub async fn a_read_starts_at_the_batch_that_holds_the_event<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let (opened, _) = three_batches(&place).await;
    for (from, expected) in [(1, 1), (2, 1), (3, 1), (4, 4), (5, 5), (7, 5), (9, 5)] {
        let found = read(&*opened.reader, Index(from), usize::MAX).await;
        assert_eq!(found[0].first, Index(expected), "reading at {from}");
    }
}

/// A read gives consecutive batches up to `max_bytes` of frames, and one batch even if that is larger.
pub async fn a_read_gives_what_fits_and_at_least_one_batch<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let (opened, _) = three_batches(&place).await;
    for (from, max_bytes, expected) in [
        (1, usize::MAX, &[1, 4, 5][..]),
        (1, 3 * FRAME, &[1, 4, 5]),
        (1, 3 * FRAME - 1, &[1, 4]),
        (2, 2 * FRAME, &[1, 4]),
        (2, FRAME, &[1]),
        (4, 1, &[4]),
        (9, 0, &[5]),
    ] {
        let found = read(&*opened.reader, Index(from), max_bytes).await;
        assert_eq!(firsts(&found), expected, "reading {max_bytes} bytes at {from}");
    }
}

/// A read beyond the tail is no error.
pub async fn a_read_beyond_the_tail_gives_nothing<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let (opened, _) = three_batches(&place).await;
    for from in [10, 11, 1_000_000] {
        assert_eq!(read(&*opened.reader, Index(from), usize::MAX).await, []);
    }
}

/// A digest is known at index 0 and where a batch ends; not inside a batch and not beyond the tail.
pub async fn digests_are_known_where_batches_end<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let (opened, _) = three_batches(&place).await;
    for index in 0..=12 {
        let expected = match index {
            0 => Some(Digest::of_log(opened.tail.log())),
            3 | 4 | 9 => Some(digest(index)),
            _ => None,
        };
        assert_eq!(opened.reader.digest_at(Index(index)).await, Ok(expected), "at {index}");
    }
}

/// The state at an index is that of the last batch that ends at or before it; beyond the tail, that of the tail.
pub async fn states_are_known_where_batches_end<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let (mut opened, model) = three_batches(&place).await;
    for _ in 0..2 {
        for index in [0, 1, 2, 3, 4, 5, 8, 9, 10, 1_000_000] {
            assert_eq!(opened.reader.snapshot_at(Index(index)).await, Ok(model.state_at(Index(index))), "at {index}");
        }
        drop(opened);
        opened = open(&place).await;
    }
}

/// Reads beside the writer succeed, and each sees a beginning of the log without a gap.
pub async fn readers_go_on_while_commits_are_made<S: Store>(make: &impl Fn(Setup) -> S) {
    const COMMITS: usize = 60;

    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let reader = Arc::clone(&opened.reader);
    let mut model = Model::of(&opened);
    let is_written = Cell::new(false);
    let reading = async {
        let mut seen: Vec<Vec<StoredBatch>> = Vec::new();
        loop {
            let is_last = is_written.get();
            seen.push(read(&*reader, Index(1), usize::MAX).await);
            if is_last {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    let writing = async {
        for _ in 0..COMMITS {
            model.fill(&mut opened, [2]).await;
            tokio::task::yield_now().await;
        }
        is_written.set(true);
    };
    let ((), seen) = tokio::join!(writing, reading);
    let batches = model.batches();
    for found in &seen {
        assert!(batches.starts_with(found), "a reader saw something else than a beginning of the log");
    }
    assert!(seen.is_sorted_by_key(Vec::len), "a later read saw less");
    assert_eq!(seen.last(), Some(&batches));
    assert!(seen.len() > 2, "no read was made beside the commits");
}
