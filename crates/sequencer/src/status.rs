//! The gRPC code and reason for each submission error. `calculator.proto` lists them.

use std::time::Duration;

use engine::{ProducerError, Refusal};
use store::AppendError;
use tonic::{Code, Status};
use wire::status::{status, with_retry};

use crate::NotCommitted;

/// How long a caller should wait before it retries after a temporary failure.
const RETRY_AFTER: Duration = Duration::from_millis(200);

impl From<NotCommitted> for Status {
    fn from(error: NotCommitted) -> Self {
        let message = error.to_string();
        let later = |code, reason| with_retry(code, reason, &[], Some(RETRY_AFTER), &message);
        match error {
            NotCommitted::Refused(refusal) => {
                let (code, reason, value) = match refusal {
                    Refusal::Overflow(overflow) => (Code::OutOfRange, "OVERFLOW", overflow.value),
                    Refusal::DivisionByZero { value } => (Code::InvalidArgument, "DIVISION_BY_ZERO", value),
                    Refusal::NegativeSquareRoot { value } => (Code::InvalidArgument, "NEGATIVE_SQUARE_ROOT", value),
                };
                status(code, reason, &[("value", value.to_string())], &message)
            }
            NotCommitted::Mismatch(mismatch) => {
                let metadata = [
                    ("expected_index", mismatch.expected.to_string()),
                    ("current_index", mismatch.current.to_string()),
                ];
                status(Code::FailedPrecondition, "INDEX_MISMATCH", &metadata, &message)
            }
            NotCommitted::Producer(ProducerError::Stale { last, .. }) => {
                let metadata = [("last_sequence", last.to_string())];
                status(Code::FailedPrecondition, "STALE_SEQUENCE", &metadata, &message)
            }
            NotCommitted::Producer(ProducerError::Unknown { .. }) => {
                status(Code::FailedPrecondition, "UNKNOWN_PRODUCER", &[], &message)
            }
            NotCommitted::Producer(ProducerError::Reused { index, .. }) => {
                status(Code::InvalidArgument, "SEQUENCE_REUSED", &[("index", index.to_string())], &message)
            }
            NotCommitted::QueueFull => later(Code::ResourceExhausted, "QUEUE_FULL"),
            NotCommitted::Store(AppendError::Unavailable(_)) => later(Code::Unavailable, "LOG_UNAVAILABLE"),
            NotCommitted::Store(AppendError::OutcomeUnknown(_)) => {
                status(Code::Unavailable, "OUTCOME_UNKNOWN", &[], &message)
            }
            NotCommitted::Store(
                AppendError::Fenced(_) | AppendError::Replaced(_) | AppendError::NotNext(_) | AppendError::Corrupt(_),
            ) => status(Code::Unavailable, "STEPPED_DOWN", &[], &message),
            NotCommitted::ShuttingDown => status(Code::Unavailable, "SHUTTING_DOWN", &[], &message),
        }
    }
}
