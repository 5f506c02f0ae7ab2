//! Comparing a replica's clock with the leader's.

use std::time::Duration;

use crate::{Moment, Timestamp};

/// What to add to a moment, in microseconds, to get the leader's clock: the welcome was written about halfway between
/// the request and its arrival.
pub(super) fn offset(leader_time: Timestamp, asked: Moment, now: Moment) -> i64 {
    let halfway = asked.0 + now.since(asked) / 2;
    signed_micros(leader_time.0).saturating_sub(signed_micros(u64::try_from(halfway.as_micros()).unwrap_or(u64::MAX)))
}

/// How long ago `committed_at` was, when the leader's clock is `offset` microseconds ahead of `now`'s.
pub(super) fn age(committed_at: Timestamp, offset: i64, now: Moment) -> Duration {
    let leader_now = signed_micros(u64::try_from(now.0.as_micros()).unwrap_or(u64::MAX)).saturating_add(offset);
    Duration::from_micros(u64::try_from(leader_now.saturating_sub(signed_micros(committed_at.0))).unwrap_or(0))
}

fn signed_micros(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}
