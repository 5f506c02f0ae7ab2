//! The log that a store keeps, and what becomes of it.

use std::rc::Rc;

use engine::{
    Batch, Digest, Event, Index, LogId, Operation, Position, ProducerChanges, ProducerId, Snapshot, Submitted, Term,
};

/// The one log of a world.
pub(crate) const LOG: LogId = LogId(1);

/// What a store keeps when no leader runs.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Log {
    /// Everything that was committed, in order. Compaction only hides the oldest.
    commits: Vec<Rc<Commit>>,
    /// How many of them are compacted away. One always stays.
    compacted: usize,
    /// How many of them a power cut leaves for sure.
    synced: usize,
    /// Whether a commit is synced before it is reported as done.
    syncs: bool,
    term: Term,
    /// The states that a power cut took.
    lost: Vec<Snapshot>,
}

/// What becomes durable together.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Commit {
    pub(crate) batch: Batch,
    pub(crate) tail: Snapshot,
    pub(crate) producers: ProducerChanges,
}

/// How an append ends if the store has its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    /// The commit is written.
    Written,
    /// There is no room.
    Full,
    /// The store fails, and the commit was written or not.
    Unknown { written: bool },
}

/// Why a commit was not reported as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// Another leader opened the log.
    Fenced,
    /// The batch does not follow the tail.
    NotNext,
    /// There is no room.
    Unavailable,
    /// Whether it was written is not known.
    OutcomeUnknown,
}

impl Log {
    pub(crate) fn new(forgetful: bool) -> Self {
        Self { commits: Vec::new(), compacted: 0, synced: 0, syncs: !forgetful, term: Term(0), lost: Vec::new() }
    }

    /// Opens the log for writing, which takes the next term and forces everything to the disk.
    pub(crate) fn open(&mut self) -> Term {
        self.term = Term(self.term.0 + 1);
        self.synced = self.commits.len();
        self.term
    }

    pub(crate) fn append(&mut self, term: Term, commit: &Rc<Commit>, luck: Luck) -> Result<(), AppendError> {
        if term != self.term {
            return Err(AppendError::Fenced);
        }
        if luck == Luck::Full {
            return Err(AppendError::Unavailable);
        }
        if commit.batch.first() != self.tail().position().index.next() {
            return Err(AppendError::NotNext);
        }
        if luck != (Luck::Unknown { written: false }) {
            self.commits.push(Rc::clone(commit));
        }
        if matches!(luck, Luck::Unknown { .. }) {
            return Err(AppendError::OutcomeUnknown);
        }
        if self.syncs {
            self.synced = self.commits.len();
        }
        Ok(())
    }

    /// Whether there is something that can be compacted away.
    pub(crate) fn can_compact(&self) -> bool {
        self.compacted + 1 < self.commits.len()
    }

    pub(crate) fn compact(&mut self) {
        self.compacted += 1;
    }

    /// How many commits a power cut can leave.
    pub(crate) fn left_by_power_cut(&self) -> std::ops::Range<usize> {
        self.synced..self.commits.len()
    }

    /// Only the first `left` commits stay.
    pub(crate) fn lose_power(&mut self, left: usize) {
        self.lost.extend(self.commits.drain(left..).map(|commit| commit.tail));
        self.synced = left;
        self.compacted = self.compacted.min(left.saturating_sub(1));
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    pub(crate) fn is_forgetful(&self) -> bool {
        !self.syncs
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(crate) fn tail(&self) -> Snapshot {
        self.commits.last().map_or_else(|| Snapshot::take(LOG, Position::origin(LOG), 0), |last| last.tail)
    }

    pub(crate) fn last(&self) -> Option<&Commit> {
        self.commits.last().map(Rc::as_ref)
    }

    pub(crate) fn before_last(&self) -> Option<&Commit> {
        self.commits.iter().rev().nth(1).map(Rc::as_ref)
    }

    pub(crate) fn floor(&self) -> Position {
        let last = self.compacted.checked_sub(1).and_then(|last| self.commits.get(last));
        last.map_or_else(|| Position::origin(LOG), |commit| commit.tail.position())
    }

    /// Who submitted what last.
    pub(crate) fn producers(&self) -> Vec<Submitted> {
        let mut producers = Vec::<Submitted>::new();
        for changes in self.commits.iter().map(|commit| &commit.producers) {
            producers.retain(|known| {
                !changes.forgotten.contains(&known.producer)
                    && changes.written.iter().all(|written| written.producer != known.producer)
            });
            producers.extend(changes.written.iter().cloned());
        }
        producers
    }

    pub(crate) fn knows(&self, producer: &ProducerId) -> bool {
        self.commits.iter().any(|commit| commit.producers.written.iter().any(|written| written.producer == *producer))
    }

    /// The commit with the event at `from`, if history still has it.
    pub(crate) fn read(&self, from: Index) -> Option<&Commit> {
        self.commits[self.compacted..]
            .iter()
            .map(Rc::as_ref)
            .find(|commit| commit.batch.first() <= from && from <= commit.batch.last())
    }

    /// The digest at `index`; `None` if no batch ends there, or the store no longer knows.
    pub(crate) fn digest_at(&self, index: Index) -> Option<Digest> {
        let floor = self.floor();
        if index == floor.index {
            return Some(floor.digest);
        }
        let batches = self.commits[self.compacted..].iter().map(|commit| &commit.batch);
        batches.map(Batch::end).find(|end| end.index == index).map(|end| end.digest)
    }

    /// Whether the log has this very state at the end of a batch, compacted or not.
    pub(crate) fn has(&self, state: Snapshot) -> bool {
        state == Snapshot::take(LOG, Position::origin(LOG), 0) || self.commits.iter().any(|commit| commit.tail == state)
    }

    /// Whether a power cut took this very state.
    pub(crate) fn lost(&self, state: Snapshot) -> bool {
        self.lost.contains(&state)
    }

    /// Every event, compacted or not.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let mut before = 0;
        self.commits.iter().flat_map(move |commit| {
            let value = std::mem::replace(&mut before, commit.tail.value());
            commit.batch.events(value)
        })
    }

    /// Whether the value was this after some event, or before the first.
    pub(crate) fn had_value(&self, value: i64) -> bool {
        value == 0 || self.events().any(|event| event.value == value)
    }

    /// The events with this operation, which no other submission has.
    pub(crate) fn places(&self, operation: Operation) -> impl Iterator<Item = Event> + '_ {
        self.events().filter(move |event| event.operation == operation)
    }
}
