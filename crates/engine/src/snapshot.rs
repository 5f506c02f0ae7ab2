//! Snapshots: the value at a position, in place of all events up to it.

use thiserror::Error;

use crate::digest::snapshot_checksum;
use crate::{LogId, Position};

/// The calculator's value at a position of a log, with a checksum that ties the three together.
///
/// A value of this type always has a matching checksum: it is either taken by a leader ([`Snapshot::take`]) or checked
/// on the way in ([`Snapshot::verify`]).
///
/// ```
/// use engine::{Digest, Index, LogId, Position, Snapshot};
///
/// let position = Position { index: Index(9), digest: Digest(42) };
/// let taken = Snapshot::take(LogId(1), position, 77);
/// assert_eq!(Snapshot::verify(LogId(1), position, 77, taken.checksum()), Ok(taken));
/// assert!(Snapshot::verify(LogId(1), position, 78, taken.checksum()).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    log: LogId,
    position: Position,
    value: i64,
}

/// A snapshot whose checksum does not fit: it was altered on the way, or belongs to another log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error(
    "the snapshot at {position} has checksum {got:016x}, expected {expected:016x}: it was altered on its way or is of another log"
)]
pub struct SnapshotMismatch {
    /// Where the snapshot claims to be.
    pub position: Position,
    /// The checksum that came with it.
    pub got: u64,
    /// The checksum its contents have.
    pub expected: u64,
}

impl Snapshot {
    /// The snapshot of `log` at `position`, where the value is `value`.
    #[must_use]
    pub fn take(log: LogId, position: Position, value: i64) -> Self {
        Self { log, position, value }
    }

    /// A snapshot that came from elsewhere with `checksum`.
    ///
    /// # Errors
    ///
    /// [`SnapshotMismatch`] if the checksum is not that of the contents.
    pub fn verify(log: LogId, position: Position, value: i64, checksum: u64) -> Result<Self, SnapshotMismatch> {
        let expected = snapshot_checksum(log, position, value);
        if checksum == expected {
            Ok(Self { log, position, value })
        } else {
            Err(SnapshotMismatch { position, got: checksum, expected })
        }
    }

    /// The log that the snapshot is of.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Where in the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The value there.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.value
    }

    /// The checksum that [`Snapshot::verify`] compares.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        snapshot_checksum(self.log, self.position, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Index};

    #[test]
    fn a_snapshot_that_was_altered_or_is_of_another_log_is_refused() {
        let position = Position { index: Index(9), digest: Digest(42) };
        let taken = Snapshot::take(LogId(1), position, 77);
        let checksum = taken.checksum();
        assert_eq!(Snapshot::verify(LogId(1), position, 77, checksum), Ok(taken));

        let elsewhere = Position { index: Index(10), ..position };
        let otherwise = Position { digest: Digest(43), ..position };
        for (log, position, value) in [(2, position, 77), (1, elsewhere, 77), (1, otherwise, 77), (1, position, 78)] {
            assert!(Snapshot::verify(LogId(log), position, value, checksum).is_err());
        }
    }
}
