//! How a position that a replica reports compares with the leader's log.

use std::fmt;

use crate::{SnapshotReason, Verdict};

/// How a position that a replica reports compares with the leader's log.
///
/// A leader judges a report as it judges a request to resume, so a standing is made from a [`Verdict`]:
///
/// ```
/// use engine::{SnapshotReason, Standing, Verdict};
///
/// assert_eq!(Standing::from(Verdict::Resumed), Standing::InStep);
/// assert_eq!(Standing::from(Verdict::Snapshot(SnapshotReason::Ahead)), Standing::Ahead);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// The replica holds exactly what the leader held at that index.
    InStep,
    /// The position is in another log.
    OtherLog,
    /// The index is beyond the leader's tail.
    Ahead,
    /// The index is below the leader's floor, so the leader has no digest to compare with.
    Compacted,
    /// The digests at the index differ.
    Diverged,
    /// The replica has not reported, or a newer leader answered what this version does not know.
    Unknown,
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Resumed => Self::InStep,
            Verdict::Snapshot(SnapshotReason::OtherLog) => Self::OtherLog,
            Verdict::Snapshot(SnapshotReason::Ahead) => Self::Ahead,
            Verdict::Snapshot(SnapshotReason::Compacted) => Self::Compacted,
            Verdict::Snapshot(SnapshotReason::Diverged) => Self::Diverged,
            // A report names a position, so it is never judged as fresh.
            Verdict::Snapshot(SnapshotReason::Fresh | SnapshotReason::Unknown) => Self::Unknown,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InStep => "in_step",
            Self::OtherLog => "other_log",
            Self::Ahead => "ahead",
            Self::Compacted => "compacted",
            Self::Diverged => "diverged",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_standing() {
        for (reason, standing) in [
            (SnapshotReason::OtherLog, "other_log"),
            (SnapshotReason::Ahead, "ahead"),
            (SnapshotReason::Compacted, "compacted"),
            (SnapshotReason::Diverged, "diverged"),
            (SnapshotReason::Fresh, "unknown"),
            (SnapshotReason::Unknown, "unknown"),
        ] {
            assert_eq!(Standing::from(Verdict::Snapshot(reason)).to_string(), standing);
        }
        assert_eq!(Standing::from(Verdict::Resumed).to_string(), "in_step");
    }
}
