//! What a replica reports about itself.

use std::time::Duration;

use thiserror::Error;

use super::State;
use crate::{
    Batch, Digest, Dropped, Goodbye, Index, LogId, Position, Refusal, Resume, Snapshot, Term, Verdict, Welcome,
};

/// Something that happened to a replica, for logs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The state is another one now.
    StateChanged {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
    },
    /// A stream began.
    Welcomed(Welcome),
    /// The leader's log is not the one that was held: it started from nothing since.
    NewLog {
        /// The log that was held.
        old: LogId,
        /// The leader's.
        new: LogId,
    },
    /// A snapshot replaced whatever was held.
    SnapshotLoaded {
        /// What is held now.
        snapshot: Snapshot,
    },
    /// Live on this stream for the first time: everything is applied that the welcome promised, and what arrives is
    /// recent.
    CaughtUp(Resync),
    /// What is known of the lag in events changed, with an answer to a report or because the last one is too old.
    LagChanged,
    /// A batch was applied and its digest was right.
    Applied {
        /// The value before the batch; [`Batch::events`] gives each value from there.
        value_before: i64,
        /// The batch.
        batch: Batch,
    },
    /// A batch or snapshot that was already applied came again and was ignored.
    Duplicate {
        /// Its first event.
        first: Index,
        /// Its last event.
        last: Index,
    },
    /// Events are missing; the replica reconnects and resumes from its own position.
    Gap {
        /// The event that should have come; 0 if a snapshot should have.
        expected: Index,
        /// The event that came instead, or that comes after those a heartbeat showed to be missing.
        got: Index,
        /// Whether a heartbeat showed it, so that no event came instead.
        by_heartbeat: bool,
    },
    /// The replica's state is not the leader's: it was dropped.
    Diverged(Divergence),
    /// Another leader of this log has a higher term: this one should not lead any more.
    StaleLeader {
        /// The highest term seen.
        seen: Term,
        /// The term that came.
        got: Term,
    },
    /// The leader ended the stream on purpose.
    Goodbye(Goodbye),
    /// The leader, or something between, broke the rules of the stream.
    Violated(Violation),
    /// The stream ended without a goodbye, or could not be opened.
    LinkLost,
    /// No welcome came within [`WELCOME_TIMEOUT`](super::WELCOME_TIMEOUT).
    NoWelcome,
    /// Not a byte came for three heartbeat intervals, or a single frame took too long.
    Silent {
        /// How long it has been.
        silence: Duration,
    },
}

/// How a replica got from connecting to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resync {
    /// What it held when it asked.
    pub from: Option<Resume>,
    /// How the leader answered.
    pub verdict: Verdict,
    /// Whether a snapshot came because the history that was needed is damaged in the leader's storage.
    pub damaged: bool,
    /// What was dropped since the replica was last live, and why. Then the replica holds nothing and asks for a fresh
    /// state, which the verdict calls `fresh`; this is the first cause.
    pub dropped: Option<Dropped>,
    /// Where the snapshot lay, if one was loaded.
    pub snapshot: Option<Position>,
    /// How many events it applied, after the snapshot if there was one.
    pub events: u64,
    /// From the request until it was live.
    pub took: Duration,
}

/// How a divergence was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Divergence {
    /// The digests at the same index differ.
    #[error("at index {at} the own digest is {own}, the leader's {leader}")]
    Digest {
        /// Where.
        at: Index,
        /// The replica's.
        own: Digest,
        /// The leader's.
        leader: Digest,
    },
    /// An event did not apply, which a log never contains.
    #[error("an event of the batch at index {first} does not apply: {refusal}")]
    Refused {
        /// The first event of the batch.
        first: Index,
        /// Why it does not apply.
        refusal: Refusal,
    },
    /// The leader's welcome said so.
    #[error("the leader does not have the digest of position {at}")]
    Verdict {
        /// What the replica held.
        at: Position,
    },
}

/// A frame that the rules do not allow where it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Violation {
    /// The first frame was not a welcome.
    #[error("the first frame of the stream is not a welcome")]
    NoWelcomeFirst,
    /// A welcome came again.
    #[error("a second welcome on the same stream")]
    SecondWelcome,
    /// The welcome contradicts the request or itself.
    #[error("the welcome contradicts the request or itself")]
    ImpossibleWelcome,
    /// The snapshot is not of the log that the welcome named.
    #[error("the snapshot is of log {log}, not of the log that the welcome named")]
    ForeignSnapshot {
        /// The log that it is of.
        log: LogId,
    },
    /// The snapshot lies below the floor that the welcome named.
    #[error("the snapshot at index {at} lies below the floor at {floor} that the welcome named")]
    SnapshotBelowFloor {
        /// Where it is.
        at: Index,
        /// The welcome's floor.
        floor: Index,
    },
}
