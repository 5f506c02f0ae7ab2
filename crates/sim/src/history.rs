//! The record of what leaders, replicas and clients saw, for the invariants to check.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use engine::replica::State;
use engine::{Digest, Event, Frame, Index, LogId, Operation, Position, ProducerId, Sequence, Snapshot, Term};
use store::Commit;

/// Which faults a world has beside crashes, cuts and partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Whether a power cut may lose acknowledged events (`Durability::Os`).
    pub forgetful_disk: bool,
    /// Whether links lose, repeat and exchange frames.
    pub scrambling_links: bool,
    /// Whether links alter frames.
    pub altering_links: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// It started, with at most the state that it had saved.
    Started,
    /// It reached this state by a snapshot or a batch.
    Held { log: LogId, position: Position, value: i64 },
    /// It applied an event.
    Applied(Event),
    /// It applied an event whose author is another than who submitted it.
    WrongAuthor { event: Event, author: String },
    /// A leader welcomed it.
    Welcomed { log: LogId, term: Term },
    /// It became live at this position. `on_disk` is false if its leader still runs and no batch on the disk ends there.
    CaughtUp { position: Position, on_disk: bool },
    /// It diverged, by its own digest or by a leader's verdict.
    Diverged { by_digest: bool },
    /// A leader's goodbye ended its stream while it stood at `held`.
    Goodbye { term: Term, held: Index },
    /// A leader answered its report at this position with "diverged".
    ReportedDiverged(Position),
}

/// The final answer to a client's operation.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) operation: Operation,
    pub(crate) expected: Option<Index>,
    pub(crate) outcome: Outcome,
    pub(crate) asked_at: Duration,
    pub(crate) answered_at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the log.
    Done(Event),
    /// It is not in the log.
    NotDone,
    /// It may be in the log.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) term: Term,
    /// The newest event that the leader had published.
    pub(crate) tail: Index,
}

/// The end of a leader that was neither killed nor shut down.
#[derive(Clone, Debug)]
pub(crate) struct LeaderEnd {
    pub(crate) term: Term,
    pub(crate) why: String,
    /// Whether a takeover or a disk fault explains it.
    pub(crate) explained: bool,
}

/// The state of the world after it healed.
#[derive(Clone, Debug)]
pub(crate) struct Healed {
    pub(crate) tail: Snapshot,
    pub(crate) replicas: Vec<(State, Option<Snapshot>)>,
    /// Clients that still waited for an answer.
    pub(crate) waiting: usize,
    /// Whether an operation could be committed after healing.
    pub(crate) takes_operations: bool,
}

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) nature: Nature,
    /// For each replica, in order of time.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) answers: Vec<Answer>,
    /// Producers that a leader refused as unknown.
    pub(crate) forgotten: Vec<(ProducerId, Sequence)>,
    /// The terms of leaders, in order of their start.
    pub(crate) terms: Vec<Term>,
    pub(crate) ends: Vec<LeaderEnd>,
    /// The terms of leaders that continued for too long after another one took over.
    pub(crate) lingering: Vec<Term>,
    pub(crate) closed: Vec<Closed>,
    /// Events that leaders acknowledged, whether or not the answer arrived.
    pub(crate) acknowledged: Vec<(Term, Index)>,
    /// The commits on the disk at the end.
    pub(crate) log: Vec<Commit>,
    /// The commits that power cuts took.
    pub(crate) lost: Vec<Commit>,
    pub(crate) healed: Option<Healed>,
    trace: String,
}

impl History {
    pub(crate) fn new(nature: Nature, replicas: usize) -> Self {
        Self {
            nature,
            seen: vec![Vec::new(); replicas],
            answers: Vec::new(),
            forgotten: Vec::new(),
            terms: Vec::new(),
            ends: Vec::new(),
            lingering: Vec::new(),
            closed: Vec::new(),
            acknowledged: Vec::new(),
            log: Vec::new(),
            lost: Vec::new(),
            healed: None,
            trace: String::new(),
        }
    }

    pub(crate) fn trace(&mut self, now: Duration, what: &str) {
        let _ = writeln!(self.trace, "{:>10.3} {what}", now.as_secs_f64());
    }

    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// The indexes that a power cut took, in worlds that allow it.
    pub(crate) fn excused(&self) -> BTreeSet<Index> {
        let lost = self.lost.iter().filter(|_| self.nature.forgetful_disk);
        lost.flat_map(|commit| (commit.batch.first.0..=commit.batch.end.index.0).map(Index)).collect()
    }

    /// Every event of the log with its value and digest.
    pub(crate) fn truth(&self) -> Truth {
        Truth::of(&self.log)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    events: Vec<(Event, Digest)>,
    start: Digest,
}

impl Truth {
    fn of(commits: &[Commit]) -> Self {
        let Some(first) = commits.first() else { return Self::default() };
        let start = Digest::of_log(first.tail.log());
        let mut truth = Self { events: Vec::new(), start };
        let (mut value, mut digest) = (0, start);
        for commit in commits {
            let mut frame = commit.batch.frame.clone();
            // A frame that is no batch ends the log here, so that `prefix` reports every replica that holds more.
            let Ok(Some(Frame::Batch(batch))) = wire::frame::decode_next(&mut frame) else { break };
            for event in batch.events(value) {
                value = event.value;
                digest = digest.after(event.index, event.operation, event.value);
                truth.events.push((event, digest));
            }
        }
        truth
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().map(|(event, _)| *event)
    }

    pub(crate) fn event(&self, index: Index) -> Option<Event> {
        let at = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.events.get(at).map(|(event, _)| *event)
    }

    pub(crate) fn state(&self, index: Index) -> Option<(i64, Digest)> {
        if index == Index::ZERO {
            return Some((0, self.start));
        }
        let at = usize::try_from(index.0 - 1).ok()?;
        self.events.get(at).map(|(event, digest)| (event.value, *digest))
    }
}
