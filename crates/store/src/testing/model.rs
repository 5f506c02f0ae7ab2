//! What a log should hold.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{
    Digest, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerId, Sequence, Snapshot, Submitted, Term,
};

use crate::{Commit, LogReader, Opened, StoredBatch};

/// Bytes of each frame.
pub(super) const FRAME: usize = 60;

/// Every commit of a log, and who submitted what last.
pub(super) struct Model {
    log: LogId,
    pub(super) commits: Vec<Commit>,
    producers: BTreeMap<ProducerId, Submitted>,
}

impl Model {
    /// The log that `opened` found empty.
    pub(super) fn of(opened: &Opened) -> Self {
        assert_eq!(opened.tail.position().index, Index::ZERO, "a new place holds events");
        Self { log: opened.tail.log(), commits: Vec::new(), producers: BTreeMap::new() }
    }

    pub(super) fn tail(&self) -> Snapshot {
        self.state_at(Index(u64::MAX))
    }

    /// The state after the last commit that ends at or before `index`.
    pub(super) fn state_at(&self, index: Index) -> Snapshot {
        let ended = self.commits.iter().take_while(|commit| commit.batch.end.index <= index);
        ended.last().map_or_else(|| Snapshot::take(self.log, Position::origin(self.log), 0), |commit| commit.tail)
    }

    /// A commit of `events` events that follows the tail.
    pub(super) fn next(&self, term: Term, events: u64) -> Commit {
        self.at(self.tail().position().index.next(), term, events)
    }

    /// A commit of `events` events whose first has the index `first`.
    pub(super) fn at(&self, first: Index, term: Term, events: u64) -> Commit {
        let last = first.0 + events - 1;
        let end = Position { index: Index(last), digest: digest(last) };
        let frame = Bytes::from(last.to_be_bytes().into_iter().cycle().take(FRAME).collect::<Vec<_>>());
        let tail = Snapshot::take(self.log, end, last.cast_signed().wrapping_mul(-3));
        Commit { batch: StoredBatch { first, end, term, frame }, tail, producers: ProducerChanges::default() }
    }

    /// Appends `commit`, which must be taken.
    pub(super) async fn append(&mut self, opened: &mut Opened, commit: Commit) {
        let taken = opened.writer.append(commit.clone()).await;
        assert_eq!(taken, Ok(()), "the commit at {} follows the tail", commit.batch.first);
        for forgotten in &commit.producers.forgotten {
            self.producers.remove(forgotten);
        }
        let written = commit.producers.written.iter().map(|row| (row.producer.clone(), row.clone()));
        self.producers.extend(written);
        self.commits.push(commit);
    }

    /// Appends a commit of each number of events.
    pub(super) async fn fill(&mut self, opened: &mut Opened, events: impl IntoIterator<Item = u64>) {
        for events in events {
            let commit = self.next(opened.term, events);
            self.append(opened, commit).await;
        }
    }

    pub(super) fn producers(&self) -> Vec<Submitted> {
        self.producers.values().cloned().collect()
    }

    pub(super) fn batches(&self) -> Vec<StoredBatch> {
        self.commits.iter().map(|commit| commit.batch.clone()).collect()
    }

    /// The batches above `floor`, which must be the end of one.
    pub(super) fn batches_above(&self, floor: Index) -> Vec<StoredBatch> {
        let mut batches = self.batches();
        batches.retain(|batch| batch.first > floor);
        assert_eq!(batches.first().map(|batch| batch.first), Some(floor.next()), "the floor is the end of a batch");
        batches
    }
}

/// The digest that commits have at `index`.
pub(super) fn digest(index: u64) -> Digest {
    Digest(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(super) fn submitted(name: &str, sequence: u64, index: u64) -> Submitted {
    let producer = ProducerId::new(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let event = Event { index: Index(index), operation: Operation::Add(3), value: index.cast_signed() };
    Submitted { producer, sequence: Sequence(sequence), event }
}

/// Everything above the floor.
pub(super) async fn read_all(reader: &dyn LogReader) -> Vec<StoredBatch> {
    read(reader, reader.floor().next(), usize::MAX).await
}

pub(super) async fn read(reader: &dyn LogReader, from: Index, max_bytes: usize) -> Vec<StoredBatch> {
    reader.read(from, max_bytes).await.unwrap_or_else(|error| panic!("reading at {from}: {error}"))
}
