//! Errors of reads as callers see them: a code and a reason for each. Those of submissions stand in `sequencer`.

use std::time::Duration;

use store::ReadError;
use tonic::{Code, Status};
use wire::status::{status, with_retry};

/// When to try again what failed for the moment.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Why history cannot be read.
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
