//! Where the log lives.
//!
//! A [`Store`] keeps committed batches as the very bytes that go on the wire. It does not interpret them: what it needs
//! to find and judge a batch stands beside the bytes in a [`StoredBatch`].

mod memory;

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Batch, Digest, Durability, Index, Position, Snapshot, Term};
pub use memory::MemoryStore;
use thiserror::Error;

/// A committed batch: the encoded frame, and what is needed to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The index of the first event (inclusive).
    pub first: Index,
    /// The position after the last event.
    pub end: Position,
    /// The term of the leader that committed it.
    pub term: Term,
    /// The bytes that go on the wire. Cheap to clone: all clones share them.
    pub frame: Bytes,
}

impl StoredBatch {
    /// The batch with its encoding.
    #[must_use]
    pub fn new(batch: &Batch, frame: Bytes) -> Self {
        Self { first: batch.first(), end: batch.end(), term: batch.term(), frame }
    }
}

/// An ordered, append-only log of batches with one writer.
///
/// It may be on another machine and shared by several leaders: an append can fail as [fenced](AppendError::Fenced)
/// because another one took over. Readers never block the writer.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The term that opening for writing took.
    fn term(&self) -> Term;

    /// The end of the log when it was opened, and the value there.
    fn opened_at(&self) -> Snapshot;

    /// What a crash can take away.
    fn durability(&self) -> Durability;

    /// Makes `batch` durable. `tail` is the state after it; a store may keep it to start from.
    ///
    /// When this returns `Ok`, the batch survives whatever [`durability`](Self::durability) promises.
    async fn append(&self, batch: StoredBatch, tail: Snapshot) -> Result<(), AppendError>;

    /// Consecutive batches from the one that holds the event at `from`, as many as fit in `max_bytes` of frames but at
    /// least one; none if `from` lies beyond the tail.
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError>;

    /// The digest after the event at `index`; `None` if no batch ends there or the store no longer knows.
    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError>;

    /// Events at or below it were compacted away. Never falls.
    fn floor(&self) -> Index;
}

/// Why a batch was not made durable. After any of these it is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Another leader opened the log; this one must stop leading.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The batch does not follow the tail.
    #[error(transparent)]
    NotNext(#[from] NotNext),
    /// The store cannot take anything at present, for the reason given.
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
}

/// Another leader opened the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another leader took over the log with term {by}; this one has term {own}")]
pub struct Fenced {
    /// This leader's term.
    pub own: Term,
    /// The other's.
    pub by: Term,
}

/// A batch that does not follow the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a batch that starts at index {got} cannot follow the tail at {tail}")]
pub struct NotNext {
    /// The log's tail.
    pub tail: Index,
    /// Where the batch starts.
    pub got: Index,
}

/// Why history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It was compacted away.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// The store cannot be read at present, for the reason given.
    #[error("the log cannot be read: {0}")]
    Unavailable(String),
}

/// The history asked for was compacted away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the event at index {asked} was compacted away; history starts at index {}", floor.next())]
pub struct Compacted {
    /// What was asked for.
    pub asked: Index,
    /// Events at or below it are gone.
    pub floor: Index,
}
