//! An incident: what happened to this page's own stream, on purpose or by itself, and how it healed.

mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::replica::{Divergence, Resync, Violation};
use engine::{Batch, GoodbyeReason, Index, LogId, Operation, Resume, Snapshot, SnapshotReason, Term, Verdict};
pub use steps::{Cell, Mark, Step};

use super::Now;
use super::chain::Chain;
use super::status::Tone;
use crate::format::{self, index, range};

/// How many events the strip of an incident shows.
pub const WINDOW: usize = 12;

/// How many of them lie before the place of the incident.
const BEFORE: u64 = 6;

/// What happened to this page's stream, and how it healed.
#[derive(Clone, Debug)]
pub struct Incident {
    pub(super) id: u64,
    /// What was done on purpose.
    pub(super) done: Option<Done>,
    /// How the replica noticed, and when. At least one of the two is there.
    pub(super) noticed: Option<(Noticed, Now)>,
    pub(super) began: Now,
    /// What the page held when it began.
    pub(super) held: Option<Snapshot>,
    /// The leader's term when it began.
    pub(super) term: Option<Term>,
    /// When what was done was over: the link was up again, or the tab read again.
    pub(super) over: Option<Now>,
    /// How many attempts to reach the leader failed.
    pub(super) attempts: u32,
    /// How the leader answered, and when.
    pub(super) answer: Option<(Answer, Now)>,
    /// How many events had waited for a frozen tab, and when the last of them was applied.
    pub(super) waited: (u64, Option<Now>),
    pub(super) healed: Option<(Healed, Now)>,
    window: Window,
}

/// What this page did to itself. Bounds of batches are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Lost { first: Index, last: Index },
    Repeated { first: Index, last: Index },
    Exchanged { first: Index, last: Index, by: Option<(Index, Index)> },
    Altered { first: Index, last: Index, sent: Operation, arrived: Operation },
    Cut,
    Frozen,
    Forgotten,
}

/// What the replica noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    Gap {
        expected: Index,
        got: Index,
        by_heartbeat: bool,
    },
    Duplicate {
        first: Index,
        last: Index,
    },
    Diverged(Divergence),
    LinkLost(Option<String>),
    Goodbye(GoodbyeReason),
    Silent(Duration),
    StaleLeader {
        seen: Term,
        got: Term,
    },
    Violated(Violation),
    /// The leader sent a snapshot to a live replica, because it no longer keeps what the replica needs.
    Overtaken(Index),
    /// The leader judged a report, in these words.
    Judged(String),
}

/// How an incident begins.
pub(super) enum Beginning {
    Done(Done),
    Noticed(Noticed),
}

/// How the leader answered the request that followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the page said it holds.
    pub(super) asked: Option<Resume>,
    pub(super) verdict: Verdict,
    pub(super) damaged: bool,
    pub(super) log: LogId,
    pub(super) term: Term,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Healed {
    /// The replica asked again and is live.
    Resynced(Resync),
    /// What had waited was applied; nothing was asked.
    Read(u64),
    /// Nothing had to be done.
    Itself,
}

/// The events around the place, as far as they are known.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: Index,
    operations: [Option<Operation>; WINDOW],
}

impl Window {
    fn around(place: Index, chain: &Chain) -> Self {
        let first = Index(place.0.saturating_sub(BEFORE).max(1));
        let mut at = first;
        let operations = std::array::from_fn(|_| {
            let operation = chain.operation(at);
            at = at.next();
            operation
        });
        Self { first, operations }
    }

    fn place(&self, index: Index) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.first.0)?).ok().filter(|place| *place < WINDOW)
    }

    fn operation(&self, index: Index) -> Option<Operation> {
        self.operations[self.place(index)?]
    }
}

impl Incident {
    /// An incident that begins now, where `held` is held.
    pub(super) fn new(
        id: u64,
        beginning: Beginning,
        held: Option<Snapshot>,
        term: Option<Term>,
        chain: &Chain,
        now: Now,
    ) -> Self {
        let (done, noticed) = match beginning {
            Beginning::Done(done) => (Some(done), None),
            Beginning::Noticed(noticed) => (None, Some((noticed, now))),
        };
        let mut incident = Self {
            id,
            done,
            noticed,
            began: now,
            held,
            term,
            over: None,
            attempts: 0,
            answer: None,
            waited: (0, None),
            healed: None,
            window: Window { first: Index::ZERO, operations: [None; WINDOW] },
        };
        incident.window = Window::around(incident.index(), chain);
        incident
    }

    /// Notes the operations of a batch that lie in the window.
    pub(super) fn fill(&mut self, batch: &Batch) {
        let end = self.window.first.plus(WINDOW as u64);
        if batch.first() >= end || batch.last() < self.window.first {
            return;
        }
        let mut index = batch.first();
        for &operation in batch.operations() {
            if let Some(place) = self.window.place(index) {
                self.window.operations[place] = Some(operation);
            }
            index = index.next();
        }
    }

    /// Whether what was done leads to `noticed`.
    pub(super) fn expects(&self, noticed: &Noticed) -> bool {
        let (None, Some(done)) = (&self.noticed, &self.done) else {
            return false;
        };
        match done {
            Done::Lost { .. } | Done::Exchanged { .. } => matches!(noticed, Noticed::Gap { .. }),
            Done::Repeated { first, .. } => matches!(noticed, Noticed::Duplicate { first: came, .. } if came == first),
            Done::Altered { .. } => matches!(noticed, Noticed::Diverged(_)),
            Done::Cut => matches!(noticed, Noticed::LinkLost(_)),
            Done::Frozen => {
                self.over.is_some()
                    && matches!(noticed, Noticed::LinkLost(_) | Noticed::Goodbye(_) | Noticed::Silent(_))
            }
            Done::Forgotten => false,
        }
    }

    /// Whether a new stream heals it: not while the page keeps the link down or the tab frozen.
    pub(super) fn can_heal(&self) -> bool {
        self.over.is_some() || !matches!(self.done, Some(Done::Cut | Done::Frozen))
    }

    // What to show.

    /// Unique among all incidents; later ones have higher numbers.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The kind for programs: `lost`, `repeated`, `exchanged`, `altered`, `cut`, `frozen` and `forgotten` are what this page
    /// did; `gap`, `duplicate`, `diverged`, `link_lost`, `goodbye`, `silent`, `stale_leader`, `violation`, `overtaken` and
    /// `judged` happened.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.done {
            Some(Done::Lost { .. }) => "lost",
            Some(Done::Repeated { .. }) => "repeated",
            Some(Done::Exchanged { .. }) => "exchanged",
            Some(Done::Altered { .. }) => "altered",
            Some(Done::Cut) => "cut",
            Some(Done::Frozen) => "frozen",
            Some(Done::Forgotten) => "forgotten",
            None => match self.noticed.as_ref().map(|(noticed, _)| noticed) {
                Some(Noticed::Gap { .. }) | None => "gap",
                Some(Noticed::Duplicate { .. }) => "duplicate",
                Some(Noticed::Diverged(_)) => "diverged",
                Some(Noticed::LinkLost(_)) => "link_lost",
                Some(Noticed::Goodbye(_)) => "goodbye",
                Some(Noticed::Silent(_)) => "silent",
                Some(Noticed::StaleLeader { .. }) => "stale_leader",
                Some(Noticed::Violated(_)) => "violation",
                Some(Noticed::Overtaken(_)) => "overtaken",
                Some(Noticed::Judged(_)) => "judged",
            },
        }
    }

    /// Where on the log it happened: its first event, or the first that was not held when it began.
    #[must_use]
    pub fn index(&self) -> Index {
        match (&self.done, &self.noticed) {
            (
                Some(
                    Done::Lost { first, .. }
                    | Done::Repeated { first, .. }
                    | Done::Exchanged { first, .. }
                    | Done::Altered { first, .. },
                ),
                _,
            )
            | (None, Some((Noticed::Duplicate { first, .. }, _))) => *first,
            _ => self.held_index().next(),
        }
    }

    /// Where it belongs in `log`: `None` if it happened in another one. With a new log it belongs where that began here.
    #[must_use]
    pub fn place(&self, log: LogId) -> Option<Index> {
        let answer = self.answer.filter(|(answer, _)| answer.log == log);
        match self.held {
            Some(held) if held.log() == log => Some(self.index()),
            _ => answer.map(|_| self.snapshot().unwrap_or(Index::ZERO)),
        }
    }

    /// Whether this page did it on purpose.
    #[must_use]
    pub fn is_injected(&self) -> bool {
        self.done.is_some()
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> Now {
        self.began
    }

    /// When it was healed; `None` while it is not.
    #[must_use]
    pub fn healed(&self) -> Option<Now> {
        self.healed.map(|(_, at)| at)
    }

    /// Whether a snapshot was needed to heal it.
    #[must_use]
    pub fn took_snapshot(&self) -> bool {
        self.snapshot().is_some() || matches!(self.noticed, Some((Noticed::Overtaken(_), _)))
    }

    /// How long healing took: since the link was up again or the tab read again, or else since it was noticed. What had
    /// waited for a frozen tab is healed with the last of it.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        let noticed = self.noticed.as_ref().map(|(_, at)| *at);
        let since = self.over.or(noticed).unwrap_or(self.began);
        let (healed, at) = self.healed?;
        let end = if matches!(healed, Healed::Read(_)) { self.waited.1.unwrap_or(since) } else { at };
        Some(end.at.since(since.at))
    }

    /// The two terms, if another leader answered than before.
    #[must_use]
    pub fn new_term(&self) -> Option<(Term, Term)> {
        let (answer, _) = self.answer?;
        self.term.filter(|before| !self.has_new_log() && *before != answer.term).map(|before| (before, answer.term))
    }

    /// Whether the leader answered with another log than before.
    #[must_use]
    pub fn has_new_log(&self) -> bool {
        self.held.zip(self.answer).is_some_and(|(held, (answer, _))| held.log() != answer.log)
    }

    /// How good it is: healed, or not yet.
    #[must_use]
    pub fn tone(&self) -> Tone {
        if self.healed.is_some() { Tone::Good } else { Tone::Warn }
    }

    /// The incident in one line, for the event log and the chart.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.lead();
        if let Some((_, term)) = self.new_term() {
            line += &format!(" · term {}", term.0);
        }
        if self.has_new_log() {
            line += " · new log";
        }
        let end = match &self.healed {
            None => " · not healed yet".to_owned(),
            Some((Healed::Read(events), _)) => format!(" · {} had waited, no snapshot", format::events(*events)),
            Some((Healed::Itself, _)) => String::new(),
            Some((Healed::Resynced(resync), _)) => {
                let events = match resync.events {
                    0 => String::new(),
                    events => format!(", {}", format::events(events)),
                };
                match resync.snapshot {
                    Some(at) => format!(" · snapshot at {} ({}){events}", index(at.index), reason(resync)),
                    None => {
                        let from = resync.from.map_or(Index::ZERO, |from| from.position.index);
                        format!(" · resumed from {}{events}, no snapshot", index(from))
                    }
                }
            }
        };
        line + &end
    }

    fn lead(&self) -> String {
        let held = index(self.held_index());
        let lasted = || self.lasted().map_or(String::new(), |lasted| format!(" for {lasted}"));
        if let Some(done) = self.done {
            return match done {
                Done::Lost { first, last } => format!("gap: {} lost here", range(first, last)),
                Done::Repeated { first, last } => format!("repeat: {} came twice, ignored", range(first, last)),
                Done::Exchanged { first, last, by: None } => format!("exchange: {} held back here", range(first, last)),
                Done::Exchanged { first, last, by: Some((by, to)) } => {
                    format!("exchange: {} came before {}", range(by, to), range(first, last))
                }
                Done::Altered { first, sent, arrived, .. } => {
                    let (sent, arrived) = (format::operation(sent), format::operation(arrived));
                    format!("divergence: {} altered here, {sent} to {arrived}", index(first))
                }
                Done::Cut => format!("cut: no link{} after {held}", lasted()),
                Done::Frozen => format!("frozen{} after {held}", lasted()),
                Done::Forgotten => format!("forgotten: everything up to {held}"),
            };
        }
        match self.noticed.as_ref().map(|(noticed, _)| noticed) {
            None => String::new(),
            Some(Noticed::Gap { expected: Index::ZERO, .. }) => "gap: the promised snapshot did not arrive".to_owned(),
            Some(Noticed::Gap { expected, got, .. }) => {
                format!("gap: {} did not arrive", range(*expected, before(*got)))
            }
            Some(Noticed::Duplicate { first, last }) => format!("repeat: {} came twice, ignored", range(*first, *last)),
            Some(Noticed::Diverged(_)) => format!("divergence after {held}"),
            Some(Noticed::LinkLost(_)) => format!("link lost after {held}"),
            Some(Noticed::Goodbye(reason)) => format!("goodbye after {held}: {}", goodbye(*reason)),
            Some(Noticed::Silent(silence)) => format!("silence of {} after {held}", format::duration(*silence)),
            Some(Noticed::StaleLeader { seen, got }) => format!("stale leader: term {} after term {}", got.0, seen.0),
            Some(Noticed::Violated(_)) => format!("rules of the stream broken after {held}"),
            Some(Noticed::Overtaken(at)) => format!("too far behind at {held}: snapshot at {}", index(*at)),
            Some(Noticed::Judged(_)) => format!("the leader disagreed at {held}"),
        }
    }

    /// For how long the link was down or the tab frozen, if it was for a while.
    fn lasted(&self) -> Option<String> {
        let lasted = self.over?.at.since(self.began.at);
        (!lasted.is_zero()).then(|| format::duration(lasted))
    }

    fn held_index(&self) -> Index {
        self.held.map_or(Index::ZERO, |held| held.position().index)
    }

    /// Where the snapshot lay that healed it.
    fn snapshot(&self) -> Option<Index> {
        match self.healed {
            Some((Healed::Resynced(resync), _)) => resync.snapshot.map(|position| position.index),
            _ => None,
        }
    }

    /// The last event that had come when it was healed.
    fn end(&self) -> Option<Index> {
        let (healed, _) = self.healed?;
        Some(match healed {
            Healed::Resynced(Resync { snapshot: Some(at), events, .. }) => at.index.plus(events),
            Healed::Resynced(Resync { from, events, .. }) => {
                from.map_or(Index::ZERO, |from| from.position.index).plus(events)
            }
            Healed::Read(events) => self.held_index().plus(events),
            Healed::Itself => self.held_index(),
        })
    }
}

/// Why the snapshot was needed: the first cause, if a state was dropped.
fn reason(resync: &Resync) -> String {
    let Verdict::Snapshot(reason) = resync.verdict else {
        return "too far behind".to_owned();
    };
    let cause = match resync.dropped {
        Some(dropped) if reason == SnapshotReason::Fresh => dropped.reason,
        _ => reason,
    };
    cause.to_string().replace('_', " ")
}

fn goodbye(reason: GoodbyeReason) -> &'static str {
    match reason {
        GoodbyeReason::ShuttingDown => "it is shutting down",
        GoodbyeReason::Overloaded => "it has too much to do",
        GoodbyeReason::SteppedDown => "it no longer leads",
        GoodbyeReason::Unknown => "it did not say why",
    }
}

/// The place directly before `index`.
fn before(index: Index) -> Index {
    Index(index.0.saturating_sub(1))
}
