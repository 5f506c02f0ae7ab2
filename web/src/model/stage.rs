//! The stage: the leader and every replica as lanes over one moving strip of the log.
//!
//! The leader's and this tab's lanes show the events themselves. Of the other replicas the leader tells a few times a second
//! how far they are; their lanes show that.

mod strip;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine::replica::State;
use engine::{Index, Operation, SnapshotReason, Standing, Verdict};
use follower::ControlError;
use wire::{GeneratorStatus, ReplicaKind, Roster, RosterRow};

use super::incident::Mark;
use super::status::Tone;
use super::telling::Telling;
use super::{Model, Now};
use crate::format::{self, NOTHING};
pub(crate) use strip::Pace;
pub use strip::Strip;

/// How old the leader's list may be before the stage says so.
const RECENT: Duration = Duration::from_secs(5);

/// How long the stage tells how a replica came back.
const JUST_NOW: Duration = Duration::from_secs(6);

/// The lag in time from which on a replica is behind. Below it, events are on their way.
const BEHIND: Duration = Duration::from_secs(1);

/// How many operations are kept that the leader's lists told.
const TOLD: usize = 200;

/// How many lanes of other replicas are in view without scrolling.
const IN_VIEW: usize = 5;

/// How many lanes of other replicas there are at most.
pub const LANES: usize = 20;

/// What a cell of the strip says about its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CellState {
    /// Nothing is there yet.
    #[default]
    Empty,
    /// The lane has the events.
    Held,
    /// This tab's own operation.
    Own,
    /// Part of the events is there.
    Partly,
    /// The leader has the events, and they are on their way.
    Waiting,
    /// The events were lost on their way.
    Lost,
    /// The events came, but cannot be applied or are not read yet.
    Early,
    /// An event was altered on its way.
    Altered,
    /// The events came again.
    Again,
    /// The events counted until the state was dropped.
    Dropped,
    /// The events are asked for.
    Asked,
    /// The events came after all.
    Healed,
    /// A snapshot stands for the events.
    Snapshot,
}

impl CellState {
    /// The state's name in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Empty => "cell empty",
            Self::Held => "cell held",
            Self::Own => "cell held own",
            Self::Partly => "cell partly",
            Self::Waiting => "cell waiting",
            Self::Lost => "cell lost",
            Self::Early => "cell early",
            Self::Altered => "cell altered",
            Self::Again => "cell held again",
            Self::Dropped => "cell dropped",
            Self::Asked => "cell asked",
            Self::Healed => "cell held healed",
            Self::Snapshot => "cell held snapshot",
        }
    }

    fn of(mark: Mark) -> Self {
        match mark {
            Mark::Ahead => Self::Empty,
            Mark::Applied => Self::Held,
            Mark::Missing => Self::Lost,
            Mark::Waiting => Self::Early,
            Mark::Repeated => Self::Again,
            Mark::Altered => Self::Altered,
            Mark::Dropped => Self::Dropped,
            Mark::Asked => Self::Asked,
            Mark::Healed => Self::Healed,
            Mark::Snapshot => Self::Snapshot,
        }
    }
}

/// A cell of the strip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its number in the log: cells move, and keep their number.
    pub number: u64,
    /// The index of its first event.
    pub index: String,
    /// The operation, or how many events there are.
    pub text: String,
    /// What the lane knows of its events.
    pub state: CellState,
}

/// A lane's name, and what it says at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// Whose lane it is.
    pub who: String,
    /// What it is, in a few words.
    pub what: String,
    /// How good its state is.
    pub tone: Tone,
    /// A symbol for the state, for a quick look.
    pub sign: &'static str,
    /// Where it is, and how it is.
    pub verdict: String,
    /// The value there; empty if it is not known.
    pub value: String,
    /// How far behind it is, or the start of its digest.
    pub detail: String,
    /// Where it is on the strip, in thousandths from the left.
    pub place: u32,
    /// Whether it is so far behind that it is left of the strip.
    pub is_before: bool,
    /// Whether it is connected.
    pub present: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            who: String::new(),
            what: String::new(),
            tone: Tone::Idle,
            sign: "",
            verdict: NOTHING.to_owned(),
            value: String::new(),
            detail: String::new(),
            place: 0,
            is_before: false,
            present: true,
        }
    }
}

/// The newest list of replicas that the leader sent, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) roster: Roster,
    pub(crate) at: Now,
    /// Whether the stream that brought it has ended.
    pub(crate) ended: bool,
}

impl Model {
    /// The leader told who follows it.
    pub fn handle_roster(&mut self, roster: Roster, now: Now) {
        if !self.hears_lists(now) {
            // The log may have grown much meanwhile, which says nothing about its rate.
            self.pace.restart();
        }
        let log = roster.tail.log();
        if self.heard.as_ref().is_some_and(|heard| heard.roster.tail.log() != log) {
            self.told.clear();
        }
        if self.held().is_some_and(|held| held.log() == log) {
            // The floor rises while a stream is open, too.
            self.history.handle_log(log, roster.floor, Index::ZERO);
            self.travel.handle_log(log, roster.floor, Index::ZERO);
        }
        let tail = roster.tail.position().index.0;
        let first = (tail + 1).saturating_sub(roster.newest.len() as u64);
        let known = self.told.back().map_or(0, |(index, _)| *index);
        if known > tail {
            self.told.clear();
        }
        self.told
            .extend((first..).zip(roster.newest.iter().copied()).filter(|(index, _)| *index > known || known > tail));
        self.told.drain(..self.told.len().saturating_sub(TOLD));
        self.heard = Some(Heard { roster, at: now, ended: false });
    }

    /// The stream of the leader's lists ended. What the newest one says is not known to hold any more.
    pub fn handle_no_roster(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.ended = true;
        }
    }

    /// The leader answered a request to pause or pace its generator.
    pub fn handle_generator(&mut self, answer: Result<GeneratorStatus, ControlError>, now: Now) {
        match (answer, &mut self.heard) {
            // The next list says the same.
            (Ok(status), Some(heard)) => {
                self.permission.handle_written();
                heard.roster.generator = Some(status);
            }
            (Ok(_), None) => self.permission.handle_written(),
            (Err(error), _) => {
                if let ControlError::NotAllowed(why) = error {
                    self.permission.handle_not_allowed_to_write(why, None);
                }
                let text = format!("The generator was not changed: {}.", format::broken_link(&error.to_string()));
                self.news.add(text, Tone::Warn, now.time);
            }
        }
    }

    /// What draws the leader's random operations, if the leader told.
    #[must_use]
    pub fn generator(&self) -> Option<GeneratorStatus> {
        self.heard.as_ref()?.roster.generator
    }

    /// Whether the leader's list is so new that what it says still holds.
    #[must_use]
    pub fn hears_lists(&self, now: Now) -> bool {
        self.heard.as_ref().is_some_and(|heard| !heard.ended && now.at.since(heard.at.at) < RECENT)
    }

    /// The newest event that anybody told of.
    pub(crate) fn newest(&self) -> Index {
        let held = self.numbers.held;
        let of_roster =
            self.heard.as_ref().filter(|heard| held.is_none_or(|held| heard.roster.tail.log() == held.log()));
        let of_roster = of_roster.map_or(Index::ZERO, |heard| heard.roster.tail.position().index);
        let applied = held.map_or(Index::ZERO, |held| held.position().index);
        applied.max(of_roster).max(self.known_tail)
    }

    /// The strip that ends at the newest event, or stands where an incident is told.
    pub fn strip(&mut self, telling: Option<&Telling>, cells: u64, now: Now) -> Strip {
        let newest = self.newest();
        let scale = self.pace.scale(newest, now.at);
        let told = telling.and_then(|telling| self.incidents().find(|incident| incident.id() == telling.incident));
        match told {
            Some(incident) => Strip { first: incident.index().0.saturating_sub(1 + cells / 3), scale: 1, cells },
            None => Strip::ending_at(newest, scale, cells),
        }
    }

    /// The cell `number` of this tab's lane while an incident is told.
    #[must_use]
    pub fn told_cell(&self, telling: &Telling, number: u64) -> Cell {
        let (index, cells) = (Index(number + 1), &telling.now().cells);
        let told = cells.iter().find(|cell| cell.index == index && cell.mark != Mark::Ahead);
        let begins = cells.first().map_or(index, |cell| cell.index);
        // At its end, the telling has arrived in the present.
        let is_over = telling.healed && telling.step + 1 == telling.steps.len();
        let applied = self.held().map_or(Index::ZERO, |held| held.position().index);
        let state = match told {
            Some(cell) => CellState::of(cell.mark),
            // Before its window, everything is as at its start.
            None if index < begins => cells.first().map_or(CellState::Held, |cell| CellState::of(cell.mark)),
            None if is_over && index <= applied => CellState::Held,
            None => CellState::Empty,
        };
        let operation = told.and_then(|cell| cell.operation).or_else(|| self.operation_at(index));
        let text = match (state, operation) {
            (CellState::Empty, _) => String::new(),
            (CellState::Lost, _) if telling.kind == "exchanged" => "late".to_owned(),
            (CellState::Lost, _) => "lost".to_owned(),
            (CellState::Snapshot, None) => "snapshot".to_owned(),
            (_, Some(operation)) => format::operation(operation),
            (_, None) => "·".to_owned(),
        };
        Cell { number, index: format::grouped_count(index.0), text, state }
    }

    /// How many events a cell holds while nothing is told.
    #[must_use]
    pub fn scale(&self) -> u64 {
        self.pace.current()
    }

    /// The cell `number` of the leader's lane, or of this tab's.
    #[must_use]
    pub fn cell(&self, strip: &Strip, number: u64, of_leader: bool) -> Cell {
        let (first, last) = strip.events(number);
        let newest = self.newest().0;
        let applied = self.numbers.held.map_or(0, |held| held.position().index.0);
        let has = if of_leader { newest } else { applied };
        let operation = (strip.scale == 1).then(|| self.operation_at(Index(first))).flatten();
        let state = match () {
            () if first > newest => CellState::Empty,
            () if has >= last && strip.scale == 1 && self.is_own(Index(first)) => CellState::Own,
            () if has >= last => CellState::Held,
            () if has >= first => CellState::Partly,
            () => CellState::Waiting,
        };
        let text = match operation {
            _ if state == CellState::Empty && first <= newest + strip.scale => "next".to_owned(),
            _ if state == CellState::Empty => String::new(),
            Some(operation) => format::operation(operation),
            None if strip.scale > 1 => {
                let there = (has.min(last) + 1).saturating_sub(first);
                if there == 0 { String::new() } else { format::grouped_count(there) }
            }
            None => "·".to_owned(),
        };
        Cell { number, index: format::grouped_count(first), text, state }
    }

    /// The operation of an event, from this tab's log or from the leader's list.
    fn operation_at(&self, index: Index) -> Option<Operation> {
        let known = self.series().at(index).and_then(|(_, event, _)| event);
        let told = || self.told.iter().find(|(told, _)| *told == index.0).map(|(_, operation)| *operation);
        known.map(|event| event.operation).or_else(told)
    }

    /// The leader's lane.
    #[must_use]
    pub fn leader_lane(&self, now: Now) -> Lane {
        let term = self.numbers.term.map_or_else(String::new, |term| format!(" · term {term}"));
        let mut lane = Lane { who: "Leader".to_owned(), what: format!("writes the log{term}"), ..Lane::default() };
        // What this tab applied, it compared with the leader's digest. So it is the leader's value too.
        let told = self.heard.as_ref().map(|heard| heard.roster.tail);
        let newest = match (self.numbers.held, told) {
            (Some(held), Some(told)) if told.position().index > held.position().index => Some(told),
            (Some(held), _) => Some(held),
            (None, told) => told,
        };
        if let Some(newest) = newest {
            lane.verdict = format!("#{}", format::grouped_count(self.newest().0));
            lane.value = format::grouped(newest.value());
            lane.detail = format::short_digest(newest.position().digest);
        }
        match self.unheard(now) {
            None => lane.tone = Tone::Good,
            Some(since) => {
                lane.present = false;
                lane.detail = since;
            }
        }
        lane
    }

    /// Since when nothing is heard of the leader, on either of the two ways.
    fn unheard(&self, now: Now) -> Option<String> {
        let streams = matches!(self.state, State::CatchingUp | State::Live);
        if streams || self.hears_lists(now) {
            return None;
        }
        if !self.may_read() {
            return Some("wants a token".to_owned());
        }
        let since = self.numbers.unknown_since;
        Some(since.map_or_else(|| "not heard of yet".to_owned(), |since| format!("silent since {since}")))
    }

    /// This tab's lane.
    #[must_use]
    pub fn own_lane(&self, strip: &Strip, now: Now) -> Lane {
        let status = self.status(now);
        let mut lane =
            Lane { who: self.name.clone(), what: "this page".to_owned(), tone: status.mark.tone, ..Lane::default() };
        lane.sign = status.mark.sign;
        let Some(held) = self.numbers.held else {
            lane.verdict = status.words.to_owned();
            return lane;
        };
        let index = held.position().index;
        lane.verdict = format!("#{}", format::grouped_count(index.0));
        lane.value = format::grouped(held.value());
        let behind = self.newest().0.saturating_sub(index.0);
        lane.detail = match self.state {
            State::Live if behind == 0 || status.mark.in_step => format::short_digest(held.position().digest),
            _ if behind > 0 => format!("{} behind", format::grouped_count(behind)),
            _ => status.words.to_ascii_lowercase(),
        };
        lane.put(strip, index);
        lane
    }

    /// The lanes of the other replicas that the leader told of, in its order.
    #[must_use]
    pub fn other_lanes(&self, strip: &Strip, now: Now) -> Vec<Lane> {
        let Some(Heard { roster, at, .. }) = &self.heard else { return Vec::new() };
        let age = now.at.since(at.at);
        let rows = roster.replicas.iter().filter(|row| row.identity.id != self.id || row.original);
        let lanes = rows.take(LANES).map(|row| lane(row, roster, strip, self.pace.rate(), age));
        if self.hears_lists(now) {
            let lanes: Vec<Lane> = lanes.collect();
            if lanes.len() <= IN_VIEW {
                return lanes;
            }
            // Where not all are in view, those with a problem are. The others keep their order.
            let (mut first, rest): (Vec<_>, Vec<_>) =
                lanes.into_iter().partition(|lane| matches!(lane.tone, Tone::Warn | Tone::Bad));
            first.extend(rest);
            return first;
        }
        let as_of = format!("as of {}", at.time);
        let unknown = |lane: Lane| Lane { tone: Tone::Idle, sign: "", detail: as_of.clone(), present: false, ..lane };
        lanes.map(unknown).collect()
    }

    /// How many replicas there are, for the stage's head.
    #[must_use]
    pub fn audience(&self, telling: Option<&Telling>, now: Now) -> String {
        if let Some(telling) = telling {
            if !telling.healed {
                return "This is what happens now.".to_owned();
            }
            let applied = self.held().map_or(Index::ZERO, |held| held.position().index);
            let more = match telling.more {
                0 => String::new(),
                more => format!(" {more} more happened since."),
            };
            return format!("Told slowly. The page is at {} now.{more}", format::index(applied));
        }
        let Some(Heard { roster, at, .. }) = &self.heard else {
            return "The leader has not told yet who else follows it.".to_owned();
        };
        let replicas = match roster.connected {
            1 => "1 replica connected".to_owned(),
            many => format!("{} replicas connected", format::grouped_count(many.into())),
        };
        let cells = match self.pace.current() {
            1 => String::new(),
            scale => format!(", {} in a cell", format::events(scale)),
        };
        let hidden = match roster.not_shown {
            0 => String::new(),
            hidden => format!(", {} of them not shown", format::grouped_count(hidden.into())),
        };
        let old = if self.hears_lists(now) { String::new() } else { format!(" · as of {}", at.time) };
        format!("1 leader · {replicas}{hidden} · newest on the right{cells}{old}")
    }
}

impl Lane {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1,000")]
    fn put(&mut self, strip: &Strip, index: Index) {
        // One that is far behind still shows at the left end.
        self.place = ((strip.place(index) * 1_000.0) as u32).max(25);
        self.is_before = strip.is_before(index);
    }
}

/// The lane of a replica in the leader's list, which came `age` ago while the log grew at `rate`.
fn lane(row: &RosterRow, roster: &Roster, strip: &Strip, rate: Option<f64>, age: Duration) -> Lane {
    let mut lane = Lane { who: row.identity.name.clone(), what: what(row).to_owned(), ..Lane::default() };
    if lane.who.is_empty() {
        lane.who = "(no name)".to_owned();
    }
    let tail = roster.tail.position().index;
    let at = match (&row.position, row.original) {
        (Some(at), _) => Some(at.position.index),
        (None, true) => Some(row.sent),
        (None, false) => None,
    };
    let behind = at.map_or(0, |at| tail.0.saturating_sub(at.0));
    lane.value = row.value.map_or_else(String::new, format::grouped);
    if let Some(at) = at {
        lane.put(strip, at);
    }
    let place = at.map_or_else(String::new, |at| format!("#{}", format::grouped_count(at.0)));
    let last_heard = row.last_heard + age;
    (lane.tone, lane.sign, lane.verdict, lane.detail) = match row.standing {
        _ if row.streams == 0 => {
            lane.present = false;
            (Tone::Idle, "", format!("left at {place}"), format!("{} ago", format::duration(last_heard)))
        }
        Standing::Diverged => (Tone::Bad, "✕", format!("diverged at {place}"), "holds something else".to_owned()),
        Standing::OtherLog => (Tone::Bad, "✕", "in another log".to_owned(), String::new()),
        Standing::Ahead => (Tone::Bad, "✕", format!("ahead at {place}"), String::new()),
        _ if !row.connected => {
            (Tone::Warn, "○", format!("stalled at {place}"), format!("silent for {}", format::duration(last_heard)))
        }
        _ if row.original => (Tone::Idle, "→", format!("sent {place}"), "reports nothing".to_owned()),
        _ if at.is_none() => (Tone::Busy, "↻", "joins".to_owned(), String::new()),
        _ if is_behind(row, behind, rate) => {
            let lag = if row.lag > BEHIND { format!(", {}", format::duration(row.lag)) } else { String::new() };
            let behind = format!("{} behind{lag}", format::events(behind));
            (Tone::Warn, "↻", place, behind)
        }
        _ => (
            Tone::Good,
            "✓",
            place,
            lately(row).unwrap_or_else(|| {
                row.position.map_or_else(String::new, |at| format::short_digest(at.position.digest))
            }),
        ),
    };
    lane
}

/// Whether a replica is further behind than its last report explains: the log grew since.
fn is_behind(row: &RosterRow, behind: u64, rate: Option<f64>) -> bool {
    let Some(rate) = rate else { return row.lag > BEHIND };
    let since = row.last_heard + row.lag.min(BEHIND) + BEHIND;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is small and positive")]
    let explained = (rate * since.as_secs_f64()) as u64 + 8;
    row.lag > BEHIND || behind > explained
}

/// How a replica came back, if it did just now.
fn lately(row: &RosterRow) -> Option<String> {
    row.streaming.filter(|streaming| *streaming < JUST_NOW)?;
    Some(match row.verdict? {
        Verdict::Resumed => "resumed just now".to_owned(),
        Verdict::Snapshot(SnapshotReason::Fresh) => "joined just now".to_owned(),
        Verdict::Snapshot(reason) => format!("snapshot: {}", reason.to_string().replace('_', " ")),
    })
}

fn what(row: &RosterRow) -> &'static str {
    match row.identity.kind {
        _ if row.original => "original protocol",
        ReplicaKind::Native => "native program",
        ReplicaKind::Browser => "another page",
        ReplicaKind::Unknown => "replica",
    }
}
