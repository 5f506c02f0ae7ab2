//! What was met on the way, so that nobody takes an empty search for a proof.

use engine::replica::{Notice, State};
use engine::{SnapshotReason, Verdict};

/// Something that a search should meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sight {
    /// A replica resumed.
    Resumed,
    /// A replica that held nothing got a snapshot.
    Fresh,
    /// A replica got a snapshot because what it needs was compacted away.
    Compacted,
    /// A replica that had resumed got a snapshot, because compaction overtook it.
    Overtaken,
    /// A replica was ahead of the log.
    Ahead,
    /// A replica's state was not the log's.
    Diverged,
    /// A replica found that events were missing.
    Gap,
    /// A replica was sent something again.
    Duplicate,
    /// A replica was told goodbye.
    Goodbye,
    /// A replica met a leader that should not lead any more.
    StaleLeader,
    /// A replica noticed that nothing came.
    Silent,
    /// A replica got no welcome.
    NoWelcome,
    /// A replica was given something that the rules do not allow.
    Violated,
    /// A replica was live.
    Live,
    /// A leader noticed that another one took over.
    Replaced,
    /// An operation was done.
    Done,
    /// An operation was refused.
    Refused,
    /// An operation was refused, but an earlier attempt could still arrive.
    RefusedForNow,
    /// Nobody knows what became of an operation.
    NotKnown,
    /// An operation that was given up turned out to be in the log.
    AbandonedFound,
    /// An operation that was given up can get into the log no more.
    AbandonedShutOut,
}

/// All of them.
const ALL: [Sight; 21] = [
    Sight::Resumed,
    Sight::Fresh,
    Sight::Compacted,
    Sight::Overtaken,
    Sight::Ahead,
    Sight::Diverged,
    Sight::Gap,
    Sight::Duplicate,
    Sight::Goodbye,
    Sight::StaleLeader,
    Sight::Silent,
    Sight::NoWelcome,
    Sight::Violated,
    Sight::Live,
    Sight::Replaced,
    Sight::Done,
    Sight::Refused,
    Sight::RefusedForNow,
    Sight::NotKnown,
    Sight::AbandonedFound,
    Sight::AbandonedShutOut,
];

/// A set of [`Sight`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sights(u32);

impl Sights {
    pub(crate) fn note(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u8;
    }

    pub(crate) fn note_notice(&mut self, notice: &Notice) {
        let sight = match notice {
            Notice::Welcomed(welcome) => match welcome.verdict {
                Verdict::Resumed => Sight::Resumed,
                Verdict::Snapshot(SnapshotReason::Compacted) => Sight::Compacted,
                Verdict::Snapshot(SnapshotReason::Ahead) => Sight::Ahead,
                Verdict::Snapshot(SnapshotReason::Diverged) => Sight::Diverged,
                Verdict::Snapshot(_) => Sight::Fresh,
            },
            Notice::StateChanged { to: State::Live, .. } => Sight::Live,
            Notice::Gap { .. } => Sight::Gap,
            Notice::Duplicate { .. } => Sight::Duplicate,
            Notice::Goodbye(_) => Sight::Goodbye,
            Notice::StaleLeader { .. } => Sight::StaleLeader,
            Notice::Silent { .. } => Sight::Silent,
            Notice::NoWelcome => Sight::NoWelcome,
            Notice::Violated(_) => Sight::Violated,
            Notice::Diverged(_) => Sight::Diverged,
            _ => return,
        };
        self.note(sight);
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that were never met.
    pub fn missing(self) -> impl Iterator<Item = Sight> {
        ALL.into_iter().filter(move |sight| self.0 & (1 << *sight as u8) == 0)
    }
}
