//! A log in memory: gone with the process, bounded in length.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use engine::{Digest, Durability, Index, LogId, Position, Snapshot, Submitted, Term};

use crate::{AppendError, Commit, Compacted, NotNext, ReadError, Store, StoredBatch};

/// Keeps the newest events in memory. Each one is a new log with a new id.
#[derive(Debug)]
pub struct MemoryStore {
    log: LogId,
    /// How many events are kept at least, as far as there are that many.
    retain: u64,
    /// A std lock: it is held for a few pointer moves and never across an await.
    history: RwLock<History>,
}

#[derive(Debug)]
struct History {
    /// Without a hole; the first follows `floor`, the last ends at the tail.
    batches: VecDeque<StoredBatch>,
    floor: Position,
}

impl MemoryStore {
    /// A new, empty log that keeps at least the newest `retain` events (one batch at the least).
    #[must_use]
    pub fn new(log: LogId, retain: u64) -> Self {
        let history = History { batches: VecDeque::new(), floor: Position::origin(log) };
        Self { log, retain, history: RwLock::new(history) }
    }

    fn history(&self) -> RwLockReadGuard<'_, History> {
        // A panic while the lock was held cannot have left anything half done: see `append`.
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History {
    fn tail(&self) -> Position {
        self.batches.back().map_or(self.floor, |batch| batch.end)
    }

    /// Where in `batches` the event at `index` is; beyond the end if it is not there yet.
    fn find(&self, index: Index) -> usize {
        self.batches.partition_point(|batch| batch.end.index < index)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn term(&self) -> Term {
        // Nobody else can ever open it.
        Term(1)
    }

    fn opened_at(&self) -> Snapshot {
        Snapshot::take(self.log, Position::origin(self.log), 0)
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }

    fn producers(&self) -> Vec<Submitted> {
        // The leader remembers them while the log lives.
        Vec::new()
    }

    async fn append(&self, Commit { batch, .. }: Commit) -> Result<(), AppendError> {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let tail = history.tail().index;
        if batch.first != tail.next() {
            return Err(NotNext { tail, got: batch.first }.into());
        }
        let new_tail = batch.end.index;
        history.batches.push_back(batch);
        while let Some(end) = history.batches.front().map(|oldest| oldest.end)
            && history.batches.len() > 1
            && new_tail.events_since(end.index) >= self.retain
        {
            history.floor = end;
            history.batches.pop_front();
        }
        Ok(())
    }

    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let history = self.history();
        let floor = history.floor.index;
        if from <= floor {
            return Err(Compacted { asked: from, floor }.into());
        }
        let mut bytes = 0;
        let batches = history.batches.range(history.find(from)..).take_while(|batch| {
            let first = bytes == 0;
            bytes += batch.frame.len();
            first || bytes <= max_bytes
        });
        Ok(batches.cloned().collect())
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        let history = self.history();
        if index == history.floor.index {
            return Ok(Some(history.floor.digest));
        }
        let batch = history.batches.get(history.find(index));
        Ok(batch.filter(|batch| batch.end.index == index).map(|batch| batch.end.digest))
    }

    fn floor(&self) -> Index {
        self.history().floor.index
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use engine::ProducerChanges;

    use super::*;

    fn commit(first: u64, last: u64) -> Commit {
        let batch = StoredBatch {
            first: Index(first),
            end: Position { index: Index(last), digest: Digest(last * 10) },
            term: Term(1),
            frame: Bytes::from(vec![0; 100]),
        };
        Commit { tail: Snapshot::take(LogId(1), batch.end, 0), batch, producers: ProducerChanges::default() }
    }

    async fn store_with(retain: u64, batches: &[(u64, u64)]) -> MemoryStore {
        let store = MemoryStore::new(LogId(1), retain);
        for &(first, last) in batches {
            store.append(commit(first, last)).await.unwrap();
        }
        store
    }

    fn firsts(batches: &[StoredBatch]) -> Vec<u64> {
        batches.iter().map(|batch| batch.first.0).collect()
    }

    #[tokio::test]
    async fn reads_start_at_the_batch_that_holds_the_event_and_stop_at_the_limit() {
        let store = store_with(1_000, &[(1, 3), (4, 4), (5, 9)]).await;
        assert_eq!(firsts(&store.read(Index(1), 1_000).await.unwrap()), [1, 4, 5]);
        assert_eq!(firsts(&store.read(Index(2), 200).await.unwrap()), [1, 4]);
        assert_eq!(firsts(&store.read(Index(9), 1).await.unwrap()), [5], "one batch always fits");
        assert_eq!(firsts(&store.read(Index(10), 1_000).await.unwrap()), []);
    }

    #[tokio::test]
    async fn a_batch_that_does_not_follow_the_tail_is_refused() {
        let store = store_with(1_000, &[(1, 3)]).await;
        for first in [3, 5] {
            let error = store.append(commit(first, 9)).await.unwrap_err();
            assert_eq!(error, NotNext { tail: Index(3), got: Index(first) }.into());
        }
        assert_eq!(firsts(&store.read(Index(1), 1_000).await.unwrap()), [1]);
    }

    #[tokio::test]
    async fn digests_are_known_where_batches_end() {
        let store = store_with(1_000, &[(1, 3), (4, 4)]).await;
        let mut digests = Vec::new();
        for index in 0..=5 {
            digests.push(store.digest_at(Index(index)).await.unwrap().map(|digest| digest.0));
        }
        assert_eq!(digests, [Some(Digest::of_log(LogId(1)).0), None, None, Some(30), Some(40), None]);
    }

    #[tokio::test]
    async fn the_oldest_events_go_and_the_floor_says_so() {
        let store = store_with(4, &[(1, 3), (4, 4), (5, 6), (7, 8)]).await;
        assert_eq!(store.floor(), Index(4));
        assert_eq!(store.read(Index(4), 1_000).await, Err(Compacted { asked: Index(4), floor: Index(4) }.into()));
        assert_eq!(firsts(&store.read(Index(5), 1_000).await.unwrap()), [5, 7]);
        assert_eq!(store.digest_at(Index(4)).await.unwrap(), Some(Digest(40)), "a replica at the floor can resume");
        assert_eq!(store.digest_at(Index(3)).await.unwrap(), None);
    }
}
