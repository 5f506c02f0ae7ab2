//! The leader's wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::Timestamp;

/// The time now. A clock before 1970 counts as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}
