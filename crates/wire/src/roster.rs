//! What a leader tells those who watch it: where its log ends, and which replicas follow.

use std::time::Duration;

use engine::{Index, Operation, Resume, Snapshot, Standing, Term, Timestamp, Verdict};

use crate::Identity;

/// The most rows of a [`Roster`].
pub const MAX_ROWS: usize = 20;

/// The most operations in [`Roster::newest`].
pub const MAX_NEWEST: usize = 16;

/// A leader and its replicas at one moment. A newer one replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    /// The end of the log, and the value there.
    pub tail: Snapshot,
    /// The leader's term.
    pub term: Term,
    /// Events at or below it were compacted away.
    pub floor: Index,
    /// The leader's clock.
    pub leader_time: Timestamp,
    /// The operations of the newest events, at most [`MAX_NEWEST`]. The last one is that of the tail.
    pub newest: Vec<Operation>,
    /// How many replicas have a stream.
    pub connected: u32,
    /// At most [`MAX_ROWS`] replicas, by name and then by id.
    pub replicas: Vec<RosterRow>,
    /// How many others there are.
    pub not_shown: u32,
    /// What draws random operations; `None` from a leader that does not say.
    pub generator: Option<GeneratorStatus>,
}

/// A replica, as its leader knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterRow {
    /// Who it is. A replica without an id has a made-up name.
    pub identity: Identity,
    /// Whether it is one of the original demo, which reports nothing.
    pub original: bool,
    /// Whether it has a stream that progresses. With streams and not connected, it is stalled.
    pub connected: bool,
    /// The position in its last report.
    pub position: Option<Resume>,
    /// The value there, if it said so.
    pub value: Option<i64>,
    /// How the leader judged that position.
    pub standing: Standing,
    /// How long after its commit the newest event was applied, by its last report.
    pub lag: Duration,
    /// The time since it subscribed, reported or left.
    pub last_heard: Duration,
    /// The newest event that was written to its newest stream.
    pub sent: Index,
    /// How long its newest stream has been open; `None` if it has none.
    pub streaming: Option<Duration>,
    /// How its newest subscription was answered, if that is known. If it asked for a fresh state because it had dropped one,
    /// the reason is why it dropped that.
    pub verdict: Option<Verdict>,
    /// How many streams it has; 0 if it left.
    pub streams: u32,
}

/// What draws a leader's random operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeneratorStatus {
    /// Whether it is paused.
    pub paused: bool,
    /// How many operations it draws in a second while it is not paused, on average.
    pub rate: f64,
    /// The highest rate that can be asked for.
    pub max_rate: f64,
    /// Whether callers may pause and pace it.
    pub controllable: bool,
    /// Whether it draws nothing more.
    pub ended: bool,
}
