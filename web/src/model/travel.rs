//! Travelling in time: the value, the event and the digest at any retained index, computed here and checked.
//!
//! The leader gives a state before the target and the events after it. [`Travel`] applies them, computes each digest, and
//! compares it with the leader's wherever a batch ends. So a wrong value, operation or digest shows. The live replica is not
//! involved and goes on.

use std::collections::VecDeque;

use engine::{Digest, Event, HistoryPage, Index, LogId, Moment, Position, Snapshot, Timestamp};
use follower::ReadError;

use super::who::Who;

/// How many events are asked for at once, at least and at most.
const PAGE: (u32, u32) = (1_100, 10_000);

/// How many recomputed events are kept.
const KEPT: usize = 30_000;

/// How many events beyond the recomputed ones are read on to, instead of starting from another state.
const READ_ON: u64 = 2_000;

/// How many seconds of play are read ahead.
const AHEAD: f64 = 3.0;

/// How long to wait after a failed call, in microseconds.
const RETRY_AFTER: u64 = 1_000_000;

/// The slowest and the fastest play, in events a second.
pub const SPEEDS: (f64, f64) = (0.1, 5_000.0);

/// A place in the past, and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travelled {
    /// The index.
    pub index: Index,
    /// The event there; `None` at the floor, whose event was compacted away, and before the first event.
    pub event: Option<Event>,
    /// The value after it.
    pub value: i64,
    /// The digest after it, computed here.
    pub digest: Digest,
    /// Whether the digests computed here were the leader's at the end of this event's batch.
    pub proved: bool,
    /// Who submitted the event.
    pub author: Who,
    /// When it was committed, by the leader's clock.
    pub committed_at: Option<Timestamp>,
}

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The page is live and does not travel.
    Live,
    /// It is on its way to this index.
    Loading(Index),
    /// It is there.
    At(Travelled),
    /// It cannot get to this index.
    Cannot(Index, Obstacle),
}

/// Why an index cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The events up to this one were compacted away.
    Compacted(Index),
    /// The leader says that its stored history is damaged there.
    Damaged(String),
    /// The leader's version cannot tell enough to check anything.
    OlderLeader,
    /// The leader has another log now. The page learns more from its stream.
    OtherLog,
    /// What the leader sent contradicts itself: it was altered, or the leader's history is wrong. Never ignore this one.
    Wrong(String),
}

/// A call to make. Its answer goes to [`Travel::handle_snapshot`] or [`Travel::handle_events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `ReadSnapshot`.
    Snapshot(Index),
    /// `ReadEvents`.
    Events {
        /// The first event.
        first: Index,
        /// The most events.
        count: u32,
    },
}

/// A journey through the retained history. Time is an argument, and calls are made by the owner.
#[derive(Clone, Debug, Default)]
pub struct Travel {
    log: Option<LogId>,
    floor: Index,
    tail: Index,
    /// Where to be; `None` while live.
    target: Option<Index>,
    /// Why it cannot be reached.
    obstacle: Option<Obstacle>,
    path: Option<Path>,
    playing: Option<Playing>,
    in_flight: Option<InFlight>,
    retry_at: Option<Moment>,
}

/// Consecutive recomputed events.
#[derive(Clone, Debug)]
struct Path {
    /// The state before the first of them.
    start: Snapshot,
    /// The index that it was asked for. A leader may hold no state close to it.
    asked_for: Index,
    steps: VecDeque<Step>,
    /// The newest index at which the digest was the leader's at the end of a batch.
    proved_to: Option<Index>,
}

#[derive(Clone, Debug)]
struct Step {
    event: Event,
    digest: Digest,
    author: Who,
    committed_at: Option<Timestamp>,
}

/// A call that was made and is not answered yet.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    request: Request,
    /// Whether its answer is of no use any more.
    is_stale: bool,
}

/// At `since` the place was `from`.
#[derive(Clone, Copy, Debug)]
struct Playing {
    /// Events a second.
    speed: f64,
    since: Moment,
    from: Index,
}

impl Travel {
    // What happens.

    /// The log's identity and ends, as the page knows them. Another log than before ends the journey.
    pub fn handle_log(&mut self, log: LogId, floor: Index, tail: Index) {
        if self.log.is_some_and(|known| known != log) {
            self.handle_reset();
        }
        self.log = Some(log);
        self.floor = self.floor.max(floor);
        self.tail = self.tail.max(tail);
    }

    /// History was replaced, or may have been: what was read is dropped, and the journey ends.
    pub fn handle_reset(&mut self) {
        let in_flight = self.in_flight.map(|call| InFlight { is_stale: true, ..call });
        *self = Self { in_flight, ..Self::default() };
    }

    /// A person wants to see `index`. Play stops.
    pub fn go_to(&mut self, index: Index) {
        self.playing = None;
        self.set_target(index);
    }

    /// A person wants to see what is live again.
    pub fn back_to_live(&mut self) {
        *self =
            Self { log: self.log, floor: self.floor, tail: self.tail, in_flight: self.in_flight, ..Self::default() };
    }

    /// Plays from the present place on, at `speed` events a second within [`SPEEDS`]; also changes the speed.
    pub fn play(&mut self, speed: f64, now: Moment) {
        self.advance(now);
        if let Some(from) = self.target {
            self.playing = Some(Playing { speed: speed.clamp(SPEEDS.0, SPEEDS.1), since: now, from });
        }
    }

    /// Stops playing.
    pub fn pause(&mut self, now: Moment) {
        self.advance(now);
        self.playing = None;
    }

    /// Moves on while it plays. It waits where the next event is not there yet, and stops at the tail.
    pub fn advance(&mut self, now: Moment) {
        let (Some(playing), Some(target)) = (self.playing, self.target) else { return };
        if self.obstacle.is_some() || target >= self.tail {
            self.playing = None;
            return;
        }
        let passed = playing.speed * now.since(playing.since).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small and not negative")]
        let wanted = playing.from.plus(passed as u64);
        let reached = wanted.min(self.proved_end().unwrap_or(target).max(target)).min(self.tail);
        self.target = Some(reached);
        if reached < wanted {
            // The time that it waits does not count.
            self.playing = Some(Playing { since: now, from: reached, ..playing });
        }
    }

    /// The next call to make. One at a time: another follows when this one is answered.
    pub fn request(&mut self, now: Moment) -> Option<Request> {
        self.advance(now);
        let waits = self.in_flight.is_some() || self.retry_at.is_some_and(|at| now < at);
        let target = self.target.filter(|_| !waits && self.obstacle.is_none())?;
        self.retry_at = None;
        let is_on_path = self.path.as_ref().is_some_and(|path| path.leads_to(target, self.floor));
        if target < self.floor && !is_on_path {
            self.obstacle = Some(Obstacle::Compacted(self.floor));
            return None;
        }
        let request = self.plan(target)?;
        self.in_flight = Some(InFlight { request, is_stale: false });
        Some(request)
    }

    fn plan(&self, target: Index) -> Option<Request> {
        let Some(path) = self.path.as_ref().filter(|path| path.leads_to(target, self.floor)) else {
            // The end of the batch before, so that the target's own batch is recomputed.
            return Some(Request::Snapshot(Index(target.0.saturating_sub(1)).max(self.floor)));
        };
        let end = path.end().position().index;
        let mut wanted = target;
        if let Some(playing) = self.playing {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are small")]
            let ahead = (playing.speed * AHEAD) as u64 + 1;
            wanted = target.plus(ahead);
        }
        let is_proved = path.proved_to.is_some_and(|proved| proved >= wanted.min(self.tail));
        if is_proved || end >= self.tail {
            return None;
        }
        let count = u32::try_from(wanted.events_since(end)).unwrap_or(u32::MAX).saturating_add(PAGE.0);
        Some(Request::Events { first: end.next(), count: count.min(PAGE.1) })
    }

    /// The answer to [`Request::Snapshot`].
    pub fn handle_snapshot(&mut self, answer: Result<Snapshot, ReadError>, now: Moment) {
        let Some(Request::Snapshot(at)) = self.take_in_flight() else { return };
        match answer {
            Ok(state) if self.log != Some(state.log()) => self.obstacle = Some(Obstacle::OtherLog),
            Err(error) => self.fail(error, now),
            Ok(state) => {
                let index = state.position().index;
                let is_wrong = match () {
                    () if index > at => Some(format!("the state at {index} instead of one up to {at}")),
                    () if index == Index::ZERO && state != origin(state.log()) => Some("a wrong beginning".to_owned()),
                    () => None,
                };
                match is_wrong {
                    // A newer target may have been chosen meanwhile; this state may still lead to it.
                    None => self.path = Some(Path::new(state, at)),
                    Some(what) => self.obstacle = Some(Obstacle::Wrong(format!("the leader sent {what}"))),
                }
            }
        }
    }

    /// The answer to [`Request::Events`].
    pub fn handle_events(&mut self, answer: Result<HistoryPage, ReadError>, now: Moment) {
        let Some(Request::Events { first, .. }) = self.take_in_flight() else { return };
        let page = match answer {
            Err(error) => return self.fail(error, now),
            Ok(page) => page,
        };
        self.floor = self.floor.max(page.floor);
        self.tail = self.tail.max(page.tail);
        // The journey ended or began anew meanwhile.
        let Some(path) = self.path.as_mut().filter(|path| path.end().position().index.next() == first) else { return };
        let log = path.start.log();
        if page.before.is_some_and(|before| before.log() != log) {
            self.obstacle = Some(Obstacle::OtherLog);
        } else if page.operations.is_empty() {
            self.retry_at = Some(later(now));
        } else if page.batches.is_empty() {
            self.obstacle = Some(Obstacle::OlderLeader);
        } else if let Err(wrong) = path.extend(&page) {
            self.obstacle = Some(Obstacle::Wrong(wrong.to_string()));
        } else if path.end().position().index == page.tail && path.proved_to != Some(page.tail) {
            self.obstacle = Some(Obstacle::Wrong("the leader names no digest at the end of its log".to_owned()));
        }
    }

    fn take_in_flight(&mut self) -> Option<Request> {
        self.in_flight.take().filter(|call| !call.is_stale).map(|call| call.request)
    }

    fn fail(&mut self, error: ReadError, now: Moment) {
        match error {
            ReadError::Compacted { floor } => {
                self.floor = self.floor.max(floor);
                // The target may be above it: then another state leads there.
                self.path = None;
                if self.target.is_some_and(|target| target < self.floor) {
                    self.obstacle = Some(Obstacle::Compacted(self.floor));
                }
            }
            ReadError::Unsupported => self.obstacle = Some(Obstacle::OlderLeader),
            ReadError::Damaged(what) => self.obstacle = Some(Obstacle::Damaged(what)),
            ReadError::Malformed(what) => self.obstacle = Some(Obstacle::Wrong(what)),
            ReadError::NotAllowed(_) | ReadError::Failed(_) => self.retry_at = Some(later(now)),
        }
    }

    fn set_target(&mut self, index: Index) {
        if matches!(self.obstacle, Some(Obstacle::Wrong(_))) {
            // What was read cannot be trusted.
            self.path = None;
        }
        self.obstacle = None;
        self.target = Some(index.clamp(self.floor.min(self.tail), self.tail));
    }

    /// How far the path is proved.
    fn proved_end(&self) -> Option<Index> {
        self.path.as_ref()?.proved_to
    }

    // What to show.

    /// What to show now. While it plays, call [`advance`](Self::advance) or [`request`](Self::request) before.
    #[must_use]
    pub fn view(&self) -> View {
        let Some(target) = self.target else { return View::Live };
        match (&self.obstacle, self.path.as_ref().and_then(|path| path.at(target))) {
            // What was proved stays so, also when what comes after it is wrong.
            (_, Some(there)) if there.proved => View::At(there),
            (Some(obstacle), _) => View::Cannot(target, obstacle.clone()),
            (None, Some(there)) if target == self.tail => View::At(there),
            (None, _) => View::Loading(target),
        }
    }

    /// The obstacle on the way on, also while the present place is shown.
    #[must_use]
    pub fn obstacle(&self) -> Option<&Obstacle> {
        self.obstacle.as_ref()
    }

    /// The present place; `None` while live.
    #[must_use]
    pub fn target(&self) -> Option<Index> {
        self.target
    }

    /// Events a second while it plays.
    #[must_use]
    pub fn speed(&self) -> Option<f64> {
        self.playing.map(|playing| playing.speed)
    }

    /// Where a person can go, both ends included: from the floor, or the present place if that was compacted away since, to
    /// the tail.
    #[must_use]
    pub fn range(&self) -> (Index, Index) {
        let first = self.target.map_or(self.floor, |target| target.min(self.floor));
        (first, self.tail)
    }
}

impl Path {
    fn new(start: Snapshot, asked_for: Index) -> Self {
        // The beginning of a log follows from its id.
        let is_origin = start == origin(start.log());
        let proved_to = is_origin.then(|| start.position().index);
        Self { start, asked_for, steps: VecDeque::new(), proved_to }
    }

    /// The state after the last event.
    fn end(&self) -> Snapshot {
        self.steps.back().map_or(self.start, |step| {
            let position = Position { index: step.event.index, digest: step.digest };
            Snapshot::take(self.start.log(), position, step.event.value)
        })
    }

    /// Whether `target` is on the path, or so little beyond it that it is read on to. The event at its start is not on it, and
    /// is needed unless it lies at the floor.
    fn leads_to(&self, target: Index, floor: Index) -> bool {
        let (start, end) = (self.start.position().index, self.end().position().index.max(self.asked_for));
        (start < target || start == target && target <= floor) && target.events_since(end) <= READ_ON
    }

    fn extend(&mut self, page: &HistoryPage) -> Result<(), engine::WrongHistory> {
        let authors = Who::each(&page.authors, page.operations.len());
        for (step, author) in page.replay(self.end()).zip(authors) {
            let (event, digest) = step?;
            let batch = page.batch_of(event.index);
            let committed_at = batch.map(|batch| batch.committed_at);
            if batch.is_some_and(|batch| batch.end.index == event.index) {
                self.proved_to = Some(event.index);
            }
            self.steps.push_back(Step { event, digest, author, committed_at });
        }
        // What is before is read again if somebody goes back so far.
        let surplus = self.steps.len().saturating_sub(KEPT);
        if let Some(last) = self.steps.drain(..surplus).next_back() {
            let position = Position { index: last.event.index, digest: last.digest };
            self.start = Snapshot::take(self.start.log(), position, last.event.value);
        }
        Ok(())
    }

    fn at(&self, index: Index) -> Option<Travelled> {
        let proved = self.proved_to.is_some_and(|proved| proved >= index);
        let start = self.start.position();
        if index == start.index {
            let (value, digest) = (self.start.value(), start.digest);
            return Some(Travelled {
                index,
                event: None,
                value,
                digest,
                proved,
                author: Who::Unknown,
                committed_at: None,
            });
        }
        let place = index.0.checked_sub(start.index.0 + 1)?;
        let Step { event, digest, author, committed_at } = self.steps.get(usize::try_from(place).ok()?)?.clone();
        Some(Travelled { index, event: Some(event), value: event.value, digest, proved, author, committed_at })
    }
}

fn origin(log: LogId) -> Snapshot {
    Snapshot::take(log, Position::origin(log), 0)
}

fn later(now: Moment) -> Moment {
    now.plus(std::time::Duration::from_micros(RETRY_AFTER))
}

#[cfg(test)]
mod tests;
