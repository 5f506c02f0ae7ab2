//! Where something stands in a log: newtypes for every number that means something.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The 1-based place of an event in its log; 0 is "before the first event".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(pub u64);

impl Index {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The place directly after this one.
    ///
    /// Saturates at `u64::MAX`, which a million events a second would reach after half a million years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The place `events` further on (saturating).
    #[must_use]
    pub const fn plus(self, events: u64) -> Self {
        Self(self.0.saturating_add(events))
    }

    /// How many events lie after `earlier` up to and including this place; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn events_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the leaders that opened a log for writing; the first is 1, and a restored backup skips many. A lower term than one
/// already seen of the same log comes from a stale leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A running hash over every event of a log and the value it yielded. See [`digest`](crate::digest).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

/// Sixteen hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a log and the digest there. Two logs with the same digest at the same index share the whole prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// How far.
    pub index: Index,
    /// What led there.
    pub digest: Digest,
}

impl Position {
    /// Before the first event of `log`.
    #[must_use]
    pub fn origin(log: LogId) -> Self {
        Self { index: Index::ZERO, digest: Digest::of_log(log) }
    }
}

/// Writes `index:digest`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.index, self.digest)
    }
}

/// The identity of one log: 128 random bits, new only when a log starts from nothing.
///
/// ```
/// use engine::LogId;
///
/// let id = LogId(0x2a);
/// assert_eq!(id.to_string(), "0000000000000000000000000000002a");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u128);

/// Thirty-two hexadecimal digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that is not a log id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("a log id is 32 hexadecimal digits")]
pub struct InvalidLogId;

impl FromStr for LogId {
    type Err = InvalidLogId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `from_str_radix` alone would also take a sign and fewer digits.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidLogId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidLogId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_up_to_and_including_the_later_place() {
        assert_eq!(Index(9).events_since(Index(4)), 5);
        assert_eq!(Index(4).events_since(Index(9)), 0);
        assert_eq!((Index(u64::MAX).next(), Index(4).plus(5)), (Index(u64::MAX), Index(9)));
    }

    #[test]
    fn a_log_id_survives_its_text_form() {
        let id = LogId(0x00ff_1234_5678_9abc_def0_1122_3344_5566);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_not_a_log_id_is_refused() {
        for text in ["", "12", "+0000000000000000000000000000001", "zz000000000000000000000000000000"] {
            assert_eq!(text.parse::<LogId>(), Err(InvalidLogId), "{text:?}");
        }
    }
}
