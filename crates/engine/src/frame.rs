//! What travels on the stream, as engine types: the request to subscribe and the frames that answer it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::{Batch, Index, LogId, Position, Snapshot, Term, Timestamp};

/// A replica asks for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What the replica holds, or `None` if it holds nothing.
    pub resume: Option<Resume>,
    /// What the replica dropped since it was last live, if anything. For people: the answer does not depend on it.
    pub dropped: Option<Dropped>,
}

/// Covers what decides the answer.
impl Hash for Subscribe {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.resume.hash(hasher);
    }
}

/// A state that a replica dropped because it is not the leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// Which check it failed.
    pub reason: SnapshotReason,
    /// Where it was.
    pub at: Position,
}

/// What a replica holds: a position in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resume {
    /// The log that the position is in.
    pub log: LogId,
    /// The end of what the replica applied.
    pub position: Position,
}

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Always first, and only first.
    Welcome(Welcome),
    /// A state to start from.
    Snapshot(SnapshotFrame),
    /// Committed events.
    Batch(Batch),
    /// Nothing new, but the leader lives.
    Heartbeat(Heartbeat),
    /// The leader ends the stream on purpose; always last.
    Goodbye(Goodbye),
}

/// The first frame of every stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Welcome {
    /// The leader's log.
    pub log: LogId,
    /// The leader's term.
    pub term: Term,
    /// The newest committed event when the request was answered.
    pub tail: Index,
    /// Events at or below it are no longer in the history.
    pub floor: Index,
    /// How often a heartbeat comes; three missed ones make the link stale. At least 1 ms.
    pub heartbeat_interval: Duration,
    /// What a crash of the leader can take away.
    pub durability: Durability,
    /// The leader's clock, from which a replica computes the difference to its own.
    pub leader_time: Timestamp,
    /// How the stream goes on.
    pub verdict: Verdict,
    /// Beside [`SnapshotReason::Compacted`]: the history that the replica needs is damaged in the leader's storage.
    pub damaged: bool,
    /// Names this stream in the replica's reports.
    pub stream: StreamId,
}

/// Names a stream among all that a leader serves. 0: the leader gives no names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// How a leader answers what a replica says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The position is part of this log: batches follow from the event after it.
    Resumed,
    /// A snapshot follows.
    Snapshot(SnapshotReason),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resumed => f.write_str("resumed"),
            Self::Snapshot(reason) => write!(f, "snapshot ({reason})"),
        }
    }
}

/// Which check of the position failed, so that the replica needs a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SnapshotReason {
    /// The replica holds nothing.
    Fresh,
    /// The replica holds a position in another log: the leader started a new one.
    OtherLog,
    /// The replica is beyond the leader's tail.
    Ahead,
    /// The history that the replica needs was compacted away.
    Compacted,
    /// The digest at the replica's index is not the leader's.
    Diverged,
    /// A reason that this version does not know. A snapshot follows as well.
    Unknown,
}

impl fmt::Display for SnapshotReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "fresh",
            Self::OtherLog => "other_log",
            Self::Ahead => "ahead",
            Self::Compacted => "compacted",
            Self::Diverged => "diverged",
            Self::Unknown => "unknown",
        })
    }
}

/// What a crash can take away from the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Everything: the log lives in memory and a restart begins a new one.
    Memory,
    /// Nothing while the operating system runs; a power cut may take the last moments.
    Os,
    /// Nothing: every batch is on the disk before it is acknowledged or sent.
    Fsync,
    /// A mode of a newer leader that this version does not know.
    Unknown,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Fsync => "fsync",
            Self::Unknown => "unknown",
        })
    }
}

/// A snapshot on the stream, with the term of the leader that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotFrame {
    /// The sender's term.
    pub term: Term,
    /// The state itself.
    pub snapshot: Snapshot,
}

/// A sign of life. It travels in the same queue as batches, so every event up to `tail` was sent before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// The newest committed event.
    pub tail: Index,
    /// Events at or below it are no longer in the history.
    pub floor: Index,
    /// The leader's clock.
    pub leader_time: Timestamp,
}

/// The last frame of a stream that the leader ends on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// When to try again, from now.
    pub retry_after: Duration,
}

/// Why a leader ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoodbyeReason {
    /// The leader is shutting down.
    ShuttingDown,
    /// The leader has more subscribers than it can serve.
    Overloaded,
    /// Another leader took over the log, or this one cannot write to it any more.
    SteppedDown,
    /// The leader gave no reason, or one that this version does not know.
    Unknown,
}

impl fmt::Display for GoodbyeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "shutting_down",
            Self::Overloaded => "overloaded",
            Self::SteppedDown => "stepped_down",
            Self::Unknown => "unknown",
        })
    }
}
