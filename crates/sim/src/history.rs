//! What everybody in the world saw, for the invariants to judge.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use engine::replica::State;
use engine::{Digest, Event, Frame, Index, LogId, Operation, Position, ProducerId, Sequence, Snapshot, Term};
use store::Commit;

/// What can go wrong in a world besides crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Whether a power cut may take what was acknowledged (`Durability::Os`).
    pub forgetful_disk: bool,
    /// Whether links lose, repeat and exchange frames.
    pub scrambling_links: bool,
    /// Whether links alter frames.
    pub altering_links: bool,
}

/// Something that a replica saw.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A new life begins, which remembers of the last one what it holds at most.
    Started,
    /// It holds a state: after a snapshot, or after a batch.
    Held { log: LogId, position: Position, value: i64 },
    /// It applied an event.
    Applied(Event),
    /// A leader welcomed it.
    Welcomed { log: LogId, term: Term },
    /// It believes that it holds what the leader holds; whether that is on the disk, if the leader is still there.
    CaughtUp { position: Position, on_disk: bool },
    /// Its state is not the log's: by the leader's word, or by its own digest.
    Diverged { by_digest: bool },
    /// A leader ended its stream, and it held this then.
    ToldGoodbye { term: Term, held: Index },
    /// The leader says so too.
    ReportedDiverged(Position),
}

/// What a client was told in the end about one operation.
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
    /// Nobody knows.
    Unknown,
}

/// A leader has said goodbye.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) term: Term,
    /// The newest event that it had published.
    pub(crate) tail: Index,
}

/// How a leader's life ended other than by a fault of the world.
#[derive(Clone, Debug)]
pub(crate) struct LeaderEnd {
    pub(crate) term: Term,
    pub(crate) why: String,
    /// Whether the world gave it a reason.
    pub(crate) explained: bool,
}

/// Where everybody stood after the world was healed.
#[derive(Clone, Debug)]
pub(crate) struct Healed {
    pub(crate) tail: Snapshot,
    pub(crate) replicas: Vec<(State, Option<Snapshot>)>,
    /// Clients that were still waiting for an answer.
    pub(crate) waiting: usize,
    /// Whether an operation could be put in then.
    pub(crate) takes_operations: bool,
}

/// Everything that was seen.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) nature: Nature,
    /// By replica, in the order in which it happened.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) answers: Vec<Answer>,
    /// Producers that a leader said it does not know.
    pub(crate) forgotten: Vec<(ProducerId, Sequence)>,
    /// The term of each leader, in the order in which they started.
    pub(crate) terms: Vec<Term>,
    pub(crate) ends: Vec<LeaderEnd>,
    /// The terms of leaders that led on for too long after another one took over.
    pub(crate) lingering: Vec<Term>,
    pub(crate) closed: Vec<Closed>,
    /// What leaders acknowledged, whether or not anybody heard of it.
    pub(crate) acknowledged: Vec<(Term, Index)>,
    /// What the disk holds in the end, and what power cuts took from it.
    pub(crate) log: Vec<Commit>,
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

    /// Adds a line to the trace.
    pub(crate) fn trace(&mut self, now: Duration, what: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.trace, "{:>10.3} {what}", now.as_secs_f64());
    }

    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// Where a power cut took what had been acknowledged, and was allowed to.
    pub(crate) fn excused(&self) -> BTreeSet<Index> {
        let lost = self.lost.iter().filter(|_| self.nature.forgetful_disk);
        lost.flat_map(|commit| (commit.batch.first.0..=commit.batch.end.index.0).map(Index)).collect()
    }

    /// Every event of the log, with the value and the digest after it, by index.
    pub(crate) fn truth(&self) -> Truth {
        Truth::of(&self.log)
    }
}

/// A log, event by event.
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
            // What is not a batch leaves a hole, in which everybody's history differs from it.
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

    /// The value and the digest after `index`.
    pub(crate) fn state(&self, index: Index) -> Option<(i64, Digest)> {
        if index == Index::ZERO {
            return Some((0, self.start));
        }
        let at = usize::try_from(index.0 - 1).ok()?;
        self.events.get(at).map(|(event, digest)| (event.value, *digest))
    }
}
