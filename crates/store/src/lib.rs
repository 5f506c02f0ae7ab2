//! Where the log lives.
//!
//! A [`Store`] is a place that holds one log: [`MemoryStore`] forgets it when the process ends, [`SqliteStore`] keeps it
//! in a directory. Opening it gives an [`Opened`]: what was found, the one [`LogWriter`], and a [`LogReader`] that any
//! number of readers share. Each opening takes the next term, which fences the leader that opened the log before.
//!
//! A store keeps committed batches as the bytes that go on the wire and does not look into them. What it needs to find
//! and check a batch stands beside the bytes in a [`StoredBatch`].
//!
//! [`testing`] is the contract as a test suite. Every implementation runs all of it.
//!
//! ```
//! use bytes::Bytes;
//! use engine::{Digest, Index, LogId, Position, ProducerChanges, Snapshot};
//! use store::{Commit, MemoryStore, Store, StoredBatch};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let place = MemoryStore::new(LogId(1), 1_000);
//! let mut opened = place.open().await?;
//! assert_eq!(opened.tail.position().index, Index(0));
//!
//! // Two events that lead to the value 5. A real leader takes the digest from the engine and the frame from `wire`.
//! let end = Position { index: Index(2), digest: Digest(0xfeed) };
//! let frame = Bytes::from_static(b"an encoded batch");
//! let batch = StoredBatch { first: Index(1), end, term: opened.term, frame };
//! let tail = Snapshot::take(LogId(1), end, 5);
//! opened.writer.append(Commit { batch: batch.clone(), tail, producers: ProducerChanges::default() }).await?;
//! assert_eq!(opened.reader.read(Index(1), 64 << 10).await?, [batch]);
//!
//! // Another leader opens the same log and finds all of it. The first one is fenced.
//! let second = place.open().await?;
//! assert_eq!((second.tail, second.term.0), (tail, opened.term.0 + 1));
//! assert!(opened.writer.probe().await.is_err());
//! # Ok(())
//! # }
//! ```

mod error;
mod lost;
mod memory;
pub mod sqlite;
pub mod testing;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Batch, Digest, Durability, Index, Position, ProducerChanges, Snapshot, Submitted, Term};
pub use error::{AppendError, Compacted, Corrupt, Damage, Fenced, NotNext, ReadError, Replaced};
pub use lost::{Lost, LostSender};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// A place where one log lives.
///
/// The place may be shared by several leaders, also on different machines. Each opening takes the next term, and only
/// the newest term may append: a leader that another one replaced gets [`Fenced`] and never adds to the log again.
pub trait Store: Send + Sync + 'static {
    /// Why the log cannot be opened.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Opens the log for writing, which takes the next term. The first opening begins the log, with term 1.
    ///
    /// # Errors
    ///
    /// The log cannot be opened. What it holds is unchanged, except that the term may have been taken.
    fn open(&self) -> impl Future<Output = Result<Opened, Self::Error>> + Send;
}

/// What an opening found, and what it gives. The log closes when writer and reader are dropped.
#[derive(Debug)]
pub struct Opened {
    /// The term that this opening took.
    pub term: Term,
    /// The end of the log, the value there, and the log's id.
    pub tail: Snapshot,
    /// The last submission of each producer, as of `tail`, ordered by producer.
    pub producers: Vec<Submitted>,
    /// What a crash can take away.
    pub durability: Durability,
    /// The newest state from which the log can be replayed up to `tail` to check it. Everything after it can be read.
    pub snapshot: Snapshot,
    /// The one writer.
    pub writer: Box<dyn LogWriter>,
    /// Reads the log. Goes on reading when this leader was replaced.
    pub reader: Arc<dyn LogReader>,
    /// Resolves when this leader must stop.
    pub lost: Lost,
}

/// The one writer of an opening.
#[async_trait]
pub trait LogWriter: Send + 'static {
    /// Makes `commit` durable, all of it or nothing. When this returns `Ok`, the commit survives what the opening's
    /// [`durability`](Opened::durability) promises, and readers see it.
    ///
    /// Dropping the future before it is ready leaves it open whether the commit was made.
    ///
    /// # Errors
    ///
    /// [`AppendError`]: the commit is not in the log, unless the error says that this is not known.
    async fn append(&mut self, commit: Commit) -> Result<(), AppendError>;

    /// Finds out whether a commit could be made, by one that changes nothing.
    ///
    /// # Errors
    ///
    /// [`AppendError`], as `append` would return it.
    async fn probe(&mut self) -> Result<(), AppendError>;
}

/// Reads a log while somebody writes to it. Readers never make the writer wait.
#[async_trait]
pub trait LogReader: Send + Sync + 'static {
    /// Consecutive batches from the one that holds the event at `from`, in order: as many as fit in `max_bytes` of
    /// frames, but at least one. Empty if `from` lies beyond the tail. Where damage follows, the batches before it.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the event at `from` was compacted away, is damaged, or cannot be read at present.
    async fn read(&self, from: Index, max_bytes: usize) -> Result<Vec<StoredBatch>, ReadError>;

    /// The digest after the event at `index`. `None` if no batch ends there, or if it was compacted away. The digest
    /// at the floor itself is known.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: the place is damaged, or cannot be read at present.
    async fn digest_at(&self, index: Index) -> Result<Option<Digest>, ReadError>;

    /// The newest state at or before `index` that is known: the end of a stored batch, or the floor. An index beyond the
    /// tail means the tail.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: `index` lies below the floor, the place is damaged, or it cannot be read at present.
    async fn snapshot_at(&self, index: Index) -> Result<Snapshot, ReadError>;

    /// The newest event that was compacted away; 0 if none was. Never falls.
    fn floor(&self) -> Index;

    /// What the log takes at present; `None` from a store that does not know. Costs nothing: may be asked every second.
    fn size(&self) -> Option<LogSize> {
        None
    }

    /// The damaged places in history that were found so far, oldest first. Reading there fails, everything else works:
    /// the value does not depend on them.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }
}

impl std::fmt::Debug for dyn LogWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LogWriter")
    }
}

impl std::fmt::Debug for dyn LogReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LogReader")
    }
}

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

/// What a log takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// History, with what is needed to find it: what a bound on its bytes bounds.
    pub history: u64,
    /// The file that holds it. It is larger than `history` by the room that deleted history left, which new history uses. 0
    /// in memory.
    pub file: u64,
    /// The file of the write-ahead log, which holds the newest commits; 0 if there is none.
    pub write_ahead: u64,
}

/// What becomes durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The batch.
    pub batch: StoredBatch,
    /// The state after it.
    pub tail: Snapshot,
    /// What its events changed in the table of producers.
    pub producers: ProducerChanges,
}
