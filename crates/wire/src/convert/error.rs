//! What can be wrong with a message.

use engine::producer::InvalidProducerId;
use engine::{EmptyBatch, SnapshotMismatch};
use thiserror::Error;

use crate::identity::MAX_BYTES;

/// A message breaks a rule of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A required field is not set.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A log id has the wrong length.
    #[error(transparent)]
    LogId(#[from] LogIdLength),
    /// A batch holds no events.
    #[error(transparent)]
    EmptyBatch(#[from] EmptyBatch),
    /// A snapshot does not match its checksum.
    #[error(transparent)]
    Snapshot(#[from] SnapshotMismatch),
    /// A batch's indexes are out of range.
    #[error(transparent)]
    IndexRange(#[from] IndexRange),
    /// The batches of a page of history are not those of its events.
    #[error(transparent)]
    UnorderedBatches(#[from] UnorderedBatches),
    /// A producer's id has the wrong length.
    #[error(transparent)]
    ProducerId(#[from] InvalidProducerId),
    /// A producer's sequence is 0.
    #[error(transparent)]
    Sequence(#[from] ZeroSequence),
    /// An id or a name is too long.
    #[error(transparent)]
    Identity(#[from] IdentityTooLong),
}

/// A required field is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not set")]
pub struct Missing(pub &'static str);

/// A log id has the wrong length, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("log_id has {0} bytes, expected 16")]
pub struct LogIdLength(pub usize);

/// A batch's first index is 0, or the index after its last event does not fit into 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a batch of {events} events cannot start at index {first}")]
pub struct IndexRange {
    /// The first index that the message names.
    pub first: u64,
    /// How many events it holds.
    pub events: usize,
}

/// The ends of batches on a page of history are not in order, or do not cover its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the batches on the page that starts at index {first} are not those of its events")]
pub struct UnorderedBatches {
    /// Where the page starts.
    pub first: u64,
}

/// A producer's sequence is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("producer.sequence is 0; the first is 1")]
pub struct ZeroSequence;

/// A replica's id or name is too long.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the replica's {field} has {bytes} bytes; at most {MAX_BYTES} are allowed")]
pub struct IdentityTooLong {
    /// `id` or `name`.
    pub field: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
}
