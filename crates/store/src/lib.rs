//! Where the log lives.
//!
//! A [`Store`] keeps committed batches as the very bytes that go on the wire. It does not interpret them: what it needs
//! to find and judge a batch stands beside the bytes in a [`StoredBatch`].
//!
//! [`MemoryStore`] forgets with the process; [`SqliteStore`] keeps the log in a directory.

mod memory;
pub mod sqlite;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Batch, Digest, Durability, Index, Position, ProducerChanges, Snapshot, Submitted, Term};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
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

/// What becomes durable together: a batch, the state after it, and what its events changed of who submitted what last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The batch.
    pub batch: StoredBatch,
    /// The state after it.
    pub tail: Snapshot,
    /// What changed of the producers.
    pub producers: ProducerChanges,
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

    /// Who submitted what last, as of [`opened_at`](Self::opened_at).
    fn producers(&self) -> Vec<Submitted>;

    /// Makes `commit` durable, all of it or nothing.
    ///
    /// When this returns `Ok`, it survives whatever [`durability`](Self::durability) promises.
    async fn append(&self, commit: Commit) -> Result<(), AppendError>;

    /// Finds out whether a commit could be made now, by one that changes nothing.
    ///
    /// # Errors
    ///
    /// As with [`append`](Self::append).
    async fn probe(&self) -> Result<(), AppendError> {
        Ok(())
    }

    /// Consecutive batches from the one that holds the event at `from`, as many as fit in `max_bytes` of frames but at
    /// least one; none if `from` lies beyond the tail.
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError>;

    /// The digest after the event at `index`; `None` if no batch ends there or the store no longer knows.
    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError>;

    /// Events at or below it were compacted away. Never falls.
    fn floor(&self) -> Index;

    /// The damage that is known in history and that the value does not rest on, oldest first. Reading there fails; everything
    /// else goes on.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// Waits until this leader must stop, and returns why: another leader opened the log, its files were replaced, or what
    /// the value rests on is damaged. A store tells it within two seconds, also when nobody appends. From then on it takes
    /// no commit.
    async fn lost(&self) -> AppendError {
        std::future::pending().await
    }
}

/// Why a commit was not made durable. It is not in the log, unless the error says that this is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Another leader opened the log; this one must stop leading.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The files of the log are not those that were opened; this leader must stop leading.
    #[error(transparent)]
    Replaced(#[from] Replaced),
    /// The batch does not follow the tail.
    #[error(transparent)]
    NotNext(#[from] NotNext),
    /// The store cannot take anything at present, for the reason given.
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
    /// What is stored is not what was committed, so that nothing can be added to it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The store failed at a moment when the commit may or may not have become durable; opening the log again shows
    /// which. The leader must not go on with either guess.
    #[error(
        "the log failed while it was written, and whether the last operations are in it shows at the next start: {0}"
    )]
    OutcomeUnknown(String),
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

/// A file of the log was removed, moved away or replaced while it was open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{} {} while the leader had it open", path.display(),
    if *removed { "was removed or moved away" } else { "was replaced by another" }
)]
pub struct Replaced {
    /// Where it was.
    pub path: PathBuf,
    /// Whether nothing is there any more.
    pub removed: bool,
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
    /// What is stored is not what was committed.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The store cannot be read at present, for the reason given.
    #[error("the log cannot be read: {0}")]
    Unavailable(String),
}

/// What is stored is not what was committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the stored log is damaged at index {index}: {what}")]
pub struct Corrupt {
    /// The first event that cannot be trusted.
    pub index: Index,
    /// What is wrong there.
    pub what: String,
}

/// Events that are damaged in storage, and that the value does not rest on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("events {first} to {last}: {what}")]
pub struct Damage {
    /// The first event that cannot be read.
    pub first: Index,
    /// The last one.
    pub last: Index,
    /// What is wrong.
    pub what: String,
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
