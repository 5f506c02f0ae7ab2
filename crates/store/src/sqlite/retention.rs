//! How much history is kept: when the next snapshot is due, and how far old batches are compacted away.
//!
//! History is only ever compacted up to a snapshot, because it must start with a known value.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use engine::{Index, Snapshot};

use super::Options;
use super::rows::Stored;

/// A snapshot is taken at the latest when this part of the permitted bytes was written since the last one. So history is
/// compacted in steps of that size, and what is kept stays near the bound however large the batches are.
const STEPS: u64 = 8;

/// The snapshots of a log, and the bounds of its history.
#[derive(Debug)]
pub(super) struct Retention {
    snapshot_every: NonZeroU64,
    retain: NonZeroU64,
    retain_bytes: Option<NonZeroU64>,
    /// Where history starts.
    floor: Snapshot,
    /// The snapshots in the database, oldest first; all above the floor.
    snapshots: VecDeque<Snapshot>,
    /// What was written since the newest snapshot.
    since_snapshot: Stored,
}

/// What a commit changes beside adding its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the state after the commit becomes a snapshot.
    pub(super) takes_snapshot: bool,
    /// Where history starts from now on, if that changes.
    pub(super) floor: Option<Snapshot>,
}

impl Retention {
    pub(super) fn new(options: &Options, floor: Snapshot, snapshots: Vec<Snapshot>, since_snapshot: Stored) -> Self {
        Self {
            snapshot_every: options.snapshot_every,
            retain: options.retain,
            retain_bytes: options.retain_bytes,
            floor,
            snapshots: snapshots.into(),
            since_snapshot,
        }
    }

    /// The newest state from which the rest of the log can be replayed.
    pub(super) fn newest_snapshot(&self) -> Snapshot {
        self.snapshots.back().copied().unwrap_or(self.floor)
    }

    /// What the commit of `batch`, which ends at `tail`, is to change. `used` is what the database takes, if all rows below
    /// the floor are deleted; `None` if some are left, because then nobody knows yet what the rest takes.
    pub(super) fn plan(&self, tail: Index, batch: Stored, used: Option<u64>) -> Plan {
        let events = tail.events_since(self.newest_snapshot().position().index);
        let written = self.since_snapshot.plus(batch).bytes();
        let is_due = |bytes: NonZeroU64| written >= bytes.get() / STEPS;
        let takes_snapshot = events >= self.snapshot_every.get() || self.retain_bytes.is_some_and(is_due);

        let by_events = self.newest_with_events_after(tail);
        let is_over = self.retain_bytes.zip(used).is_some_and(|(bytes, used)| used > bytes.get());
        let by_bytes = if is_over { self.snapshots.front().copied() } else { None };
        let floor = by_events.into_iter().chain(by_bytes).max_by_key(|snapshot| snapshot.position().index);
        Plan { takes_snapshot, floor }
    }

    /// Follows a commit that was made as planned. `tail` is the state after it.
    pub(super) fn committed(&mut self, plan: Plan, batch: Stored, tail: Snapshot) {
        if plan.takes_snapshot {
            self.snapshots.push_back(tail);
            self.since_snapshot = Stored::default();
        } else {
            self.since_snapshot = self.since_snapshot.plus(batch);
        }
        if let Some(floor) = plan.floor {
            self.floor = floor;
            self.snapshots.retain(|snapshot| snapshot.position().index > floor.position().index);
        }
    }

    /// The newest snapshot with at least `retain` events after it, if it is above the floor.
    fn newest_with_events_after(&self, tail: Index) -> Option<Snapshot> {
        let is_old_enough = |snapshot: &Snapshot| tail.events_since(snapshot.position().index) >= self.retain.get();
        // They are in order, so the old ones come first.
        let newest = self.snapshots.partition_point(is_old_enough).checked_sub(1)?;
        self.snapshots.get(newest).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use engine::{Digest, Durability, LogId, Position};

    use super::*;

    const BATCH: Stored = Stored { batches: 1, frames: 36 };

    fn state(index: u64) -> Snapshot {
        Snapshot::take(LogId(1), Position { index: Index(index), digest: Digest(index) }, 0)
    }

    fn retention(snapshot_every: u64, retain: u64, retain_bytes: Option<u64>) -> Retention {
        let options = Options {
            directory: PathBuf::new(),
            durability: Durability::Os,
            snapshot_every: NonZeroU64::new(snapshot_every).unwrap(),
            retain: NonZeroU64::new(retain).unwrap(),
            retain_bytes: retain_bytes.and_then(NonZeroU64::new),
        };
        Retention::new(&options, state(0), Vec::new(), Stored::default())
    }

    /// Commits one event at each index up to `tail`. `used` says what the database takes before each commit.
    fn fill(retention: &mut Retention, tail: u64, used: impl Fn(u64) -> Option<u64>) -> Vec<Plan> {
        let commit = |index| {
            let plan = retention.plan(Index(index), BATCH, used(index));
            retention.committed(plan, BATCH, state(index));
            plan
        };
        (1..=tail).map(commit).collect()
    }

    fn snapshots(plans: &[Plan]) -> Vec<usize> {
        (1..=plans.len()).filter(|index| plans[index - 1].takes_snapshot).collect()
    }

    #[test]
    fn a_snapshot_is_due_after_so_many_events_or_an_eighth_of_the_bytes() {
        assert_eq!(BATCH.bytes(), 100);
        for (retain_bytes, expected) in [(None, [20, 40]), (Some(16_000), [20, 40]), (Some(4_000), [5, 10])] {
            let plans = fill(&mut retention(20, 1_000, retain_bytes), 59, |_| None);
            assert_eq!(snapshots(&plans)[..2], expected, "{retain_bytes:?}");
        }
    }

    #[test]
    fn one_snapshot_after_the_other_becomes_the_floor_while_the_database_is_too_large() {
        let mut retention = retention(10, 1_000, Some(100_000));
        fill(&mut retention, 45, |_| Some(100_000));
        assert_eq!(retention.floor, state(0), "the bound itself is permitted");
        let floor = |plan: Plan| plan.floor.map(|floor| floor.position().index.0);
        let mut next = |index, used| {
            let plan = retention.plan(Index(index), BATCH, used);
            retention.committed(plan, BATCH, state(index));
            floor(plan)
        };
        assert_eq!(next(46, Some(100_001)), Some(10));
        assert_eq!(next(47, None), None, "rows are left to be deleted");
        assert_eq!(next(48, Some(100_001)), Some(20));
        assert_eq!(next(49, Some(99_999)), None);
        for (index, expected) in [(50, Some(30)), (51, Some(40)), (52, Some(50)), (53, None)] {
            assert_eq!(
                next(index, Some(u64::MAX)),
                expected,
                "the newest snapshot is the last that history can start at"
            );
        }
    }

    #[test]
    fn the_stricter_of_two_bounds_decides() {
        let kept = |retain, used| {
            let mut retention = retention(10, retain, Some(100_000));
            fill(&mut retention, 95, |index| if index > 90 { used } else { None });
            retention.floor.position().index.0
        };
        assert_eq!(kept(30, Some(100_000)), 60, "events decide");
        assert_eq!(kept(1_000, Some(100_001)), 50, "bytes decide: five steps in five commits");
        assert_eq!(kept(60, Some(100_001)), 80, "bytes decide, beyond what events allow");
    }
}
