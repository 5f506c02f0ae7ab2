//! Why an operation was not committed.

use engine::leader::{IndexMismatch, Rejection};
use engine::{ProducerError, Refusal};
use store::AppendError;
use thiserror::Error;

/// Commands that may wait for the committer. A full queue is some milliseconds of work. Callers that find it full are
/// refused and retry later.
pub(crate) const QUEUE: usize = 8_192;

/// Why an operation was not committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotCommitted {
    /// The calculator cannot apply the operation to its current value.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log's index is not the one that the submission expected.
    #[error(transparent)]
    Mismatch(#[from] IndexMismatch),
    /// The producer's sequence is not the next one.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The queue is full.
    #[error("{QUEUE} operations are waiting already; try again in a moment")]
    QueueFull,
    /// The store did not commit the operation. Only [`AppendError::OutcomeUnknown`] leaves open whether it did.
    #[error("{}", not_committed(.0))]
    Store(AppendError),
    /// The leader is shutting down.
    #[error("the leader is shutting down; the operation was not committed")]
    ShuttingDown,
}

impl From<Rejection> for NotCommitted {
    fn from(why: Rejection) -> Self {
        match why {
            Rejection::Refused(refusal) => refusal.into(),
            Rejection::Mismatch(mismatch) => mismatch.into(),
            Rejection::Producer(error) => error.into(),
        }
    }
}

fn not_committed(error: &AppendError) -> String {
    match error {
        AppendError::OutcomeUnknown(_) => error.to_string(),
        _ => format!("the operation was not committed: {error}"),
    }
}

/// The answer to an operation that arrives after the leader stopped, for the reason `stopped` or in an orderly end. If a
/// commit of unknown outcome stopped the leader, that commit did not contain this operation.
pub(crate) fn too_late(stopped: Option<&AppendError>) -> NotCommitted {
    match stopped {
        None | Some(AppendError::OutcomeUnknown(_) | AppendError::Unavailable(_)) => NotCommitted::ShuttingDown,
        Some(reason) => NotCommitted::Store(reason.clone()),
    }
}

/// The answer to an operation that may have been committed but not published.
pub(crate) fn ended_first() -> NotCommitted {
    NotCommitted::Store(AppendError::OutcomeUnknown("the leader ended before it answered".to_owned()))
}
