//! `Snapshot`.

use engine::frame::SnapshotFrame;
use engine::{Digest, Index, Position, Snapshot, Term};

use super::{DecodeError, log_id, log_id_bytes};
use crate::pb;

impl From<SnapshotFrame> for pb::Snapshot {
    fn from(SnapshotFrame { term, snapshot }: SnapshotFrame) -> Self {
        Self {
            log_id: log_id_bytes(snapshot.log()),
            term: term.0,
            index: snapshot.position().index.0,
            digest: snapshot.position().digest.0,
            value: snapshot.value(),
            checksum: snapshot.checksum(),
        }
    }
}

impl TryFrom<pb::Snapshot> for SnapshotFrame {
    type Error = DecodeError;

    fn try_from(snapshot: pb::Snapshot) -> Result<Self, Self::Error> {
        let position = Position { index: Index(snapshot.index), digest: Digest(snapshot.digest) };
        let log = log_id(&snapshot.log_id)?;
        let term = Term(snapshot.term);
        Ok(Self { term, snapshot: Snapshot::verify(log, position, snapshot.value, snapshot.checksum)? })
    }
}

#[cfg(test)]
mod tests {
    use engine::LogId;

    use super::*;

    #[test]
    fn an_altered_snapshot_is_refused() {
        let snapshot = Snapshot::take(LogId(5), Position { index: Index(3), digest: Digest(9) }, 70);
        let mut message = pb::Snapshot::from(SnapshotFrame { term: Term(1), snapshot });
        assert!(SnapshotFrame::try_from(message.clone()).is_ok());
        message.value += 1;
        assert!(matches!(SnapshotFrame::try_from(message), Err(DecodeError::Snapshot(_))));
    }
}
