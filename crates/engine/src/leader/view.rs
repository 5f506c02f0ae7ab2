//! What a leader knows of its own log, and how it judges a replica's position by that.

use crate::fault::{self, Fault};
use crate::{Digest, Index, LogId, Position, Resume, SnapshotReason, Term, Verdict};

/// What a leader knows of its own log when it answers a replica.
///
/// ```
/// use engine::leader::{KnownDigest, LogView};
/// use engine::{Digest, Index, LogId, Position, Resume, SnapshotReason, Term, Verdict};
///
/// let tail = Position { index: Index(20), digest: Digest(1) };
/// let view = LogView { log: LogId(7), term: Term(1), tail, floor: Index(10) };
/// let held = Resume { log: LogId(7), position: Position { index: Index(15), digest: Digest(2) } };
/// assert_eq!(view.verdict(Some(held), KnownDigest::End(Digest(2))), Verdict::Resumed);
/// let other = KnownDigest::End(Digest(3));
/// assert_eq!(view.verdict(Some(held), other), Verdict::Snapshot(SnapshotReason::Diverged));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogView {
    /// The log's identity.
    pub log: LogId,
    /// The leader's term.
    pub term: Term,
    /// The newest committed event.
    pub tail: Position,
    /// Events at or below it were compacted away.
    pub floor: Index,
}

/// What a leader knows of the digest at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KnownDigest {
    /// A batch ends there with this digest.
    End(Digest),
    /// No batch ends there. A replica only ever stands at the end of a batch.
    NoEnd,
    /// What is stored there is damaged.
    Damaged,
}

/// The digest of a batch that ends at an index, if one does.
impl From<Option<Digest>> for KnownDigest {
    fn from(digest: Option<Digest>) -> Self {
        digest.map_or(Self::NoEnd, Self::End)
    }
}

/// Where a subscriber reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The shared ring of recent frames.
    Ring,
    /// Storage: the subscriber fell out of the ring.
    Store,
    /// A snapshot: the history it needs was compacted away.
    Snapshot,
}

impl LogView {
    /// Judges what a replica says it holds. `known` is what this leader knows of the digest at the replica's index.
    #[must_use]
    pub fn verdict(&self, resume: Option<Resume>, known: KnownDigest) -> Verdict {
        assert!(self.floor <= self.tail.index, "the floor lies beyond the tail");
        let Some(Resume { log, position }) = resume else {
            return Verdict::Snapshot(SnapshotReason::Fresh);
        };
        if log != self.log {
            Verdict::Snapshot(SnapshotReason::OtherLog)
        } else if position.index > self.tail.index {
            Verdict::Snapshot(SnapshotReason::Ahead)
        } else if position.index < self.floor {
            Verdict::Snapshot(SnapshotReason::Compacted)
        } else if fault::active(Fault::ResumeWithoutDigestCheck) {
            Verdict::Resumed
        } else {
            match known {
                KnownDigest::End(digest) if digest == position.digest => Verdict::Resumed,
                KnownDigest::End(_) | KnownDigest::NoEnd => Verdict::Snapshot(SnapshotReason::Diverged),
                // The digest there cannot be compared, so nothing says that the replica's is wrong.
                KnownDigest::Damaged => Verdict::Snapshot(SnapshotReason::Compacted),
            }
        }
    }

    /// Where the events from `next` on are read, for a subscriber that was sent everything before.
    ///
    /// `ring_first` is the first event that the ring still holds, or `None` when it holds none.
    #[must_use]
    pub fn source(&self, next: Index, ring_first: Option<Index>) -> Source {
        let in_ring = ring_first.is_some_and(|first| first <= next);
        if in_ring || next > self.tail.index {
            Source::Ring
        } else if next > self.floor {
            Source::Store
        } else {
            Source::Snapshot
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(1);

    #[test]
    fn each_verdict_names_the_check_that_failed() {
        let digest = Digest(77);
        let tail = Position { index: Index(20), digest: Digest(99) };
        let view = LogView { log: LOG, term: Term(1), tail, floor: Index(10) };
        let ask = |log, index, known| {
            let position = Position { index: Index(index), digest };
            view.verdict(Some(Resume { log, position }), known)
        };
        use SnapshotReason::{Ahead, Compacted, Diverged, Fresh, OtherLog};
        let same = KnownDigest::End(digest);
        assert_eq!(view.verdict(None, KnownDigest::NoEnd), Verdict::Snapshot(Fresh));
        // A longer log of another identity is not a continuation, however its indexes compare.
        assert_eq!(ask(LogId(2), 15, same), Verdict::Snapshot(OtherLog));
        assert_eq!(ask(LOG, 21, same), Verdict::Snapshot(Ahead));
        assert_eq!(ask(LOG, 9, same), Verdict::Snapshot(Compacted));
        assert_eq!(ask(LOG, 15, KnownDigest::End(Digest(78))), Verdict::Snapshot(Diverged));
        assert_eq!(ask(LOG, 15, KnownDigest::NoEnd), Verdict::Snapshot(Diverged));
        assert_eq!(ask(LOG, 15, KnownDigest::Damaged), Verdict::Snapshot(Compacted));
        for index in [10, 15, 20] {
            assert_eq!(ask(LOG, index, same), Verdict::Resumed, "both bounds are inclusive");
        }
    }

    #[test]
    fn a_subscriber_reads_the_ring_then_the_store_then_a_snapshot() {
        let tail = Position { index: Index(20), digest: Digest(0) };
        let view = LogView { log: LOG, term: Term(1), tail, floor: Index(10) };
        assert_eq!(view.source(Index(21), None), Source::Ring);
        assert_eq!(view.source(Index(18), Some(Index(18))), Source::Ring);
        assert_eq!(view.source(Index(17), Some(Index(18))), Source::Store);
        assert_eq!(view.source(Index(11), Some(Index(18))), Source::Store);
        assert_eq!(view.source(Index(10), Some(Index(18))), Source::Snapshot);
        assert_eq!(view.source(Index(20), None), Source::Store);
    }
}
