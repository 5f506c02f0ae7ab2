//! Generated types to engine types and back, a file for each message.
//!
//! ```
//! use engine::Operation;
//! use wire::convert::Missing;
//! use wire::pb;
//!
//! let message = pb::Operation::from(Operation::Divide(3));
//! assert_eq!(Operation::try_from(message), Ok(Operation::Divide(3)));
//! assert_eq!(Operation::try_from(pb::Operation::default()), Err(Missing("operation.kind")));
//! ```
//!
//! A malformed message is refused with a typed error. An enum value that this version does not know, or the unspecified
//! one, becomes `Unknown`: it comes from a newer leader or replica and must not end a stream.

#[cfg(test)]
pub(crate) mod arbitrary;
mod authors;
mod batch;
mod error;
mod goodbye;
mod heartbeat;
mod log_position;
mod operation;
mod read_events;
mod replica;
mod roster;
mod snapshot;
mod standing;
mod submit_request;
mod subscribe_response;
mod welcome;

use std::time::Duration;

pub use error::{DecodeError, IdentityTooLong, IndexRange, LogIdLength, Missing, UnorderedBatches, ZeroSequence};
pub use log_position::{log_id, log_id_bytes};

/// Whole milliseconds, at most [`u32::MAX`] (49 days).
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
