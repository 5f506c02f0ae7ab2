//! A store of one's own, and the contract as its test: `cargo run -p store --example own_store`.
//!
//! This one keeps every commit in a `Vec`, where yours talks to a database. What matters is the same: an opening takes
//! the next term, each commit checks the term and the tail and is made as a whole, and a leader that was replaced is
//! told. `cargo test -p store --example own_store` runs each property of the contract as a test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Digest, Durability, Index, LogId, Position, Snapshot, Term};
use store::testing::Setup;
use store::{
    AppendError, Commit, Compacted, Fenced, LogReader, LogWriter, Lost, LostSender, NotNext, Opened, ReadError, Store,
    StoredBatch,
};

/// The place. Clones share it, as leaders on several machines share a database.
#[derive(Clone)]
struct OwnStore {
    retain: u64,
    retain_bytes: u64,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    term: Term,
    commits: Vec<Commit>,
    /// How many of the oldest commits count as deleted.
    deleted: usize,
    leader: Option<LostSender>,
}

const LOG: LogId = LogId(7);

impl OwnStore {
    fn new(setup: Setup) -> Self {
        Self { retain: setup.retain, retain_bytes: setup.retain_bytes, contents: Arc::default() }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// The state after so many commits.
    fn after(&self, commits: usize) -> Snapshot {
        let last = commits.checked_sub(1).map(|last| self.commits[last].tail);
        last.unwrap_or_else(|| Snapshot::take(LOG, Position::origin(LOG), 0))
    }

    fn tail(&self) -> Snapshot {
        self.after(self.commits.len())
    }

    fn floor(&self) -> Position {
        self.after(self.deleted).position()
    }

    /// Bytes of the frames that are kept.
    fn bytes(&self) -> u64 {
        self.commits[self.deleted..].iter().map(|commit| commit.batch.frame.len() as u64).sum()
    }

    /// The commits from the one that holds the event at `index`.
    fn from(&self, index: Index) -> &[Commit] {
        &self.commits[self.commits.partition_point(|commit| commit.batch.end.index < index)..]
    }
}

impl Store for OwnStore {
    type Error = Infallible;

    async fn open(&self) -> Result<Opened, Infallible> {
        let mut contents = self.contents();
        let own = contents.term;
        let term = Term(own.0 + 1);
        let (sender, lost) = Lost::channel();
        contents.term = term;
        if let Some(replaced) = contents.leader.replace(sender) {
            replaced.send(Fenced { own, by: term });
        }
        let mut producers = BTreeMap::new();
        for changes in contents.commits.iter().map(|commit| &commit.producers) {
            producers.retain(|producer, _| !changes.forgotten.contains(producer));
            producers.extend(changes.written.iter().map(|row| (row.producer.clone(), row.clone())));
        }
        Ok(Opened {
            term,
            tail: contents.tail(),
            producers: producers.into_values().collect(),
            durability: Durability::Memory,
            snapshot: contents.after(contents.deleted),
            writer: Box::new(Writer { store: self.clone(), term }),
            reader: Arc::new(self.clone()),
            lost,
        })
    }
}

struct Writer {
    store: OwnStore,
    term: Term,
}

#[async_trait::async_trait]
impl LogWriter for Writer {
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        self.probe().await?;
        let mut contents = self.store.contents();
        let tail = contents.tail().position().index;
        if commit.batch.first != tail.next() {
            return Err(NotNext { tail, got: commit.batch.first }.into());
        }
        let end = commit.batch.end.index;
        contents.commits.push(commit);
        while contents.deleted + 1 < contents.commits.len()
            && (end.events_since(contents.after(contents.deleted + 1).position().index) >= self.store.retain
                || contents.bytes() > self.store.retain_bytes)
        {
            contents.deleted += 1;
        }
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), AppendError> {
        let by = self.store.contents().term;
        if by == self.term { Ok(()) } else { Err(Fenced { own: self.term, by }.into()) }
    }
}

#[async_trait::async_trait]
impl LogReader for OwnStore {
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let contents = self.contents();
        let floor = contents.floor().index;
        if from <= floor {
            return Err(Compacted { asked: from, floor }.into());
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for batch in contents.from(from).iter().map(|commit| &commit.batch) {
            bytes += batch.frame.len();
            if !found.is_empty() && bytes > max_bytes {
                break;
            }
            found.push(batch.clone());
        }
        Ok(found)
    }

    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError> {
        let contents = self.contents();
        let floor = contents.floor();
        let above = contents.from(index).first().map(|commit| commit.batch.end).filter(|_| index > floor.index);
        Ok([Some(floor), above].into_iter().flatten().find(|end| end.index == index).map(|end| end.digest))
    }

    async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError> {
        let contents = self.contents();
        let floor = contents.floor().index;
        if index < floor {
            return Err(Compacted { asked: index, floor }.into());
        }
        Ok(contents.after(contents.commits.partition_point(|commit| commit.batch.end.index <= index)))
    }

    fn floor(&self) -> Index {
        self.contents().floor().index
    }
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "the output of the example")]
async fn main() {
    store::testing::check_all(&OwnStore::new, |property| println!("{property}")).await;
    println!("the store keeps the contract");
}

#[cfg(test)]
mod contract {
    store::testing::contract!(super::OwnStore::new);
}
