//! A log in memory: gone with the process, bounded in length.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use engine::{Digest, Durability, Index, LogId, Position, ProducerId, Snapshot, Submitted, Term};

use crate::{
    AppendError, Commit, Compacted, Fenced, LogReader, LogSize, LogWriter, Lost, LostSender, NotNext, Opened,
    ReadError, Store, StoredBatch,
};

/// A log in this process's memory. Cheap to clone: all clones are the same place.
///
/// Each new one is a new log. It can be opened again as long as a clone exists.
///
/// ```
/// use engine::LogId;
/// use store::{MemoryStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let place = MemoryStore::new(LogId(1), 1_000);
/// let first = place.open().await.unwrap();
/// let second = place.clone().open().await.unwrap();
/// assert_eq!((first.term.0, second.term.0), (1, 2));
/// assert!(first.lost.reason().is_some(), "the second opening replaced the first");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    log: Arc<Log>,
}

#[derive(Debug)]
struct Log {
    id: LogId,
    /// How many of the newest events are kept at least, as far as `retain_bytes` allows.
    retain: u64,
    /// How many bytes the batches may take.
    retain_bytes: u64,
    /// A std lock: it is held for a few pointer moves and never across an await.
    contents: RwLock<Contents>,
}

#[derive(Debug)]
struct Contents {
    term: Term,
    /// Reaches the leader of `term`.
    lost: LostSender,
    floor: Snapshot,
    /// Without a gap: the first follows `floor`, the last ends at `tail`.
    batches: VecDeque<Kept>,
    /// What they take.
    bytes: u64,
    tail: Snapshot,
    producers: BTreeMap<ProducerId, Submitted>,
}

/// A batch and the value after it.
#[derive(Debug)]
struct Kept {
    batch: StoredBatch,
    value: i64,
}

impl Kept {
    /// Bytes in memory, without what the allocator adds.
    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.batch.frame.len()) as u64
    }
}

impl MemoryStore {
    /// A new, empty log named `log`. It keeps at least the newest `retain` events, and always the newest batch.
    #[must_use]
    pub fn new(log: LogId, retain: u64) -> Self {
        Self::bounded(log, retain, u64::MAX)
    }

    /// The same, but older batches also go as long as all together take more than `retain_bytes`.
    #[must_use]
    pub fn bounded(log: LogId, retain: u64, retain_bytes: u64) -> Self {
        let origin = Snapshot::take(log, Position::origin(log), 0);
        let (lost, _) = Lost::channel();
        let contents = Contents {
            term: Term(0),
            lost,
            floor: origin,
            batches: VecDeque::new(),
            bytes: 0,
            tail: origin,
            producers: BTreeMap::new(),
        };
        Self { log: Arc::new(Log { id: log, retain, retain_bytes, contents: RwLock::new(contents) }) }
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn open(&self) -> Result<Opened, Infallible> {
        let mut contents = self.log.contents_mut();
        let replaced = contents.term;
        let term = Term(replaced.0 + 1);
        contents.term = term;
        contents.lost.send(Fenced { own: replaced, by: term });
        let (sender, lost) = Lost::channel();
        contents.lost = sender;
        Ok(Opened {
            term,
            tail: contents.tail,
            producers: contents.producers.values().cloned().collect(),
            durability: Durability::Memory,
            // Memory needs no check.
            snapshot: contents.tail,
            writer: Box::new(MemoryWriter { log: Arc::clone(&self.log), term }),
            reader: Arc::clone(&self.log) as Arc<dyn LogReader>,
            lost,
        })
    }
}

impl Log {
    fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        // No change under the lock can panic half-way.
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents_mut(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Where in `batches` the event at `index` is; beyond the end if it is not there yet.
    fn find(&self, index: Index) -> usize {
        self.batches.partition_point(|kept| kept.batch.end.index < index)
    }

    fn check_term(&self, own: Term) -> Result<(), AppendError> {
        if self.term == own { Ok(()) } else { Err(Fenced { own, by: self.term }.into()) }
    }

    fn compact(&mut self, log: &Log) {
        let tail = self.tail.position().index;
        while let Some(oldest) = self.batches.front()
            && self.batches.len() > 1
            && (tail.events_since(oldest.batch.end.index) >= log.retain || self.bytes > log.retain_bytes)
        {
            self.floor = Snapshot::take(log.id, oldest.batch.end, oldest.value);
            self.bytes -= oldest.bytes();
            self.batches.pop_front();
        }
    }
}

struct MemoryWriter {
    log: Arc<Log>,
    term: Term,
}

#[async_trait]
impl LogWriter for MemoryWriter {
    async fn append(&mut self, Commit { batch, tail, producers }: Commit) -> Result<(), AppendError> {
        let mut contents = self.log.contents_mut();
        contents.check_term(self.term)?;
        let end = contents.tail.position().index;
        if batch.first != end.next() {
            return Err(NotNext { tail: end, got: batch.first }.into());
        }
        let kept = Kept { batch, value: tail.value() };
        contents.bytes += kept.bytes();
        contents.batches.push_back(kept);
        contents.tail = tail;
        for forgotten in &producers.forgotten {
            contents.producers.remove(forgotten);
        }
        contents.producers.extend(producers.written.into_iter().map(|row| (row.producer.clone(), row)));
        contents.compact(&self.log);
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), AppendError> {
        self.log.contents().check_term(self.term)
    }
}

#[async_trait]
impl LogReader for Log {
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let contents = self.contents();
        let floor = contents.floor.position().index;
        if from <= floor {
            return Err(Compacted { asked: from, floor }.into());
        }
        let mut bytes = 0;
        let batches = contents.batches.range(contents.find(from)..).map(|kept| &kept.batch).take_while(|batch| {
            let first = bytes == 0;
            bytes += batch.frame.len();
            first || bytes <= max_bytes
        });
        Ok(batches.cloned().collect())
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        let contents = self.contents();
        let floor = contents.floor.position();
        if index <= floor.index {
            return Ok((index == floor.index).then_some(floor.digest));
        }
        let end = contents.batches.get(contents.find(index)).map(|kept| kept.batch.end);
        Ok(end.filter(|end| end.index == index).map(|end| end.digest))
    }

    async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError> {
        let contents = self.contents();
        let floor = contents.floor.position().index;
        if index < floor {
            return Err(Compacted { asked: index, floor }.into());
        }
        let ended = contents.batches.partition_point(|kept| kept.batch.end.index <= index);
        let newest = ended.checked_sub(1).and_then(|newest| contents.batches.get(newest));
        Ok(newest.map_or(contents.floor, |kept| Snapshot::take(self.id, kept.batch.end, kept.value)))
    }

    fn floor(&self) -> Index {
        self.contents().floor.position().index
    }

    fn size(&self) -> Option<LogSize> {
        Some(LogSize { history: self.contents().bytes, ..LogSize::default() })
    }
}
