//! The gRPC code and reason for each read error. Those of submissions are in `sequencer`.

use std::time::Duration;

use store::ReadError;
use tonic::{Code, Status};
use wire::status::{status, with_retry};

/// How long a caller should wait before it retries after a temporary failure.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The status for a read error.
#[must_use]
pub fn read_status(error: &ReadError) -> Status {
    let message = error.to_string();
    match error {
        ReadError::Compacted(compacted) => {
            status(Code::OutOfRange, "COMPACTED", &[("floor", compacted.floor.to_string())], &message)
        }
        ReadError::Corrupt(damage) => {
            status(Code::DataLoss, "LOG_DAMAGED", &[("index", damage.index.to_string())], &message)
        }
        ReadError::Unavailable(_) => with_retry(Code::Unavailable, "LOG_UNAVAILABLE", &[], Some(RETRY_AFTER), &message),
    }
}
