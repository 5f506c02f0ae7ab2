//! `Welcome`, and its enums `SnapshotReason` and `Durability`.

use std::time::Duration;

use engine::{Durability, Index, SnapshotReason, StreamId, Term, Timestamp, Verdict, Welcome};

use super::{DecodeError, log_id, log_id_bytes, millis};
use crate::pb;

impl From<Welcome> for pb::Welcome {
    fn from(welcome: Welcome) -> Self {
        let (verdict, reason) = match welcome.verdict {
            Verdict::Resumed => (pb::Verdict::Resumed, pb::SnapshotReason::Unspecified),
            Verdict::Snapshot(reason) => (pb::Verdict::Snapshot, reason.into()),
        };
        Self {
            log_id: log_id_bytes(welcome.log),
            term: welcome.term.0,
            tail: welcome.tail.0,
            floor: welcome.floor.0,
            heartbeat_interval_ms: millis(welcome.heartbeat_interval),
            durability: pb::Durability::from(welcome.durability).into(),
            leader_time_us: welcome.leader_time.0,
            damaged: welcome.damaged,
            stream_id: welcome.stream.0,
            verdict: verdict.into(),
            snapshot_reason: reason.into(),
        }
    }
}

impl TryFrom<pb::Welcome> for Welcome {
    type Error = DecodeError;

    fn try_from(welcome: pb::Welcome) -> Result<Self, Self::Error> {
        let reason = welcome.snapshot_reason().into();
        let verdict = match welcome.verdict() {
            pb::Verdict::Resumed => Verdict::Resumed,
            // An unknown verdict of a newer leader must not end the stream. A replica that expects a snapshot accepts
            // nothing else, so this is the safe choice.
            pb::Verdict::Snapshot | pb::Verdict::Unspecified => Verdict::Snapshot(reason),
        };
        Ok(Self {
            log: log_id(&welcome.log_id)?,
            term: Term(welcome.term),
            tail: Index(welcome.tail),
            floor: Index(welcome.floor),
            heartbeat_interval: Duration::from_millis(welcome.heartbeat_interval_ms.into()),
            durability: welcome.durability().into(),
            leader_time: Timestamp(welcome.leader_time_us),
            damaged: welcome.damaged,
            stream: StreamId(welcome.stream_id),
            verdict,
        })
    }
}

impl From<SnapshotReason> for pb::SnapshotReason {
    fn from(reason: SnapshotReason) -> Self {
        match reason {
            SnapshotReason::Fresh => Self::Fresh,
            SnapshotReason::OtherLog => Self::OtherLog,
            SnapshotReason::Ahead => Self::Ahead,
            SnapshotReason::Compacted => Self::Compacted,
            SnapshotReason::Diverged => Self::Diverged,
            SnapshotReason::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::SnapshotReason> for SnapshotReason {
    fn from(reason: pb::SnapshotReason) -> Self {
        match reason {
            pb::SnapshotReason::Fresh => Self::Fresh,
            pb::SnapshotReason::OtherLog => Self::OtherLog,
            pb::SnapshotReason::Ahead => Self::Ahead,
            pb::SnapshotReason::Compacted => Self::Compacted,
            pb::SnapshotReason::Diverged => Self::Diverged,
            pb::SnapshotReason::Unspecified => Self::Unknown,
        }
    }
}

impl From<Durability> for pb::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Memory => Self::Memory,
            Durability::Os => Self::Os,
            Durability::Fsync => Self::Fsync,
            Durability::Unknown => Self::Unspecified,
        }
    }
}

impl From<pb::Durability> for Durability {
    fn from(durability: pb::Durability) -> Self {
        match durability {
            pb::Durability::Memory => Self::Memory,
            pb::Durability::Os => Self::Os,
            pb::Durability::Fsync => Self::Fsync,
            pb::Durability::Unspecified => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_of_a_newer_leader_do_not_make_a_welcome_unreadable() {
        let newer = |verdict: i32| {
            let log_id = vec![0; 16];
            let welcome = pb::Welcome { log_id, durability: 77, verdict, snapshot_reason: 88, ..Default::default() };
            Welcome::try_from(welcome).unwrap()
        };
        assert_eq!(newer(pb::Verdict::Resumed.into()).durability, Durability::Unknown);
        assert_eq!(newer(pb::Verdict::Resumed.into()).verdict, Verdict::Resumed);
        assert_eq!(newer(pb::Verdict::Snapshot.into()).verdict, Verdict::Snapshot(SnapshotReason::Unknown));
        assert_eq!(newer(99).verdict, Verdict::Snapshot(SnapshotReason::Unknown));
    }
}
